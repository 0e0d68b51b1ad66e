"""Ephemeral disks and swap: where they are, how big, on which controllers, and that they go."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from pyVmomi import vim

from tests.backends import second_view
from tests.backends.capabilities import Capability
from tests.builders import CAPACITY, MEMORY_MIB, an_instance
from tests.contract.engine import Bench
from tests.contract.linux_guest import MEMORY_MIB as LINUX_MIB
from tests.contract.linux_guest import LinuxGuest
from tests.contract.needs import needs
from vmops import Flavor, Instance
from vmops.errors import UnsupportedDevice
from vmops.model.block_devices import BlockDevices, EphemeralDisk
from vmops.model.image import AdapterType
from vmops.model.instance import InstanceInfo

GIB = 1024**3
MIB = 1024**2
USER_DATA = b"#cloud-config\nruncmd: [echo hello]\n"


def disks(bench: Bench, instance: Any) -> dict[str, int]:
    """The sizes of an instance's disks by file name, the root disk's without its UUID."""
    found = second_view.devices(bench.vm(instance.uuid), vim.vm.device.VirtualDisk)
    return {
        d.backing.fileName.rpartition("/")[2].replace(instance.uuid, "root"): d.capacityInKB * 1024
        for d in found
    }


def test_they_are_in_its_folder_with_their_sizes(bench: Bench) -> None:
    devices = BlockDevices(
        ephemerals=(EphemeralDisk(size_gib=1), EphemeralDisk(size_gib=2)), swap_mib=64
    )
    instance = bench.spawn(block_device_info=devices)
    assert disks(bench, instance) == {
        "root.vmdk": CAPACITY,
        "ephemeral_0.vmdk": GIB,
        "ephemeral_1.vmdk": 2 * GIB,
        "swap.vmdk": 64 * MIB,
    }
    found = second_view.devices(bench.vm(instance), vim.vm.device.VirtualDisk)
    folder = f"[{bench.backend.datastore}] {instance.uuid}/"
    assert all(disk.backing.fileName.startswith(folder) for disk in found)
    assert all(disk.backing.thinProvisioned for disk in found[1:])


def test_the_flavors_are_made_where_nothing_else_is_said(bench: Bench) -> None:
    plain = an_instance()
    instance = Instance(
        uuid=plain.uuid,
        name=plain.name,
        flavor=Flavor(memory_mib=MEMORY_MIB, ephemeral_gib=1, swap_mib=32),
    )
    bench.spawn(instance=instance)
    assert disks(bench, instance) == {
        "root.vmdk": CAPACITY,
        "ephemeral_0.vmdk": GIB,
        "swap.vmdk": 32 * MIB,
    }


def test_novas_block_devices_win_over_its_flavor(bench: Bench) -> None:
    plain = an_instance()
    instance = SimpleNamespace(
        uuid=plain.uuid,
        display_name="web1",
        flavor=SimpleNamespace(vcpus=1, memory_mb=MEMORY_MIB, root_gb=0, ephemeral_gb=9, swap=9),
    )
    info = {
        "root_device_name": "/dev/sda",
        "swap": {"device_name": "/dev/sdc", "swap_size": 16},
        "ephemerals": [{"device_name": "/dev/sdb", "size": 1, "disk_bus": "scsi"}],
        "block_device_mapping": [],
    }
    bench.ops.spawn(None, instance, "flat", None, info)
    assert disks(bench, instance) == {
        "root.vmdk": CAPACITY,
        "ephemeral_0.vmdk": GIB,
        "swap.vmdk": 16 * MIB,
    }


def test_a_full_controller_gets_a_second_one(bench: Bench) -> None:
    devices = BlockDevices(ephemerals=(EphemeralDisk(size_gib=1),) * 16)
    instance = bench.spawn(block_device_info=devices, power_on=False)
    controllers = second_view.devices(bench.vm(instance), vim.vm.device.VirtualSCSIController)
    assert [c.busNumber for c in controllers] == [0, 1]
    found = second_view.devices(bench.vm(instance), vim.vm.device.VirtualDisk)
    places = [(d.controllerKey, d.unitNumber) for d in found]
    units = [unit for unit in range(16) if unit != 7]
    assert places == [
        *((controllers[0].key, unit) for unit in units),
        *((controllers[1].key, unit) for unit in units[:2]),
    ]


def test_a_disk_may_have_another_adapter(bench: Bench) -> None:
    devices = BlockDevices(
        ephemerals=(EphemeralDisk(size_gib=1, adapter=AdapterType.IDE),), swap_mib=8
    )
    instance = bench.spawn(block_device_info=devices)
    found = second_view.devices(bench.vm(instance), vim.vm.device.VirtualDisk)
    on = {disk.backing.fileName.rpartition("/")[2]: disk.controllerKey for disk in found}
    assert on.pop("ephemeral_0.vmdk") == 200
    (other,) = set(on.values())
    assert other != 200


def test_more_than_there_are_places_for_is_refused_and_nothing_is_left(bench: Bench) -> None:
    devices = BlockDevices(ephemerals=(EphemeralDisk(size_gib=1, adapter=AdapterType.IDE),) * 5)
    before = bench.vms()
    with pytest.raises(UnsupportedDevice, match="no free place"):
        bench.spawn(block_device_info=devices)
    assert bench.vms() == before


def test_they_go_with_their_instance(bench: Bench) -> None:
    devices = BlockDevices(ephemerals=(EphemeralDisk(size_gib=1),), swap_mib=8)
    before = bench.vms()
    instance = bench.spawn(block_device_info=devices)
    bench.ops.destroy(instance, None)
    assert bench.vms() == before
    assert not [path for path in bench.tree() if instance.uuid in path]


def test_the_instance_is_as_any_other(bench: Bench) -> None:
    devices = BlockDevices(ephemerals=(EphemeralDisk(size_gib=1),), swap_mib=8)
    instance = bench.spawn(block_device_info=devices)
    info: InstanceInfo = bench.ops.get_info(instance)
    assert info.num_cpu == 1
    assert not second_view.extra_config(bench.vm(instance)).get("vmops.operation")


@needs(Capability.GUEST, Capability.DISK_BYTES)
def test_a_linux_guest_sees_its_disks_and_reads_its_config_drive(bench: Bench) -> None:
    plain = an_instance()
    flavor = Flavor(memory_mib=LINUX_MIB, ephemeral_gib=1, swap_mib=64)
    instance = Instance(uuid=plain.uuid, name=plain.name, flavor=flavor)
    guest = LinuxGuest.spawn(
        bench, instance, user_data=USER_DATA, injected_files=[("/etc/banner", b"of the test")]
    )
    guest.wait_for_login()
    sizes = guest.tell("cat /sys/block/sdb/size /sys/block/sdc/size").split()
    assert [int(size) * 512 for size in sizes] == [GIB, 64 * MIB]
    told = guest.tell("mount -t iso9660 -o ro /dev/sr0 /mnt; cat /mnt/openstack/latest/user_data")
    assert told == USER_DATA.decode().strip()
    assert guest.tell("cat /mnt/openstack/content/0000") == "of the test"
    assert guest.tell("dd if=/dev/sr0 bs=1 skip=32808 count=8 2> /dev/null") == "config-2"
    assert (
        guest.tell("mkswap /dev/sdc > /dev/null && swapon /dev/sdc; tail -n 1 /proc/swaps")[:8]
        == "/dev/sdc"
    )
