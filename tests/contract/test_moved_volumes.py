"""Volumes whose disks the server has moved, and what becomes of volumes with their instances."""

from __future__ import annotations

import hashlib
import subprocess
import tempfile

import pytest
from pyVmomi import vim

from tests.backends import second_view
from tests.backends.capabilities import Capability
from tests.backends.lab import LabBackend
from tests.builders import an_instance
from tests.contract.engine import Bench
from tests.contract.migrating import Told, migrate, other_host
from tests.contract.needs import needs
from tests.contract.test_volumes import attach, detach, snapshot_of, volume
from tests.contract.volumes import (
    WRITTEN,
    MadeVolume,
    a_first_class_disk,
    a_shadow_vm,
    disk_of,
    disks_of,
    flat_of,
    move_storage,
    moved_volume,
    notes,
    paths,
    read,
    write,
)
from vmops.errors import VMOpsError

__all__ = ["volume"]

pytestmark = needs(Capability.DISK_BYTES)

OF_TWO = needs(Capability.VCENTER, Capability.TWO_DATASTORES)
# Found again


@OF_TWO
def test_a_moved_volume_is_found_and_its_shadow_vm_has_it_again(bench: Bench) -> None:
    instance, other = bench.spawn(), bench.spawn()
    made = moved_volume(bench, instance)
    assert paths(bench, instance)[1].startswith(f"[datastore2] {instance.uuid}/")
    detach(bench, made, instance)
    assert len(disks_of(bench.vm(instance))) == 1
    assert notes(bench, instance) == {}
    now = disk_of(made.holder).backing.fileName
    assert now == made.path.replace("[datastore1]", "[datastore2]")
    assert read(bench, now) == WRITTEN
    attach(bench, made, other)
    assert paths(bench, other)[1] == now


@OF_TWO
def test_it_goes_back_where_it_was_when_it_comes_back_to_the_datastore(bench: Bench) -> None:
    instance = bench.spawn(linked_clone=False)
    made = moved_volume(bench, instance)
    move_storage(bench, instance, "datastore1")
    detach(bench, made, instance)
    assert disk_of(made.holder).backing.fileName == made.path
    assert read(bench, made.path) == WRITTEN
    bench.ops.destroy(instance, None)
    assert not [path for path in bench.tree() if instance.uuid in path]


@OF_TWO
def test_what_lies_in_its_place_is_not_touched(bench: Bench) -> None:
    """Its own old copy, where the server left one: nobody can tell that it is nobody's."""
    instance, made = bench.spawn(), a_shadow_vm(bench)
    attach(bench, made, instance)
    move_storage(bench, instance, "datastore2")
    write(bench, paths(bench, instance)[1])
    move_storage(bench, instance, "datastore1")
    detach(bench, made, instance)
    now = disk_of(made.holder).backing.fileName
    assert now == made.path.replace(".vmdk", "_1.vmdk")
    assert read(bench, now) == WRITTEN
    assert made.path in bench.tree()


@OF_TWO
def test_a_first_class_disk_moves_with_its_instance_and_is_known(bench: Bench) -> None:
    """Its service still tells the datastore where it was."""
    instance, made = bench.spawn(), a_first_class_disk(bench)
    attach(bench, made, instance)
    move_storage(bench, instance, "datastore2")
    write(bench, paths(bench, instance)[1])
    detach(bench, made, instance)
    assert len(disks_of(bench.vm(instance))) == 1
    other = bench.spawn()
    attach(bench, made, other)
    assert read(bench, paths(bench, other)[1]) == WRITTEN


@OF_TWO
@needs(Capability.SHARED_DATASTORES, Capability.CONTROL)
def test_a_live_migration_with_the_disks_leaves_volumes_where_they_are(
    bench: Bench, volume: MadeVolume
) -> None:
    instance = bench.spawn()
    attach(bench, volume, instance)
    migrate(bench, instance, other_host(bench, instance), Told(), block_migration=True)
    root, other = paths(bench, instance)
    assert root.startswith("[datastore2]")
    assert other == volume.path
    detach(bench, volume, instance)
    assert len(disks_of(bench.vm(instance))) == 1


@OF_TWO
@needs(Capability.CONTROL)
def test_who_died_before_the_shadow_vm_had_its_disk_is_followed_by_another(bench: Bench) -> None:
    instance = bench.spawn()
    made = moved_volume(bench, instance)
    at = paths(bench, instance)[1]
    assert isinstance(bench.backend, LabBackend)
    bench.backend.refuse("MoveVirtualDisk_Task")
    with pytest.raises(VMOpsError, match="on purpose"):
        detach(bench, made, instance)
    bench.backend.allow_all()
    assert notes(bench, instance) == {f"vmops.moved-volume.{made.id}": at}
    with bench.backend.connect() as session:
        bench.engine(session=session).detach_volume(None, made.connection, instance)
    assert read(bench, disk_of(made.holder).backing.fileName) == WRITTEN
    assert notes(bench, instance) == {}


# Destroyed instances


def survivors(bench: Bench, made: MadeVolume) -> dict[str, int]:
    stem = made.path.rpartition("/")[0]
    return {path: size for path, size in bench.tree().items() if path.startswith(f"{stem}/")}


@pytest.mark.parametrize("destroy_disks", [True, False], ids=["disks", "keep"])
def test_a_volume_survives_its_instance(
    bench: Bench, volume: MadeVolume, destroy_disks: bool
) -> None:
    instance, other = bench.spawn(), bench.spawn()
    attach(bench, volume, instance)
    write(bench, volume.path)
    before = survivors(bench, volume)
    bench.ops.destroy(instance, None, destroy_disks=destroy_disks)
    assert survivors(bench, volume) == before
    attach(bench, volume, other)
    assert read(bench, paths(bench, other)[1]) == WRITTEN


def test_also_without_the_note_that_it_is_one(bench: Bench, volume: MadeVolume) -> None:
    instance = bench.spawn()
    attach(bench, volume, instance)
    empty = [vim.option.OptionValue(key=key, value="") for key in notes(bench, instance)]
    spec = vim.vm.ConfigSpec(extraConfig=empty)
    second_view.finished(bench.vm(instance).ReconfigVM_Task(spec))
    before = survivors(bench, volume)
    bench.ops.destroy(instance, None)
    assert survivors(bench, volume) == before


@pytest.mark.parametrize("state", ["rescued", "resized"])
def test_also_of_an_instance_in_the_middle_of_something(
    bench: Bench, volume: MadeVolume, state: str
) -> None:
    instance = bench.spawn(instance=an_instance())
    attach(bench, volume, instance)
    before = survivors(bench, volume)
    if state == "rescued":
        bench.ops.rescue(None, instance, None, "flat")
    else:
        bench.ops.migrate_disk_and_power_off(None, instance, "", an_instance(root_gib=1).flavor)
        bench.ops.finish_migration(None, None, instance, None, None, None, True)
    bench.ops.destroy(instance, None)
    assert survivors(bench, volume) == before
    assert not [path for path in bench.tree() if instance.uuid in path]


def test_what_was_written_since_a_snapshot_is_on_the_volume(bench: Bench) -> None:
    """Until the snapshot goes it is in a layer that goes with the instance."""
    instance, made = bench.spawn(), a_shadow_vm(bench)
    attach(bench, made, instance)
    snapshot_of(bench, instance)
    bench.ops.power_off(instance)
    layer = paths(bench, instance)[1]
    assert layer != made.path
    write_layer(bench, layer)
    bench.ops.destroy(instance, None)
    assert not [path for path in bench.tree() if instance.uuid in path]
    # Merged or not: what the shadow VM has is what was written.
    now = disk_of(made.holder).backing.fileName
    digest = hashlib.sha256(WRITTEN).hexdigest()
    assert bench.disk_digest(now, len(WRITTEN)) == digest


def write_layer(bench: Bench, path: str) -> None:
    """Write into a delta by qemu-io, which is not ours."""
    with tempfile.NamedTemporaryFile() as text:
        text.write(WRITTEN)
        text.flush()
        flat = flat_of(bench, path)
        base = flat_of(bench, bench._parent_of(path))
        options = (
            f"driver=qcow2,file.filename={flat},backing.driver=raw,backing.file.filename={base}"
        )
        command = ["qemu-io", "--image-opts", "-c", f"write -s {text.name} 0 {len(WRITTEN)}"]
        subprocess.run([*command, options], check=True, capture_output=True, timeout=60)


def test_a_volume_that_left_behind_a_snapshots_back_survives(bench: Bench) -> None:
    """Taken off by another tool, it is still in the snapshot."""
    instance, made = bench.spawn(), a_shadow_vm(bench)
    attach(bench, made, instance)
    snapshot_of(bench, instance)
    vm = bench.vm(instance)
    removal = vim.vm.device.VirtualDeviceSpec(operation="remove", device=disks_of(vm)[1])
    empty = [vim.option.OptionValue(key=key, value="") for key in notes(bench, instance)]
    spec = vim.vm.ConfigSpec(deviceChange=[removal], extraConfig=empty)
    second_view.finished(vm.ReconfigVM_Task(spec))
    bench.ops.destroy(instance, None)
    assert made.path in bench.tree()
    attach(bench, made, bench.spawn())


@OF_TWO
def test_a_moved_volume_is_given_back_before_its_instance_goes(bench: Bench) -> None:
    instance = bench.spawn()
    made = moved_volume(bench, instance)
    bench.ops.destroy(instance, None)
    now = disk_of(made.holder).backing.fileName
    assert now == made.path.replace("[datastore1]", "[datastore2]")
    assert read(bench, now) == WRITTEN
    assert not [path for path in bench.tree() if instance.uuid in path]


@OF_TWO
def test_a_first_class_disk_that_moved_into_the_instances_folder_stays_there(bench: Bench) -> None:
    instance, made = bench.spawn(), a_first_class_disk(bench)
    attach(bench, made, instance)
    move_storage(bench, instance, "datastore2")
    at = paths(bench, instance)[1]
    write(bench, at)
    bench.ops.destroy(instance, None)
    left = [path for path in bench.tree() if instance.uuid in path and path.endswith(".vmdk")]
    assert left == sorted([at, at.replace(".vmdk", "-flat.vmdk")], key=left.index)
    assert read(bench, at) == WRITTEN
    assert not [path for path in bench.tree() if path.endswith(".vmx") and instance.uuid in path]
