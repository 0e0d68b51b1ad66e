"""Rescue: another system boots, the own root disk beside it; and back."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import pytest
from pyVmomi import vim

from tests.backends import files, second_view
from tests.backends.capabilities import Capability
from tests.builders import CAPACITY, a_uuid, an_instance
from tests.contract.engine import Bench, SerialLog
from tests.contract.needs import needs
from tests.contract.test_power import OFF, ON, SUSPENDED, in_state
from tests.lab.qemu.efi_guest import efi_bootable
from vmops import Flavor, Instance
from vmops.errors import (
    ImageNotFound,
    InstanceNotFound,
    InvalidPowerState,
    InvalidState,
    NoRootDisk,
    NotRescued,
)

pytestmark = needs(Capability.DISK_CONVERSION)
QUICK_BOOT = "efi.quickBoot.enabled"
Disk = vim.vm.device.VirtualDisk
Boot = vim.vm.BootOptions


def rescue(bench: Bench, instance: Instance | dict[str, Any], image: Any = "flat") -> None:
    bench.ops.rescue(None, instance, None, image)


def disks(bench: Bench, instance: Instance) -> list[Any]:
    return second_view.devices(bench.vm(instance), Disk)


def boot_keys(bench: Bench, instance: Instance) -> list[int]:
    """The keys of the disks in the boot order."""
    options = second_view.properties(bench.vm(instance), "config.bootOptions")
    order = options["config.bootOptions"].bootOrder
    return [entry.deviceKey for entry in order if hasattr(entry, "deviceKey")]


def extra(bench: Bench, instance: Instance, key: str) -> str:
    return second_view.extra_config(bench.vm(instance)).get(key, "")


def own_files(bench: Bench, instance: Instance) -> set[str]:
    return {path for path in bench.tree() if f"] {instance.uuid}/" in path}


# There and back


@pytest.mark.parametrize("before", [ON, OFF])
def test_the_rescue_disk_boots_and_the_root_disk_is_beside_it(bench: Bench, before: str) -> None:
    instance = in_state(bench, before)
    root = bench.root_disk(instance)
    rescue(bench, instance)
    assert bench.power(instance) == ON
    first, second = disks(bench, instance)
    assert first.backing.fileName == root.backing.fileName
    assert second.controllerKey == first.controllerKey
    assert second.backing.fileName == (
        f"[{bench.backend.datastore}] {instance.uuid}/{instance.uuid}-rescue.vmdk"
    )
    assert boot_keys(bench, instance) == [second.key]
    assert extra(bench, instance, QUICK_BOOT) == "FALSE"


@needs(Capability.DISK_BYTES)
def test_the_rescue_disk_holds_the_image_and_the_root_disk_what_it_held(bench: Bench) -> None:
    instance = bench.spawn(power_on=False)
    root = bench.root_disk(instance).backing.fileName
    digest = bench.disk_digest(root, CAPACITY)
    rescue(bench, instance)
    bench.ops.power_off(instance)
    rescue_disk = disks(bench, instance)[1]
    assert bench.disk_digest(rescue_disk.backing.fileName, CAPACITY) == bench.image_digest()
    bench.ops.unrescue(instance, power_on=False)
    assert bench.disk_digest(root, CAPACITY) == digest


@pytest.mark.parametrize("power_on", [True, False])
def test_unrescue_puts_everything_back(bench: Bench, power_on: bool) -> None:
    instance = in_state(bench, ON)
    before = own_files(bench, instance)
    root = bench.root_disk(instance)
    rescue(bench, instance)
    bench.ops.unrescue(instance, power_on=power_on)
    assert bench.power(instance) == (ON if power_on else OFF)
    (disk,) = disks(bench, instance)
    assert disk.backing.fileName == root.backing.fileName
    assert (disk.controllerKey, disk.unitNumber) == (root.controllerKey, root.unitNumber)
    assert own_files(bench, instance) == before
    assert boot_keys(bench, instance) == []
    assert extra(bench, instance, QUICK_BOOT) == ""
    assert extra(bench, instance, "vmops.rescue") == ""


def test_a_boot_order_and_quick_boot_of_ones_own_come_back(bench: Bench) -> None:
    """Of an EFI machine, where quick boot would pass over the order."""
    image = bench.images.named("flat", hw_firmware_type="uefi")
    instance = bench.spawn(image, power_on=False)
    key = bench.root_disk(instance).key
    spec = vim.vm.ConfigSpec(
        bootOptions=Boot(bootOrder=[Boot.BootableDiskDevice(deviceKey=key)]),
        extraConfig=[vim.option.OptionValue(key=QUICK_BOOT, value="TRUE")],
    )
    second_view.finished(bench.vm(instance).ReconfigVM_Task(spec))
    rescue(bench, instance)
    assert boot_keys(bench, instance) == [disks(bench, instance)[1].key]
    assert extra(bench, instance, QUICK_BOOT) == "FALSE"
    bench.ops.unrescue(instance, power_on=False)
    assert boot_keys(bench, instance) == [key]
    assert extra(bench, instance, QUICK_BOOT) == "TRUE"


def test_the_callers_instance_is_not_changed(bench: Bench) -> None:
    spawned = in_state(bench, ON)
    instance = {"uuid": spawned.uuid, "name": spawned.name, "image_ref": "another"}
    before = dict(instance)
    rescue(bench, instance)
    assert instance == before
    bench.ops.unrescue(instance)
    assert instance == before


@needs(Capability.LINKED_CLONES)
@pytest.mark.parametrize("linked", [True, False], ids=["linked", "full"])
@pytest.mark.parametrize("adapter", ["lsiLogic", "paraVirtual", "ide"])
def test_every_adapter_has_room_for_it(bench: Bench, adapter: str, linked: bool) -> None:
    image = bench.images.named("flat", vmware_adaptertype=adapter)
    instance = bench.spawn(image, linked_clone=linked, power_on=False)
    rescue(bench, instance)
    first, second = disks(bench, instance)
    assert first.controllerKey == second.controllerKey
    bench.ops.unrescue(instance)
    assert len(disks(bench, instance)) == 1


@needs(Capability.DISK_BYTES)
def test_an_instance_that_boots_from_a_volume_has_it_in_its_own_folder(bench: Bench) -> None:
    """Nothing is written where the volume is, and the volume's disk is not touched."""
    instance = bench.spawn(power_on=False)
    volume = root_to_volume(bench, instance)
    there = {path for path in bench.tree() if "] 7e57-volumes" in path}
    digest = bench.disk_digest(volume, CAPACITY)
    rescue(bench, instance)
    first, second = disks(bench, instance)
    assert first.backing.fileName == volume
    assert f"] {instance.uuid}/" in second.backing.fileName
    bench.ops.unrescue(instance, power_on=False)
    assert {path for path in bench.tree() if "] 7e57-volumes" in path} == there
    assert bench.disk_digest(volume, CAPACITY) == digest
    second_view.finished(bench.vm(instance).Destroy_Task())


def root_to_volume(bench: Bench, instance: Instance) -> str:
    """Put a copy of the root disk in a folder of its own, and boot from that instead."""
    vm, root = bench.vm(instance), bench.root_disk(instance)
    datacenter = second_view.only(bench.content, vim.Datacenter)
    folder = f"[{bench.backend.datastore}] 7e57-volumes"
    bench.content.fileManager.MakeDirectory(name=folder, datacenter=datacenter)
    volume = f"{folder}/volume.vmdk"
    second_view.finished(
        bench.content.virtualDiskManager.CopyVirtualDisk_Task(
            sourceName=root.backing.fileName,
            sourceDatacenter=datacenter,
            destName=volume,
            destDatacenter=datacenter,
        )
    )
    coming = Disk(
        key=-1,
        controllerKey=root.controllerKey,
        unitNumber=root.unitNumber,
        capacityInKB=root.capacityInKB,
        backing=Disk.FlatVer2BackingInfo(fileName=volume, diskMode="persistent"),
    )
    change = vim.vm.device.VirtualDeviceSpec
    spec = vim.vm.ConfigSpec(
        deviceChange=[
            change(operation="remove", fileOperation="destroy", device=root),
            change(operation="add", device=coming),
        ]
    )
    second_view.finished(vm.ReconfigVM_Task(spec))
    uuid = bench.root_disk(instance).backing.uuid
    mark = [vim.option.OptionValue(key="volume-4711", value=uuid)]
    second_view.finished(vm.ReconfigVM_Task(vim.vm.ConfigSpec(extraConfig=mark)))
    return volume


@needs(Capability.LINKED_CLONES)
def test_an_instance_with_snapshots_is_rescued_too(bench: Bench) -> None:
    instance = in_state(bench, ON)
    second_view.finished(bench.vm(instance).CreateSnapshot_Task("one", "", False, False))
    root = bench.root_disk(instance).backing.fileName
    rescue(bench, instance)
    assert disks(bench, instance)[0].backing.fileName == root
    bench.ops.unrescue(instance)
    assert [disk.backing.fileName for disk in disks(bench, instance)] == [root]


# States


def test_a_second_rescue_is_refused_and_makes_no_second_disk(bench: Bench) -> None:
    instance = in_state(bench, ON)
    rescue(bench, instance)
    before = bench.world()
    with pytest.raises(InvalidState, match=r"rescued already. Unrescue it first"):
        rescue(bench, instance)
    assert bench.world() == before
    assert len(disks(bench, instance)) == 2


@pytest.mark.parametrize("state", [ON, OFF, SUSPENDED])
def test_what_was_never_rescued_is_not_unrescued(bench: Bench, state: str) -> None:
    instance = in_state(bench, state)
    before = bench.world()
    with pytest.raises(NotRescued, match=instance.uuid):
        bench.ops.unrescue(instance)
    assert bench.world() == before


def test_unrescuing_twice_says_so(bench: Bench) -> None:
    instance = in_state(bench, ON)
    rescue(bench, instance)
    bench.ops.unrescue(instance)
    with pytest.raises(NotRescued):
        bench.ops.unrescue(instance)
    assert bench.power(instance) == ON


@pytest.mark.parametrize("state", ["suspended", "paused"])
def test_an_instance_whose_memory_would_be_lost_is_not_rescued(bench: Bench, state: str) -> None:
    instance = in_state(bench, SUSPENDED if state == "suspended" else ON)
    if state == "paused":
        bench.ops.pause(instance)
    before = bench.world()
    kind = InvalidState if state == "paused" else InvalidPowerState
    with pytest.raises(kind, match=f"is {state}"):
        rescue(bench, instance)
    assert bench.world() == before


def test_a_rescued_instance_is_not_paused(bench: Bench) -> None:
    instance = in_state(bench, ON)
    rescue(bench, instance)
    with pytest.raises(InvalidState, match="is rescued"):
        bench.ops.pause(instance)
    assert bench.power(instance) == ON


def test_an_instance_that_does_not_exist(bench: Bench) -> None:
    nobody = an_instance()
    with pytest.raises(InstanceNotFound):
        rescue(bench, nobody)
    with pytest.raises(InstanceNotFound):
        bench.ops.unrescue(nobody)


def test_an_image_that_does_not_exist(bench: Bench) -> None:
    instance = in_state(bench, ON)
    before = bench.world()
    with pytest.raises(ImageNotFound):
        rescue(bench, instance, "no-such-image")
    assert bench.world() == before


def test_an_instance_without_a_disk_is_not_rescued(bench: Bench) -> None:
    instance = bench.spawn(power_on=False)
    root = bench.root_disk(instance)
    going = vim.vm.device.VirtualDeviceSpec(
        operation="remove", fileOperation="destroy", device=root
    )
    second_view.finished(
        bench.vm(instance).ReconfigVM_Task(vim.vm.ConfigSpec(deviceChange=[going]))
    )
    with pytest.raises(NoRootDisk):
        rescue(bench, instance)
    assert bench.power(instance) == OFF


def test_a_rescued_instance_is_destroyed_with_its_rescue_disk(bench: Bench) -> None:
    instance = in_state(bench, ON)
    rescue(bench, instance)
    bench.ops.destroy(instance, None)
    assert bench.vm(instance) is None
    assert own_files(bench, instance) == set()


# What it costs


@needs(Capability.COUNTED_CALLS)
def test_it_is_few_calls(bench: Bench) -> None:
    """The least of some rounds: on a busy machine one look more is taken at a task."""
    least = [99, 99]
    for _ in range(10):
        instance = bench.spawn()
        rescued = bench.calls_of(lambda: rescue(bench, instance))  # noqa: B023
        unrescued = bench.calls_of(lambda: bench.ops.unrescue(instance))  # noqa: B023
        least = [min(least[0], rescued.total()), min(least[1], unrescued.total())]
        if least == [8, 4]:
            break
    assert least == [8, 4]


# A guest


@needs(Capability.DISK_BYTES, Capability.GUEST)
def test_the_rescue_system_runs_and_then_the_own_one_again(bench: Bench) -> None:
    """Each counts its boots on its own disk, and all of them into one log."""
    instance = bench.spawn()
    log = bench.serial(instance)
    log.wait_for("boot 1\r\n")
    bench.ops.reboot(instance, None, "HARD")
    log.wait_for("boot 2\r\n")
    rescue(bench, instance)
    wait_for_boots(log, [1, 2, 1])
    bench.ops.unrescue(instance)
    wait_for_boots(log, [1, 2, 1, 3])


def wait_for_boots(log: SerialLog, wanted: list[int]) -> None:
    deadline = time.monotonic() + 60
    while (seen := [int(n) for n in re.findall(r"boot (\d+)\r\n", log.text())]) != wanted:
        assert time.monotonic() < deadline, seen
        time.sleep(0.05)


@needs(Capability.DISK_BYTES, Capability.GUEST)
def test_an_efi_guest_boots_the_rescue_disk_and_then_its_own(bench: Bench, tmp_path: Path) -> None:
    """Each disk holds a program that tells with a letter which one it is."""
    own, other = efi_image(bench, tmp_path, "own", b"T"), efi_image(bench, tmp_path, "other", b"R")
    uuid = a_uuid()
    big = Instance(uuid=uuid, name=f"vmops-test-{uuid[:13]}", flavor=Flavor(memory_mib=128))
    instance = bench.spawn(own, instance=big, linked_clone=False)
    log = bench.serial(instance)
    log.wait_for("T00000005\n", 60)
    rescue(bench, instance, other)
    log.wait_for("R00000005\n", 60)
    told = log.text().rpartition("R00000005\n")[0]
    bench.ops.unrescue(instance)
    wait_for_count(log, "T00000005\n", 2)
    assert told.count("T00000005\n") == 1
    assert extra(bench, instance, QUICK_BOOT) == ""
    assert boot_keys(bench, instance) == []


def efi_image(bench: Bench, folder: Path, name: str, letter: bytes) -> str:
    """An image with the program of `efi_guest`, telling its counts after this letter."""
    (folder / name).mkdir()
    disk = efi_bootable(folder / name / "disk.img")
    code = b"\xff\xc3\xb0"  # count on, then take the letter
    assert disk.read_bytes().count(code + b"T") == 1
    disk.write_bytes(disk.read_bytes().replace(code + b"T", code + letter))
    return bench.images.add(
        f"efi-{name}-{folder.name}",
        disk,
        flat=True,
        hw_firmware_type="uefi",
        vmware_ostype="otherGuest64",
    )


def wait_for_count(log: SerialLog, words: str, count: int) -> None:
    deadline = time.monotonic() + 60
    while log.text().count(words) < count:
        assert time.monotonic() < deadline, log.text()[-500:]
        time.sleep(0.05)


@needs(Capability.DISK_BYTES)
def test_no_file_of_the_rescue_disk_is_left(bench: Bench) -> None:
    instance = bench.spawn()
    rescue(bench, instance)
    path = disks(bench, instance)[1].backing.fileName
    assert files.local(bench.root(), path).exists()
    bench.ops.unrescue(instance)
    assert not files.local(bench.root(), path).exists()
