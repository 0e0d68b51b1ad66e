"""Instances that boot from a volume, and those that are spawned with volumes."""

from __future__ import annotations

from typing import Any

import pytest
from pyVmomi import vim

from tests.backends import second_view
from tests.backends.capabilities import Capability
from tests.builders import CAPACITY, an_instance
from tests.contract.engine import Bench
from tests.contract.needs import needs
from tests.contract.test_volumes import ISCSI, attach, detach, volume
from tests.contract.volumes import (
    MadeVolume,
    a_first_class_disk,
    a_shadow_vm,
    disks_of,
    mapping,
    notes,
    paths,
)
from vmops import Instance
from vmops.errors import (
    Invalid,
    InvalidState,
    NoRootDisk,
    NotSupported,
    VolumeInUse,
    VolumeNotFound,
)

__all__ = ["volume"]


def booted_from(bench: Bench, *volumes: MadeVolume, **options: Any) -> Instance:
    return bench.spawn("", block_device_info=mapping(*volumes), **options)


def test_the_volume_is_the_first_disk_and_no_image_is_needed(
    bench: Bench, volume: MadeVolume
) -> None:
    instance = booted_from(bench, volume)
    assert paths(bench, instance) == [volume.path]
    (disk,) = disks_of(bench.vm(instance))
    assert disk.unitNumber == 0
    assert bench.power(instance) == "poweredOn"
    fcd = volume.connection["driver_volume_type"] == "vstorageobject"
    mark = volume.connection["data"]["id"] if fcd else volume.id
    assert notes(bench, instance)["vmops.root-volume"] == mark
    assert second_view.extra_config(bench.vm(instance)).get("vmops.operation", "") == ""


@needs(Capability.LOCAL_FILES)
def test_nothing_is_put_into_the_cache(bench: Bench, volume: MadeVolume) -> None:
    booted_from(bench, volume)
    assert not [path for path in bench.tree() if bench.backend.cache_folder in path]


@needs(Capability.DISK_BYTES)
def test_it_stays_the_root_disk_beside_disks_of_the_instances_own(
    bench: Bench, volume: MadeVolume
) -> None:
    """An ephemeral disk and swap are the instance's own; they are not what it boots from."""
    info = {
        **mapping(volume, a_shadow_vm(bench)),
        "ephemerals": [{"size": 1, "disk_bus": None, "device_name": "/dev/sdc"}],
        "swap": {"device_name": "/dev/sdd", "swap_size": 8},
    }
    instance = bench.spawn("", block_device_info=info)
    found = paths(bench, instance)
    assert len(found) == 4
    assert found[0] == volume.path
    bench.ops.power_off(instance)
    made = bench.ops.snapshot(None, instance, f"made-{instance.uuid}", lambda **_: None)
    try:
        assert made.image.capacity_bytes == 4 * 1024**2, "that is the volume's"
    finally:
        bench.images.store.remove(made.image.id)


@needs(Capability.FIRST_CLASS_DISKS)
def test_no_image_is_made_of_what_snapshots_leave_out_while_it_runs(bench: Bench) -> None:
    instance = booted_from(bench, a_first_class_disk(bench))
    told: list[object] = []
    with pytest.raises(InvalidState, match=r"snapshots leave out.* Stop it first"):
        bench.ops.snapshot(None, instance, "never", lambda **state: told.append(state))
    assert told == []


@needs(Capability.DISK_BYTES)
def test_a_volume_that_is_attached_as_root_later_is_booted_from(
    bench: Bench, volume: MadeVolume
) -> None:
    instance = bench.spawn(power_on=False)
    bench.ops.volumeops.attach_root_volume(volume.connection, instance, None)
    vm = bench.vm(instance)
    disk = next(d for d in disks_of(vm) if d.backing.fileName == volume.path)
    (first,) = second_view.properties(vm, "config.bootOptions")["config.bootOptions"].bootOrder
    assert isinstance(first, vim.vm.BootOptions.BootableDiskDevice)
    assert first.deviceKey == disk.key
    bench.ops.rescue(None, instance, None, "flat")
    bench.ops.unrescue(instance)
    (again,) = second_view.properties(vm, "config.bootOptions")["config.bootOptions"].bootOrder
    assert again.deviceKey == disk.key


@needs(Capability.DISK_BYTES)
def test_rescued_it_has_its_volume_as_second_disk_and_nothing_is_written_beside_it(
    bench: Bench, volume: MadeVolume
) -> None:
    instance = booted_from(bench, volume)
    folder = volume.path.rpartition("/")[0]
    there = {path for path in bench.tree() if path.startswith(folder)}
    bench.ops.rescue(None, instance, None, "flat")
    assert set(paths(bench, instance)) == {
        volume.path,
        f"[{bench.backend.datastore}] {instance.uuid}/{instance.uuid}-rescue.vmdk",
    }
    assert {path for path in bench.tree() if path.startswith(folder)} == there
    bench.ops.unrescue(instance)
    assert paths(bench, instance) == [volume.path]


def test_destroyed_it_leaves_its_volumes(bench: Bench, volume: MadeVolume) -> None:
    other = a_shadow_vm(bench)
    instance = booted_from(bench, volume, other)
    bench.ops.destroy(instance, None)
    assert bench.vm(instance) is None
    again = booted_from(bench, volume, other)
    assert paths(bench, again) == [volume.path, other.path]


@needs(Capability.DISK_BYTES)
def test_a_root_volume_that_left_is_not_taken_for_another_disk(
    bench: Bench, volume: MadeVolume
) -> None:
    instance = booted_from(bench, volume, a_shadow_vm(bench), power_on=False)
    detach(bench, volume, instance)
    with pytest.raises(NoRootDisk, match="which is not attached"):
        bench.ops.rescue(None, instance, None, "flat")
    attach(bench, volume, instance)
    bench.ops.rescue(None, instance, None, "flat")


# From an image, with volumes


def test_an_instance_from_an_image_gets_its_volumes_in_order(
    bench: Bench, volume: MadeVolume
) -> None:
    volumes = [volume, a_shadow_vm(bench)]
    instance = bench.spawn(block_device_info=mapping(*volumes, root=False))
    assert paths(bench, instance)[1:] == [each.path for each in volumes]
    assert "vmops.root-volume" not in notes(bench, instance)
    assert second_view.extra_config(bench.vm(instance)).get("vmops.operation", "") == ""
    assert bench.power(instance) == "poweredOn"


@needs(Capability.DISK_BYTES)
def test_an_image_of_it_has_its_root_disk_alone(bench: Bench, volume: MadeVolume) -> None:
    instance = bench.spawn(block_device_info=mapping(volume, root=False))
    made = bench.ops.snapshot(None, instance, f"made-{instance.uuid}", lambda **_: None)
    try:
        assert made.image.capacity_bytes == CAPACITY
        copy = bench.spawn(made.image.name)
        assert len(disks_of(bench.vm(copy))) == 1
        assert volume.path in paths(bench, instance), "the volume writes to its own disk again"
    finally:
        bench.images.store.remove(made.image.id)


# What fails


@needs(Capability.KEYED_PATHS)
@pytest.mark.parametrize("root", [True, False], ids=["root", "data"])
def test_a_volume_that_another_has_leaves_nothing(
    bench: Bench, volume: MadeVolume, root: bool
) -> None:
    holder, free = bench.spawn(), a_shadow_vm(bench)
    attach(bench, volume, holder)
    before = bench.vms()
    order = (volume, free) if root else (free, volume)
    instance = an_instance()
    with pytest.raises(VolumeInUse, match=holder.name):
        booted_from(bench, *order, instance=instance)
    assert bench.vms() == before
    attach(bench, free, holder)


def test_a_volume_that_is_not_there_leaves_nothing(bench: Bench) -> None:
    free, gone = a_shadow_vm(bench), a_shadow_vm(bench)
    second_view.finished(gone.holder.Destroy_Task())
    before = bench.vms()
    with pytest.raises(VolumeNotFound):
        booted_from(bench, free, gone)
    assert bench.vms() == before


@needs(Capability.COUNTED_CALLS)
def test_what_cannot_be_attached_is_refused_before_anything_is_there(bench: Bench) -> None:
    info = {"block_device_mapping": [{"connection_info": ISCSI, "boot_index": None}]}

    def spawn() -> None:
        with pytest.raises(NotSupported, match="iSCSI"):
            bench.spawn(block_device_info=info)

    assert not bench.calls_of(spawn)


@needs(Capability.KEYED_PATHS, Capability.COUNTED_CALLS)
def test_a_volume_that_another_has_is_refused_before_anything_is_made(
    bench: Bench, volume: MadeVolume
) -> None:
    holder = bench.spawn()
    attach(bench, volume, holder)

    def spawn() -> None:
        with pytest.raises(VolumeInUse, match=f"is attached to {holder.name}. Detach it first"):
            booted_from(bench, volume)

    assert not {call for call in bench.calls_of(spawn) if call.endswith("_Task")}


def test_a_volume_given_twice_is_refused(bench: Bench, volume: MadeVolume) -> None:
    before = bench.vms()
    with pytest.raises(Invalid, match=f"Volume {volume.id} is given twice"):
        booted_from(bench, volume, volume)
    assert bench.vms() == before


# With a volume engine of the caller's own


class Recorder:
    """Has the methods of Nova's class, notes the calls, and attaches by ours."""

    def __init__(self, bench: Bench) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self._ours = bench.engine().volumeops

    def attach_volume(self, connection_info: Any, instance: Any, adapter_type: Any = None) -> None:
        self.calls.append(("attach", connection_info, instance, adapter_type))
        self._ours.attach_volume(connection_info, instance, adapter_type)

    def attach_root_volume(
        self, connection_info: Any, instance: Any, datastore: Any, adapter_type: Any = None
    ) -> None:
        self.calls.append(("root", connection_info, instance, datastore._GetMoId(), adapter_type))
        self._ours.attach_volume(connection_info, instance, adapter_type)

    def detach_volume(self, connection_info: Any, instance: Any) -> None:
        self.calls.append(("detach", connection_info, instance))
        self._ours.detach_volume(connection_info, instance)


def test_a_volume_engine_that_is_given_is_used(bench: Bench, volume: MadeVolume) -> None:
    recorder, other, third = Recorder(bench), a_shadow_vm(bench), a_shadow_vm(bench)
    ops = bench.engine(volumeops=recorder)
    instance = booted_from(bench, volume, other, ops=ops)
    ops.attach_volume(None, third.connection, instance)
    ops.detach_volume(None, third.connection, instance)
    store = second_view.named(bench.content, vim.Datastore, bench.backend.datastore)
    adapter = "lsiLogic"
    assert recorder.calls == [
        ("root", volume.connection, instance, store._GetMoId(), adapter),
        ("attach", other.connection, instance, adapter),
        ("attach", third.connection, instance, None),
        ("detach", third.connection, instance),
    ]
    assert paths(bench, instance) == [volume.path, other.path]
    assert "vmops.root-volume" in notes(bench, instance)
