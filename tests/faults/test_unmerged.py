"""Disks that cannot be merged when their snapshot goes, as while a backup holds them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pyVmomi import vim

from tests.backends import second_view
from tests.contract.engine import Bench
from tests.contract.volumes import a_shadow_vm, paths
from tests.faults import changing, matrix
from tests.faults.test_destroy import attach_volume
from tests.faults.test_volumes import do
from vmops import DirectoryImageStore, Instance
from vmops.errors import InvalidState, LeftBehind
from vmops.lab.wire.failures import Failure, How
from vmops.ops.instances import unmerged
from vmops.progress import StepStarted, StepUndone
from vmops.vsphere.objects.virtual_machine import VirtualMachine


@pytest.fixture(autouse=True)
def _no_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unmerged, "_WAITS_S", (0.0, 0.0))


@pytest.fixture
def store(tmp_path: Path) -> DirectoryImageStore:
    return DirectoryImageStore(tmp_path / "made")


def needs_consolidation(bench: Bench, instance: Instance) -> bool:
    found = second_view.properties(bench.vm(instance), "runtime.consolidationNeeded")
    return bool(found.get("runtime.consolidationNeeded"))


def snapshot_while_held(bench: Bench, instance: Instance, store: DirectoryImageStore) -> LeftBehind:
    """Make an image while somebody holds the root disk from the moment of the upload."""
    disk = bench.root_disk(instance).backing.fileName
    holding = bench.control.held(disk)

    def observe(event: Any) -> None:
        bench.events.append(event)
        if isinstance(event, StepStarted) and event.title == "Delete the snapshot":
            holding.__enter__()

    ops = bench.engine(images=store, observe=observe)
    try:
        with pytest.raises(LeftBehind) as left:
            ops.snapshot(None, instance, "made", lambda **_: None)
    finally:
        holding.__exit__(None, None, None)
    return left.value


@pytest.mark.parametrize("power_on", [True, False], ids=["on", "off"])
def test_the_image_stays_and_the_truth_is_told(
    bench: Bench, store: DirectoryImageStore, power_on: bool
) -> None:
    instance = bench.spawn(power_on=power_on)
    before = changing.facts_and_snapshots(bench, instance)
    left = snapshot_while_held(bench, instance, store)
    layer = bench.root_disk(instance).backing.fileName
    assert layer.endswith("-000001.vmdk")
    assert left.leftovers == (layer,)
    assert "'made'" in str(left)
    assert needs_consolidation(bench, instance)
    assert not [event for event in bench.events if isinstance(event, StepUndone)]
    assert store.get("made").capacity_bytes == len(bench.images.disk)
    found = list(unmerged.find_unmerged(bench.session))
    assert [vm.moid for _, vm in found] == [bench.vm(instance)._GetMoId()]
    unmerged.merge(found[0][1])
    assert not needs_consolidation(bench, instance)
    assert list(unmerged.find_unmerged(bench.session)) == []
    assert changing.facts_and_snapshots(bench, instance) == before


def test_what_is_held_for_a_moment_is_merged_all_the_same(
    bench: Bench, store: DirectoryImageStore
) -> None:
    instance = bench.spawn()
    before = changing.facts_and_snapshots(bench, instance)
    fault = vim.fault.FileLocked(msg="a backup holds it")
    lab = matrix.lab_of(bench)
    disk = bench.root_disk(instance).backing.fileName
    holding = bench.control.held(disk)

    def observe(event: Any) -> None:
        if isinstance(event, StepStarted) and event.title == "Delete the snapshot":
            holding.__enter__()

    def release(_seconds: float) -> None:
        if not released:
            released.append(True)
            holding.__exit__(None, None, None)

    released: list[bool] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vmops.ops.instances.unmerged.time.sleep", release)
        lab.failures.plan(Failure(call="ConsolidateVMDisks_Task", how=How.TASK_FAILS, fault=fault))
        bench.engine(images=store, observe=observe).snapshot(
            None, instance, "made", lambda **_: None
        )
    lab.failures.clear()
    assert released
    assert changing.facts_and_snapshots(bench, instance) == before
    assert not needs_consolidation(bench, instance)


def test_an_interrupted_one_is_not_said_to_be_undone(
    bench: Bench, store: DirectoryImageStore
) -> None:
    """Here the undo removes the snapshot, and cannot merge its layers: that is noted."""
    instance = bench.spawn()
    disk = bench.root_disk(instance).backing.fileName
    holding = bench.control.held(disk)

    def tell(*, task_state: str, **_: Any) -> None:
        if task_state == "image_uploading":
            holding.__enter__()
            raise KeyboardInterrupt

    try:
        with pytest.raises(KeyboardInterrupt) as interrupt:
            bench.engine(images=store).snapshot(None, instance, "made", tell)
    finally:
        holding.__exit__(None, None, None)
    notes = " ".join(interrupt.value.__notes__)
    assert "Could not undo 'Create the snapshot'" in notes
    assert "-000001.vmdk" in notes
    assert needs_consolidation(bench, instance)
    bench.ops.destroy(instance, None)
    assert not [path for path in bench.tree() if instance.uuid in path]


def unmerged_volume(bench: Bench) -> tuple[Instance, str, Any]:
    """An instance with a volume, whose snapshot is gone and whose layers are not."""
    instance = bench.spawn(power_on=False)
    attach_volume(bench, instance)
    vm = bench.vm(instance)
    volume = next(
        d for d in second_view.devices(vm, vim.vm.device.VirtualDisk) if d.unitNumber == 1
    ).backing.fileName
    made = second_view.finished(vm.CreateSnapshot_Task("one", "", False, False))
    holding = bench.control.held(volume)
    holding.__enter__()
    with pytest.raises(vim.fault.FileLocked):
        second_view.finished(made.RemoveSnapshot_Task(False))
    return instance, volume, holding


def test_a_volume_under_a_layer_is_not_detached_by_destroy(bench: Bench) -> None:
    """What was written since is in the layer: with it in the folder it would be lost."""
    instance, _, holding = unmerged_volume(bench)
    before = bench.vm(instance)
    with pytest.raises(LeftBehind):
        bench.ops.destroy(instance, None)
    holding.__exit__(None, None, None)
    assert bench.vm(instance) == before
    assert needs_consolidation(bench, instance)
    bench.ops.destroy(instance, None)
    assert bench.vm(instance) is None
    left = sorted(path.rpartition("/")[2] for path in bench.tree() if "7e57-volumes/" in path)
    assert left == ["v-flat.vmdk", "v.vmdk"]


def test_nor_by_detach(bench: Bench) -> None:
    instance = bench.spawn(power_on=False)
    volume = a_shadow_vm(bench)
    do(bench.ops, "attach", volume, instance)
    made = second_view.finished(bench.vm(instance).CreateSnapshot_Task("one", "", False, False))
    with bench.control.held(volume.path), pytest.raises(vim.fault.FileLocked):
        second_view.finished(made.RemoveSnapshot_Task(False))
    assert needs_consolidation(bench, instance)
    with pytest.raises(InvalidState, match="vmops audit --fix"):
        do(bench.ops, "detach", volume, instance)
    unmerged.merge(VirtualMachine(bench.session, bench.vm(instance)))
    do(bench.ops, "detach", volume, instance)
    assert paths(bench, instance) == [
        f"[{bench.backend.datastore}] {instance.uuid}/{instance.uuid}.vmdk"
    ]
