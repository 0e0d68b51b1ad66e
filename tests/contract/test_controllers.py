"""Root disks on every kind of controller, and on one that a person has added by hand."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
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
from tests.contract.planning import plan_of
from tests.contract.volumes import a_shadow_vm
from tests.guests.plain_qemu import linux_guest
from vmops import DirectoryImageStore, Flavor, Instance
from vmops.model.controllers import KINDS
from vmops.model.image import AdapterType

pytestmark = needs(Capability.DISK_CONVERSION)
device = vim.vm.device
Disk = device.VirtualDisk
BY_HAND = {
    AdapterType.SATA: device.VirtualAHCIController,
    AdapterType.NVME: device.VirtualNVMEController,
    AdapterType.PARA_VIRTUAL: device.ParaVirtualSCSIController,
}


def moved_by_hand(bench: Bench, adapter: AdapterType) -> Instance:
    """An instance whose root disk a person has moved to a controller of another kind."""
    instance = bench.spawn(power_on=False, linked_clone=False)
    vm = bench.vm(instance)
    kind = BY_HAND[adapter]
    bus = 1 if adapter.is_scsi else 0
    more = {"sharedBus": "noSharing"} if adapter.is_scsi else {}
    _change(vm, operation="add", device=kind(key=-20, busNumber=bus, **more))
    disk = bench.root_disk(instance)
    (controller,) = second_view.devices(vm, kind)
    disk.controllerKey, disk.unitNumber = controller.key, 0
    _change(vm, operation="edit", device=disk)
    assert bench.root_disk(instance).controllerKey == controller.key
    return instance


def _change(vm: Any, **change: Any) -> None:
    spec = vim.vm.ConfigSpec(deviceChange=[device.VirtualDeviceSpec(**change)])
    second_view.finished(vm.ReconfigVM_Task(spec))


def made(bench: Bench, adapter: AdapterType) -> Instance:
    image = bench.images.named("flat", vmware_adaptertype=adapter.value)
    return bench.spawn(image, power_on=False, linked_clone=False)


CASES = [
    *(pytest.param(made, adapter, id=f"made-{adapter}") for adapter in AdapterType),
    *(pytest.param(moved_by_hand, adapter, id=f"by-hand-{adapter}") for adapter in BY_HAND),
]


@needs(Capability.DISK_BYTES)
@pytest.mark.parametrize(("make", "adapter"), CASES)
def test_each_operation_knows_the_controller(
    bench: Bench, tmp_path: Path, make: Any, adapter: AdapterType
) -> None:
    instance = make(bench, adapter)
    store = DirectoryImageStore(tmp_path / "made")

    # a snapshot's image
    result = bench.engine(images=store).snapshot(None, instance, "s", lambda **_: None)
    assert result.image.properties.adapter_type is adapter
    assert result.image.capacity_bytes == CAPACITY

    # volumes: beside it, and on its own kind
    for word in (None, adapter.value):
        volume = a_shadow_vm(bench)
        bench.ops.attach_volume(None, volume.connection, instance, disk_bus=word)
        disks = second_view.devices(bench.vm(instance), Disk)
        assert len(disks) == 2
        bench.ops.detach_volume(None, volume.connection, instance)
        assert len(second_view.devices(bench.vm(instance), Disk)) == 1

    # a rescue
    bench.ops.rescue(None, instance, None, "flat")
    first, second = second_view.devices(bench.vm(instance), Disk)
    assert first.controllerKey == second.controllerKey
    bench.ops.unrescue(instance)
    assert len(second_view.devices(bench.vm(instance), Disk)) == 1

    # a resize of the root disk
    place = _place(bench.root_disk(instance))
    wanted = Flavor(memory_mib=MEMORY_MIB, root_gib=1)
    if bench.power(instance) != "poweredOff":
        bench.ops.power_off(instance)
    bench.ops.migrate_disk_and_power_off(None, instance, "", wanted)
    assert _place(bench.root_disk(instance)) == place
    bench.ops.finish_revert_migration(instance, None, power_on=False)
    assert _place(bench.root_disk(instance)) == place

    # its name in the counters
    (told,) = bench.ops.get_instance_diagnostics(instance).disks
    bus = 1 if make is moved_by_hand and adapter.is_scsi else 0
    assert told.name == f"{KINDS[adapter].word}{bus}:0"


def _place(disk: Any) -> tuple[int, int]:
    return disk.controllerKey, disk.unitNumber


@needs(Capability.GUEST)
@pytest.mark.parametrize("adapter", [AdapterType.SATA, AdapterType.NVME])
def test_a_guest_boots_from_it_and_from_its_rescue_disk(bench: Bench, adapter: AdapterType) -> None:
    image = bench.images.named("flat", vmware_adaptertype=adapter.value)
    instance = bench.spawn(image, linked_clone=False)
    bench.serial(instance).wait_for("boot 1\r\n")
    bench.ops.rescue(None, instance, None, image)
    serial = bench.serial(instance)
    _wait(lambda: serial.text().count("boot 1\r\n") == 2, serial)
    bench.ops.unrescue(instance)
    _wait(lambda: "boot 2\r\n" in serial.text(), serial)


@needs(Capability.GUEST)
def test_a_linux_finds_its_root_on_nvme_also_beside_another_one(bench: Bench) -> None:
    image = "linux-nvme"
    if image not in {each.name for each in bench.images.store.list()}:
        bench.images.add(image, linux_guest(), vmware_adaptertype="nvme")
    flavor = Flavor(memory_mib=LINUX_MIB)
    instance = replace(an_instance(), flavor=flavor)
    bench.spawn(image, instance=instance, linked_clone=False)
    guest = LinuxGuest(bench, instance)
    guest.wait_for_boot(1, flavor)
    bench.ops.rescue(None, instance, None, image)
    guest.wait_for_boot(1, flavor)
    bench.ops.unrescue(instance)
    guest.wait_for_boot(2, flavor)


def _wait(is_done: Any, serial: Any) -> None:
    deadline = time.monotonic() + 60
    while not is_done():
        assert time.monotonic() < deadline, serial.text()[-800:]
        time.sleep(0.1)


@pytest.mark.parametrize("adapter", list(AdapterType))
def test_a_plan_knows_the_controller(bench: Bench, adapter: AdapterType) -> None:
    image = bench.images.named("flat", vmware_adaptertype=adapter.value)
    instance = an_instance()
    plan = plan_of(bench, lambda ops: ops.spawn(None, instance, image, None))
    assert adapter is AdapterType.IDE or KINDS[adapter].wire_name in str(list(plan.calls()))
    there = made(bench, adapter)
    wanted = Flavor(memory_mib=MEMORY_MIB, root_gib=1)
    plan = plan_of(bench, lambda ops: ops.migrate_disk_and_power_off(None, there, "", wanted))
    assert "-resized.vmdk" in str(list(plan.calls()))
    plan = plan_of(bench, lambda ops: ops.rescue(None, there, None, "flat"))
    assert "-rescue.vmdk" in str(list(plan.calls()))


@needs(Capability.GUEST)
def test_a_running_guest_gets_its_volume_on_a_bus_that_can_be_plugged(bench: Bench) -> None:
    instance = an_instance()
    image = bench.images.named("flat", vmware_adaptertype="sata")
    bench.spawn(image, instance=instance)
    volume = a_shadow_vm(bench)
    bench.ops.attach_volume(None, volume.connection, instance, disk_bus="paraVirtual")
    bench.ops.detach_volume(None, volume.connection, instance)
    assert len(second_view.devices(bench.vm(instance), Disk)) == 1
