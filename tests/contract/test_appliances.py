"""OVAs: all disks come, the right one boots, the hardware counts where nothing else is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pyVmomi import vim

from tests.backends import second_view
from tests.backends.capabilities import Capability
from tests.builders import CAPACITY, MEMORY_MIB, a_uuid
from tests.contract.appliances import (
    BLANK,
    DATA,
    DATA_ON_IDE,
    EFI,
    NIC,
    added,
    an_appliance,
    digest,
    disks,
)
from tests.contract.engine import Bench
from tests.contract.linux_guest import MEMORY_MIB as LINUX_MIB
from tests.contract.linux_guest import LinuxGuest
from tests.contract.needs import needs
from tests.contract.planning import plan_of
from tests.guests.plain_qemu import linux_guest, unpack
from tests.image_files import OvfDisk
from vmops import DirectoryImageStore, Flavor, Instance, Vif
from vmops.progress import Warned

pytestmark = needs(Capability.NFC_IMPORT, Capability.DISK_CONVERSION)
GIB = 1024**3
device = vim.vm.device


def an_instance(root_gib: int = 0) -> Instance:
    uuid = a_uuid()
    flavor = Flavor(memory_mib=MEMORY_MIB, root_gib=root_gib)
    return Instance(uuid=uuid, name=f"vmops-test-{uuid[:13]}", flavor=flavor)


def boot_keys(bench: Bench, instance: Instance) -> list[int]:
    options = second_view.properties(bench.vm(instance), "config.bootOptions")
    order = options["config.bootOptions"].bootOrder if options else ()
    return [entry.deviceKey for entry in order or () if hasattr(entry, "deviceKey")]


@needs(Capability.DISK_BYTES)
@pytest.mark.parametrize("root_gib", [0, 1], ids=["as-it-is", "bigger"])
@pytest.mark.parametrize("linked", [True, False], ids=["linked", "full"])
def test_all_disks_come_and_go_with_the_instance(
    bench: Bench, tmp_path: Path, linked: bool, root_gib: int
) -> None:
    image = added(bench, tmp_path, "appliance")
    bench.spawn(image, linked_clone=linked)  # fills the cache
    before = bench.world()
    instance = an_instance(root_gib)
    bench.spawn(image, instance=instance, linked_clone=linked, power_on=False)
    found = disks(bench, instance)
    assert {name: disk.capacityInKB * 1024 for name, disk in found.items()} == {
        "root.vmdk": root_gib * GIB or CAPACITY,
        "image_disk_1.vmdk": CAPACITY,
        "image_disk_2.vmdk": BLANK,
    }
    places = [(disk.controllerKey, disk.unitNumber) for disk in found.values()]
    assert places == [(1000, 0), (1000, 1), (1000, 2)]
    for name, content in (("root.vmdk", bench.images.disk), ("image_disk_1.vmdk", DATA)):
        path = found[name].backing.fileName
        assert bench.disk_digest(path, CAPACITY) == digest(content), name
        assert bool(found[name].backing.parent) is linked
    bench.ops.destroy(instance, None)
    if not root_gib:
        assert bench.world() == before


def test_the_hardware_counts_where_nothing_else_is_said(bench: Bench, tmp_path: Path) -> None:
    image = added(bench, tmp_path, "appliance-efi", EFI + NIC)
    instance = bench.spawn(image, vifs=[Vif(network=bench.backend.network)], power_on=False)
    vm = bench.vm(instance)
    told = second_view.properties(vm, "config.firmware", "config.guestId")
    assert told == {"config.firmware": "efi", "config.guestId": "otherLinux64Guest"}
    assert len(second_view.devices(vm, device.ParaVirtualSCSIController)) == 1
    assert len(second_view.devices(vm, device.VirtualVmxnet3)) == 1


def test_what_a_call_says_goes_before_the_hardware(bench: Bench, tmp_path: Path) -> None:
    image = added(bench, tmp_path, "appliance-efi", EFI + NIC)
    given = {
        "id": bench.images.store.get(image).id,
        "properties": {
            "hw_firmware_type": "bios",
            "vmware_adaptertype": "lsiLogic",
            "hw_vif_model": "e1000",
        },
    }
    instance = an_instance()
    bench.ops.spawn(None, instance, given, [Vif(network=bench.backend.network)], power_on=False)
    vm = bench.vm(instance)
    assert second_view.properties(vm, "config.firmware") == {"config.firmware": "bios"}
    assert len(second_view.devices(vm, device.VirtualE1000)) == 1
    root = disks(bench, instance)["root.vmdk"]
    (lsi,) = second_view.devices(vm, device.VirtualLsiLogicController)
    assert root.controllerKey == lsi.key


def test_what_is_not_done_is_told_in_run_and_plan(bench: Bench, tmp_path: Path) -> None:
    more = '<vmw:ExtraConfig vmw:key="a.key" vmw:value="1"/>'
    image = added(bench, tmp_path, "appliance-told", more)
    bench.events.clear()
    bench.spawn(image, power_on=False)
    warned = [event.text for event in bench.events if isinstance(event, Warned)]
    assert any("a.key" in text for text in warned)
    plan = plan_of(bench, lambda ops: ops.spawn(None, an_instance(), image, None))
    attached = [call for call in plan.calls() if "image_disk_2.vmdk" in str(call)]
    assert attached


@needs(Capability.UNTOUCHED_DISKS)
def test_they_survive_a_resize_a_rescue_and_a_snapshot(bench: Bench, tmp_path: Path) -> None:
    image = added(bench, tmp_path, "appliance")
    instance = an_instance()
    bench.spawn(image, instance=instance, linked_clone=False, power_on=False)

    def beside() -> dict[str, Any]:
        return {
            name: (disk.unitNumber, disk.capacityInKB)
            for name, disk in disks(bench, instance).items()
            if name.startswith("image_disk")
        }

    first = beside()
    for settle in ("confirm", "revert"):
        wanted = Flavor(memory_mib=2 * MEMORY_MIB, root_gib=1 if settle == "revert" else 0)
        bench.ops.migrate_disk_and_power_off(None, instance, "", wanted)
        bench.ops.finish_migration(
            None, None, instance, None, None, None, True, None, power_on=False
        )
        assert beside() == first
        if settle == "confirm":
            bench.ops.confirm_migration(None, instance, None)
        else:
            bench.ops.finish_revert_migration(instance, None, power_on=False)
        assert beside() == first
    bench.ops.rescue(None, instance, None, "flat")
    assert beside() == first
    bench.ops.unrescue(instance, power_on=False)  # a guest would write to its disk
    assert beside() == first
    bench.events.clear()
    made = bench.engine(images=DirectoryImageStore(tmp_path / "made")).snapshot(
        None, instance, "of-it", lambda **_: None
    )
    (warned,) = [event.text for event in bench.events if isinstance(event, Warned)]
    assert "image_disk_1.vmdk, image_disk_2.vmdk" in warned
    assert made.image.capacity_bytes == CAPACITY
    again = bench.spawn(made.image.name, ops=bench.engine(images=DirectoryImageStore(
        tmp_path / "made")), linked_clone=False, power_on=False)  # fmt: skip
    path = disks(bench, again)["root.vmdk"].backing.fileName
    assert bench.disk_digest(path, CAPACITY) == bench.image_digest()
    assert beside() == first


def test_a_disk_on_an_earlier_bus_does_not_become_the_root_disk(
    bench: Bench, tmp_path: Path
) -> None:
    """The data disk is on IDE, which firmware may look at first; the system is on SCSI."""
    image = added(bench, tmp_path, "appliance-ide", DATA_ON_IDE, data_parent=4)
    instance = an_instance()
    bench.spawn(image, instance=instance, linked_clone=False, power_on=False)
    found = disks(bench, instance)
    assert boot_keys(bench, instance) == [found["root.vmdk"].key]
    assert found["image_disk_1.vmdk"].controllerKey in {200, 201}
    bench.ops.rescue(None, instance, None, "flat")
    bench.ops.unrescue(instance)
    assert boot_keys(bench, instance) == [found["root.vmdk"].key]
    if bench.power(instance) == "poweredOn":
        bench.ops.power_off(instance)
    wanted = Flavor(memory_mib=MEMORY_MIB, root_gib=1)
    bench.ops.migrate_disk_and_power_off(None, instance, "", wanted)
    assert disks(bench, instance)["root-resized.vmdk"].capacityInKB == 1024**2


@needs(Capability.GUEST)
def test_a_linux_reads_what_is_on_the_other_disks(bench: Bench, tmp_path: Path) -> None:
    """The data disk stands first in the archive, and the system boots all the same."""
    image = "appliance-linux"
    raw = unpack(linux_guest(), tmp_path / "linux.raw").read_bytes()
    bench.images.store.add(an_appliance(tmp_path / "ova", raw), image)
    uuid = a_uuid()
    flavor = Flavor(memory_mib=LINUX_MIB)
    instance = Instance(uuid=uuid, name=f"vmops-test-{uuid[:13]}", flavor=flavor)
    bench.spawn(image, instance=instance, linked_clone=True)
    guest = LinuxGuest(bench, instance)
    guest.wait_for_boot(1, flavor)
    guest.wait_for_login()
    told = guest.tell("cat /sys/block/sd?/size; sha256sum /dev/sdb")
    assert told.split()[1:3] == [str(CAPACITY // 512), str(BLANK // 512)]
    assert digest(DATA) in told


@needs(Capability.GUEST)
@pytest.mark.parametrize("linked", [True, False], ids=["linked", "full"])
@pytest.mark.parametrize(
    "controller",
    [(5, ""), (6, "lsilogic"), (6, "VirtualSCSI"), (20, "AHCI"), (20, "vmware.nvme.controller")],
    ids=["ide", "lsi", "pvscsi", "sata", "nvme"],
)
def test_the_right_disk_boots(
    bench: Bench, tmp_path: Path, controller: tuple[int, str], linked: bool
) -> None:
    places = (OvfDisk("data.vmdk", unit=1), OvfDisk("system.vmdk", unit=0))
    name = f"appliance-{controller[0]}-{controller[1] or 'plain'}"
    image = added(bench, tmp_path, name, controller=controller, disks=places)
    instance = bench.spawn(image, linked_clone=linked)
    bench.serial(instance).wait_for("boot 1\r\n")
