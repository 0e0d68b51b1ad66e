"""Volumes, failing or dying at each call: nothing is lost, and what was done twice is done once."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pyVmomi import vim

from tests.builders import an_instance
from tests.contract.engine import Bench
from tests.contract.volumes import (
    WRITTEN,
    MadeVolume,
    a_first_class_disk,
    a_shadow_vm,
    disk_of,
    disks_of,
    mapping,
    moved_volume,
    notes,
    paths,
    read,
)
from tests.faults import changing, matrix
from vmops import Instance, VMwareVMOps, units
from vmops.errors import ConnectionLost, VMOpsError, VolumeNotFound
from vmops.lab.wire.failures import Failure, How
from vmops.model.block_devices import VolumeKind
from vmops.ops.volumes.made import WantedVolume

MAKERS: dict[str, Callable[[Bench], MadeVolume]] = {"vmdk": a_shadow_vm, "fcd": a_first_class_disk}
LOOK = "RetrievePropertiesEx"
CHANGES = {("vmdk", "attach"): "ReconfigVM_Task", ("vmdk", "detach"): "ReconfigVM_Task"} | {
    ("fcd", "attach"): "AttachDisk_Task",
    ("fcd", "detach"): "DetachDisk_Task",
}
# Of a volume whose disk the server had moved to another datastore.
MOVED = [
    LOOK,
    "ReconfigVM_Task",
    "MakeDirectory",
    "MoveVirtualDisk_Task",
    "ReconfigVM_Task",
    "ReconfigVM_Task",
]
LOST = (How.LOST_BEFORE, How.LOST_AFTER, How.LOST_AT_ONCE)


def every_failure() -> list[object]:
    found: list[object] = []
    for (kind, verb), change in CHANGES.items():
        late = Failure(call=change, how=How.LOST_AT_ONCE)
        for failure in [*matrix.failures([LOOK, change]), late]:
            name = f"{verb}-{kind}-{failure.call}-{failure.how.replace(' ', '_')}"
            found.append(pytest.param(kind, verb, failure, id=name))
    return found


def do(ops: VMwareVMOps, verb: str, volume: MadeVolume, instance: Instance) -> None:
    {"attach": ops.attach_volume, "detach": ops.detach_volume}[verb](
        None, volume.connection, instance
    )


def run_failing(bench: Bench, failure: Failure, work: Callable[[], object]) -> VMOpsError | None:
    """Do something with one call failing; its error has no note of something left."""
    lab = matrix.lab_of(bench)
    lab.failures.plan(failure)
    error = None
    try:
        work()
    except VMOpsError as raised:
        error = raised
        matrix.check_undone(raised)
    calls = lab.failures.calls()
    lab.failures.clear()
    assert calls.count(failure.call) >= failure.nth, f"the call was not made, only {calls}"
    return error


@pytest.mark.parametrize(("kind", "verb", "failure"), every_failure())
def test_it_is_done_or_it_is_not(bench: Bench, kind: str, verb: str, failure: Failure) -> None:
    """A change whose answer was lost is looked up, not guessed and not done again."""
    instance, volume = bench.spawn(), MAKERS[kind](bench)
    if verb == "detach":
        do(bench.ops, "attach", volume, instance)
    before = changing.facts(bench, instance)
    error = run_failing(bench, failure, lambda: do(bench.ops, verb, volume, instance))
    if error is None:
        assert failure.how in LOST, "unnoticed"
        assert failure.call == LOOK or failure.how is not How.LOST_BEFORE, "it cannot have happened"
    else:
        assert changing.facts(bench, instance) == before
        if failure.how in LOST:
            assert isinstance(error, ConnectionLost)
        do(bench.ops, verb, volume, instance)
    assert (volume.path in paths(bench, instance)) is (verb == "attach")
    has_note = f"volume-{volume.id}" in notes(bench, instance)
    assert has_note is (verb == "attach" and kind == "vmdk")
    assert volume.path in bench.tree()


@pytest.mark.parametrize("kind", list(MAKERS))
@pytest.mark.parametrize("verb", ["attach", "detach"])
def test_the_tables_are_those_of_good_runs(bench: Bench, kind: str, verb: str) -> None:
    instance, volume = bench.spawn(), MAKERS[kind](bench)
    if verb == "detach":
        do(bench.ops, "attach", volume, instance)
    calls = changing.calls_of(bench, lambda: do(bench.ops, verb, volume, instance))
    assert changing.without_looks(calls) == [LOOK, CHANGES[kind, verb]]


def test_somebody_else_changes_the_machine_meanwhile(bench: Bench) -> None:
    """What was seen is not true any more: it is looked at again, not written over."""
    instance, volume = bench.spawn(), a_shadow_vm(bench)
    changed = vim.fault.ConcurrentAccess()
    refused = Failure(call="ReconfigVM_Task", how=How.TASK_FAILS, fault=changed)
    lab = matrix.lab_of(bench)
    lab.failures.plan(refused)
    do(bench.ops, "attach", volume, instance)
    calls = [call for call in lab.failures.calls() if call.endswith("_Task")]
    lab.failures.clear()
    assert calls == ["ReconfigVM_Task"] * 2
    assert volume.path in paths(bench, instance)


# A disk that was moved


@pytest.mark.parametrize("failure", matrix.parameters(MOVED))
def test_a_moved_disk_comes_back_whatever_fails(bench: Bench, failure: Failure) -> None:
    instance = bench.spawn()
    volume = moved_volume(bench, instance)
    error = run_failing(bench, failure, lambda: do(bench.ops, "detach", volume, instance))
    if error is not None:
        do_again(bench.ops, volume, instance)
    check_home(bench, volume, instance)


@pytest.mark.parametrize("at", range(1, len(MOVED) + 1))
def test_who_dies_is_followed_by_another(bench: Bench, other: VMwareVMOps, at: int) -> None:
    instance = bench.spawn()
    volume = moved_volume(bench, instance)
    assert changing.die(bench, at, lambda ops: do(ops, "detach", volume, instance))
    do_again(other, volume, instance)
    check_home(bench, volume, instance)


@pytest.mark.parametrize("at", range(1, len(MOVED) + 1))
def test_also_by_whoever_destroys_the_instance(bench: Bench, other: VMwareVMOps, at: int) -> None:
    instance = bench.spawn()
    volume = moved_volume(bench, instance)
    assert changing.die(bench, at, lambda ops: do(ops, "detach", volume, instance))
    other.destroy(instance, None)
    assert bench.vm(instance) is None
    assert read(bench, disk_of(volume.holder).backing.fileName) == WRITTEN
    assert not [path for path in bench.tree() if instance.uuid in path]


def do_again(ops: VMwareVMOps, volume: MadeVolume, instance: Instance) -> None:
    """That all was done is told, too."""
    try:
        do(ops, "detach", volume, instance)
    except VolumeNotFound:
        return


def check_home(bench: Bench, volume: MadeVolume, instance: Instance) -> None:
    now = disk_of(volume.holder).backing.fileName
    assert now == volume.path.replace("[datastore1]", "[datastore2]")
    assert read(bench, now) == WRITTEN
    assert len(disks_of(bench.vm(instance))) == 1
    assert notes(bench, instance) == {}


def test_the_table_of_a_moved_disk_is_that_of_a_good_run(bench: Bench) -> None:
    instance = bench.spawn()
    volume = moved_volume(bench, instance)
    calls = changing.calls_of(bench, lambda: do(bench.ops, "detach", volume, instance))
    assert changing.without_looks(calls) == changing.without_looks(MOVED)


# Spawned with volumes

SPAWN = [
    "FindAllByUuid",
    "HEAD /folder",
    "CreateVM_Task",
    LOOK,
    "ReconfigVM_Task",
    LOOK,
    "ReconfigVM_Task",
    LOOK,
    "ReconfigVM_Task",
    "ReconfigVM_Task",
    "PowerOnVM_Task",
]


@pytest.mark.parametrize("failure", matrix.parameters(SPAWN))
def test_a_spawn_that_fails_leaves_its_volumes_as_they_were(bench: Bench, failure: Failure) -> None:
    first, second = a_shadow_vm(bench), a_shadow_vm(bench)
    before, instance = bench.world(), an_instance()
    info = mapping(first, second)
    error = run_failing(
        bench, failure, lambda: bench.spawn("", instance=instance, block_device_info=info)
    )
    if error is not None:
        bench.ops.destroy(instance, None)
        assert bench.world() == before
        bench.spawn("", instance=instance, block_device_info=info)
    assert paths(bench, instance) == [first.path, second.path]
    assert bench.power(instance) == "poweredOn"


def test_the_table_of_a_spawn_is_that_of_a_good_run(bench: Bench) -> None:
    info = mapping(a_shadow_vm(bench), a_shadow_vm(bench))
    calls = changing.calls_of(bench, lambda: bench.spawn("", block_device_info=info))
    assert [call for call in calls if call != LOOK] == [call for call in SPAWN if call != LOOK]


# Volumes without a volume service


@pytest.mark.parametrize(
    ("kind", "call"),
    [(VolumeKind.VMDK, "CreateVM_Task"), (VolumeKind.FIRST_CLASS_DISK, "CreateDisk_Task")],
)
@pytest.mark.parametrize("how", [How.REFUSED, How.TASK_FAILS, How.LOST_BEFORE, How.LOST_AFTER])
def test_a_volume_is_made_or_it_is_not(bench: Bench, kind: VolumeKind, call: str, how: How) -> None:
    before = bench.world()
    wanted = WantedVolume(name="vmops-test-data", size_bytes=4 * units.MIB, kind=kind)
    failure = Failure(call=call, how=how)
    error = run_failing(bench, failure, lambda: bench.ops.create_volume(wanted))
    assert error is not None
    assert {path for path in bench.tree() if not path.endswith("fcd")} == set(before[1])
    assert bench.vms() == before[0]
    assert bench.ops.create_volume(wanted).name == wanted.name


@pytest.mark.parametrize(
    ("kind", "call"),
    [(VolumeKind.VMDK, "Destroy_Task"), (VolumeKind.FIRST_CLASS_DISK, "DeleteVStorageObject_Task")],
)
@pytest.mark.parametrize("how", [How.REFUSED, How.TASK_FAILS, How.LOST_BEFORE])
def test_a_deletion_that_fails_is_done_when_it_is_done_again(
    bench: Bench, kind: VolumeKind, call: str, how: How
) -> None:
    name = bench.ops.create_volume(
        WantedVolume(name="vmops-test-gone", size_bytes=4 * units.MIB, kind=kind)
    ).name
    failure = Failure(call=call, how=how)
    assert run_failing(bench, failure, lambda: bench.ops.delete_volume(name))
    assert name in {each.name for each in bench.ops.list_volumes()}
    bench.ops.delete_volume(name)
    assert name not in {each.name for each in bench.ops.list_volumes()}
