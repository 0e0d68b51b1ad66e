"""Destroy: the VM and what is its own go, nothing else does."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from pyVmomi import vim

from tests.backends import files, second_view
from tests.backends.capabilities import Capability
from tests.builders import CAPACITY, a_uuid
from tests.contract.engine import Bench
from tests.contract.needs import needs
from vmops import Instance
from vmops.errors import InstanceNotFound, LeftBehind
from vmops.model.datastore_path import DatastorePath
from vmops.progress import Warned


def folder_of(bench: Bench, instance: Instance) -> Path:
    return bench.root() / instance.uuid


def attach(bench: Bench, instance: Instance, path: str, **more: Any) -> None:
    """Attach a disk that is there, by the second view."""
    vm = bench.vm(instance)
    root = bench.root_disk(instance)
    disk = vim.vm.device.VirtualDisk(
        key=-1,
        controllerKey=root.controllerKey,
        unitNumber=1,
        backing=vim.vm.device.VirtualDisk.FlatVer2BackingInfo(fileName=path, diskMode="persistent"),
    )
    change = vim.vm.device.VirtualDeviceSpec(operation="add", device=disk)
    second_view.finished(vm.ReconfigVM_Task(vim.vm.ConfigSpec(deviceChange=[change], **more)))


def a_volume(bench: Bench, folder: str) -> str:
    """A disk with bytes in a folder of its own."""
    datacenter = second_view.only(bench.content, vim.Datacenter)
    (bench.root() / folder).mkdir(exist_ok=True)
    path = f"[{bench.backend.datastore}] {folder}/volume.vmdk"
    spec = vim.VirtualDiskManager.FileBackedVirtualDiskSpec(
        diskType="thin", adapterType="lsiLogic", capacityKb=CAPACITY // 1024
    )
    second_view.finished(
        bench.content.virtualDiskManager.CreateVirtualDisk_Task(
            name=path, datacenter=datacenter, spec=spec
        )
    )
    return path


@needs(Capability.LOCAL_FILES)
@pytest.mark.parametrize("state", ["poweredOff", "poweredOn", "suspended"])
def test_vm_and_folder_are_gone_whatever_its_state(bench: Bench, state: str) -> None:
    instance = bench.spawn(power_on=state != "poweredOff")
    if state == "suspended":
        second_view.finished(bench.vm(instance).SuspendVM_Task())
    bench.ops.destroy(instance, None)
    assert bench.vm(instance) is None
    assert not [path for path in bench.tree() if instance.uuid in path]


def test_its_steps_come_in_order(bench: Bench) -> None:
    instance = bench.spawn()
    bench.events.clear()
    bench.ops.destroy(instance, None)
    assert [title for operation, title in bench.steps() if operation == "destroy"] == [
        "Find the VM and what belongs to it",
        "Power off",
        "Remove the VM and its files",
    ]


@needs(Capability.LOCAL_FILES, Capability.LINKED_CLONES)
@pytest.mark.parametrize("way", ["flat", "streamOptimized"])
def test_the_cached_parent_stays_and_another_instance_still_reads_it(
    bench: Bench, way: str
) -> None:
    stays = bench.spawn(way, power_on=False)
    goes = bench.spawn(way)
    cached = {path: size for path, size in bench.tree().items() if "_base/" in path}
    assert cached
    bench.ops.destroy(goes, None)
    left = {path: size for path, size in bench.tree().items() if "_base/" in path}
    assert left == cached
    disk = bench.root_disk(stays).backing.fileName
    assert bench.disk_digest(disk, CAPACITY) == bench.image_digest()


def test_a_second_destroy_is_success(bench: Bench) -> None:
    instance = bench.spawn()
    bench.ops.destroy(instance, None)
    before = bench.world()
    bench.ops.destroy(instance, None)
    assert bench.world() == before


def test_an_instance_that_never_was_is_success_and_said_so(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    before = bench.world()
    uuid = a_uuid()
    with caplog.at_level(logging.INFO, "vmops"):
        bench.ops.destroy(uuid, None)
    assert uuid in caplog.text
    assert bench.world() == before


@needs(Capability.LOCAL_FILES)
def test_without_destroy_disks_the_files_stay(bench: Bench) -> None:
    instance = bench.spawn()
    bench.ops.destroy(instance, None, destroy_disks=False)
    assert bench.vm(instance) is None
    names = {Path(path).name for path in bench.tree() if instance.uuid in path}
    assert {f"{instance.uuid}.vmx"} <= names


@needs(Capability.REGISTERED_CONFIG)
def test_files_that_stayed_make_the_instance_again(bench: Bench) -> None:
    instance = bench.spawn(power_on=False)
    vm = bench.vm(instance)
    path = second_view.properties(vm, "config.files.vmPathName").popitem()[1]
    where = second_view.properties(vm, "parent", "resourcePool")
    bench.ops.destroy(instance, None, destroy_disks=False)
    second_view.finished(
        where["parent"].RegisterVM_Task(path=path, asTemplate=False, pool=where["resourcePool"])
    )
    bench.ops.power_on(None, instance)
    assert bench.power(instance) == "poweredOn"


@needs(Capability.DISK_BYTES)
def test_the_disk_of_a_volume_elsewhere_survives(bench: Bench) -> None:
    volume = a_volume(bench, "7e57-volumes")
    instance = bench.spawn(power_on=False)
    attach(bench, instance, volume)
    before = {path: size for path, size in bench.tree().items() if "7e57-volumes" in path}
    bench.ops.destroy(instance, None)
    after = {path: size for path, size in bench.tree().items() if "7e57-volumes" in path}
    assert after == before
    assert not folder_of(bench, instance).exists()


@needs(Capability.DISK_BYTES)
def test_a_volumes_disk_in_the_vms_own_folder_survives_and_is_named(bench: Bench) -> None:
    """As it is after a storage migration of a VM with its volumes."""
    instance = bench.spawn(power_on=False)
    volume = a_volume(bench, f"{instance.uuid}")
    attach(bench, instance, volume)
    disk = next(
        device
        for device in second_view.devices(bench.vm(instance), vim.vm.device.VirtualDisk)
        if device.backing.fileName == volume
    )
    key = vim.option.OptionValue(key="volume-1234", value=disk.backing.uuid)
    second_view.finished(bench.vm(instance).ReconfigVM_Task(vim.vm.ConfigSpec(extraConfig=[key])))
    bench.ops.destroy(instance, None)
    warnings = [event.text for event in bench.events if isinstance(event, Warned)]
    assert [text for text in warnings if DatastorePath.parse(volume).name in text]
    assert bench.vm(instance) is None
    left = sorted(file.name for file in folder_of(bench, instance).iterdir())
    assert left == ["volume-flat.vmdk", "volume.vmdk"]


@needs(Capability.LOCAL_FILES)
def test_files_of_others_are_not_touched(bench: Bench) -> None:
    instance, other = bench.spawn(), bench.spawn()
    root = bench.root()
    foreign = root / "somebody" / "notes.txt"
    foreign.parent.mkdir()
    foreign.write_text("mine")
    lookalike = root / f"{instance.uuid}-old"
    lookalike.mkdir()
    (lookalike / "x.vmdk").write_text("mine")
    kept = {path for path in bench.tree() if f" {instance.uuid}/" not in path} - {
        f"[{bench.backend.datastore}] {instance.uuid}"
    }
    bench.ops.destroy(instance, None)
    assert set(bench.tree()) == kept
    assert bench.power(other) == "poweredOn"


@needs(Capability.LOCAL_FILES)
def test_the_folder_of_the_vmx_is_removed_and_not_one_of_the_uuids_name(bench: Bench) -> None:
    """A VM moved by its owner may have another folder than the one it was made in."""
    instance = bench.spawn(power_on=False)
    decoy = bench.root() / "7e57-decoy"
    decoy.mkdir()
    (decoy / "kept.txt").write_text("kept")
    bench.ops.destroy(instance, None)
    assert (decoy / "kept.txt").read_text() == "kept"
    assert not folder_of(bench, instance).exists()


@needs(Capability.LOCAL_FILES, Capability.REGISTERED_CONFIG)
def test_a_folder_that_was_renamed_is_removed_by_what_the_vm_says(bench: Bench) -> None:
    instance = bench.spawn(power_on=False)
    vm = bench.vm(instance)
    where = second_view.properties(vm, "parent", "resourcePool")
    vm.UnregisterVM()
    folder_of(bench, instance).rename(bench.root() / "moved-elsewhere")
    decoy = folder_of(bench, instance)
    decoy.mkdir()
    (decoy / "kept.txt").write_text("kept")
    second_view.finished(
        where["parent"].RegisterVM_Task(
            path=f"[{bench.backend.datastore}] moved-elsewhere/{instance.uuid}.vmx",
            asTemplate=False,
            pool=where["resourcePool"],
        )
    )
    bench.ops.destroy(instance, None)
    assert bench.vm(instance) is None
    assert not (bench.root() / "moved-elsewhere").exists()
    assert (decoy / "kept.txt").read_text() == "kept"


@needs(Capability.LOCAL_FILES, Capability.LINKED_CLONES)
def test_a_stray_file_in_its_folder_goes_with_it(bench: Bench) -> None:
    instance = bench.spawn(power_on=False)
    (folder_of(bench, instance) / "core.dump").write_text("x")
    bench.ops.destroy(instance, None)
    assert not folder_of(bench, instance).exists()


@needs(Capability.LOCAL_FILES, Capability.LINKED_CLONES)
def test_a_disk_in_its_folder_that_nobody_has_goes_with_it(bench: Bench) -> None:
    instance = bench.spawn(power_on=False)
    stray = a_volume(bench, instance.uuid)
    assert files.local(bench.root(), stray).exists()
    bench.ops.destroy(instance, None)
    assert not folder_of(bench, instance).exists()
    assert not [event for event in bench.events if isinstance(event, Warned)]


@needs(Capability.LOCAL_FILES, Capability.LINKED_CLONES)
def test_half_of_a_disk_in_its_folder_goes_with_it(bench: Bench) -> None:
    """Of a copy that was cut off: it is no disk, and a file all the same."""
    instance = bench.spawn(power_on=False)
    (folder_of(bench, instance) / "half.vmdk").write_bytes(bytes(100))
    (folder_of(bench, instance) / "whole-flat.vmdk").write_bytes(bytes(512))
    bench.ops.destroy(instance, None)
    assert not folder_of(bench, instance).exists()


@needs(Capability.LOCAL_FILES, Capability.LINKED_CLONES)
def test_a_disk_in_its_folder_that_another_machine_has_stays(bench: Bench) -> None:
    """Detached from this one, attached to that one: where it lies says nothing of whose it is."""
    instance, other = bench.spawn(power_on=False), bench.spawn(power_on=False)
    disk = a_volume(bench, instance.uuid)
    attach(bench, other, disk)
    before = files.local(bench.root(), disk).read_bytes()
    bench.ops.destroy(instance, None)
    assert files.local(bench.root(), disk).read_bytes() == before
    assert sorted(one.name for one in folder_of(bench, instance).iterdir()) == [
        "volume-flat.vmdk",
        "volume.vmdk",
    ]
    assert [event for event in bench.events if isinstance(event, Warned) and "stays" in event.text]
    bench.ops.power_on(None, other)
    bench.ops.destroy(other, None)


@needs(Capability.CONTROL)
def test_a_vm_that_does_not_power_off_is_left_behind_and_named(bench: Bench) -> None:
    instance = bench.spawn()
    bench.control.refuse("PowerOffVM_Task")
    with pytest.raises(LeftBehind) as left:
        bench.ops.destroy(instance, None)
    assert bench.vm(instance)._GetMoId() in " ".join(left.value.leftovers)
    assert left.value.__cause__ is not None
    assert bench.power(instance) == "poweredOn"
    bench.control.allow_all()
    bench.ops.destroy(instance, None)
    assert bench.vm(instance) is None


@needs(Capability.COUNTED_CALLS)
def test_it_is_three_calls_once_the_session_is_warm(bench: Bench) -> None:
    """One look more at a task that the stream is late to tell of, on a busy machine."""
    least, rounds = 99, 15
    while rounds and least > 3:
        rounds -= 1
        instance = bench.spawn()
        calls = bench.calls_of(lambda: bench.ops.destroy(instance, None))  # noqa: B023
        assert set(calls) == {"RetrievePropertiesEx", "PowerOffVM_Task", "Destroy_Task"}
        least = min(least, calls.total())
    assert least == 3


def test_info_of_a_destroyed_instance_is_refused(bench: Bench) -> None:
    instance = bench.spawn()
    bench.ops.destroy(instance, None)
    with pytest.raises(InstanceNotFound):
        bench.ops.get_info(instance)
    assert instance.uuid not in bench.ops.list_instances()
