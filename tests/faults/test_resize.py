"""Resize, failing or dying at each of its calls: as before, or done when it is done again."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.builders import MEMORY_MIB
from tests.contract.engine import Bench
from tests.faults import changing, matrix, resize_calls
from tests.faults.resize_calls import confirm, finish, revert, reverting
from vmops import Flavor, Instance, VMwareVMOps
from vmops.errors import NotResized
from vmops.lab.wire.failures import Failure

FLAVOR = Flavor(vcpus=2, memory_mib=2 * MEMORY_MIB, root_gib=1)

MIGRATE = [
    "RetrievePropertiesEx",
    "HEAD /folder",
    "ReconfigVM_Task",
    "PowerOffVM_Task",
    "CopyVirtualDisk_Task",
    "ExtendVirtualDisk_Task",
    "ReconfigVM_Task",
]
# Of these one is by HTTP, at which nobody dies.
MOVING = [*MIGRATE[:4], "RelocateVM_Task", "RetrievePropertiesEx", *MIGRATE[4:]]
FINISH = ["PowerOnVM_Task"]
CONFIRM = ["ReconfigVM_Task", "HEAD /folder", "DeleteVirtualDisk_Task"]
REVERT = reverting(1)


def migrate(ops: VMwareVMOps, instance: Instance) -> None:
    ops.migrate_disk_and_power_off(None, instance, "", FLAVOR)


def move(ops: VMwareVMOps, instance: Instance) -> None:
    ops.migrate_disk_and_power_off(None, instance, "datastore2", FLAVOR)


def check_resized(bench: Bench, instance: Instance) -> None:
    found = changing.facts(bench, instance)
    assert (found["power"], found["cpus"][0], found["memory"]) == ("poweredOn", 2, 2 * MEMORY_MIB)
    assert [disk[3] for disk in found["disks"]] == [1024**2]


def check_confirmed(bench: Bench, instance: Instance) -> None:
    check_resized(bench, instance)
    found = changing.facts(bench, instance)
    assert found["notes"] == {}
    (disk,) = found["disks"]
    left = {path for path in found["files"] if path.endswith(".vmdk")}
    assert left == {disk[2], disk[2].replace(".vmdk", "-flat.vmdk")}


# Failing


@pytest.mark.parametrize("failure", matrix.parameters(MIGRATE))
def test_a_resize_that_fails_leaves_all_as_it_was(bench: Bench, failure: Failure) -> None:
    instance = bench.spawn()
    before = changing.facts(bench, instance)
    error = changing.failing(bench, failure, lambda: migrate(bench.ops, instance))
    if error is not None:
        assert changing.facts(bench, instance) == before
        migrate(bench.ops, instance)
    finish(bench.ops, instance)
    check_resized(bench, instance)
    confirm(bench.ops, instance)
    check_confirmed(bench, instance)


@pytest.mark.parametrize("failure", matrix.parameters(MOVING))
def test_a_move_that_fails_leaves_all_as_it_was(bench: Bench, failure: Failure) -> None:
    instance = bench.spawn(linked_clone=False)
    before = changing.facts(bench, instance)
    error = changing.failing(bench, failure, lambda: move(bench.ops, instance))
    if error is not None:
        assert changing.facts(bench, instance) == before
        move(bench.ops, instance)
    finish(bench.ops, instance)
    check_resized(bench, instance)
    revert(bench.ops, instance)
    assert changing.facts(bench, instance) == before


@pytest.mark.parametrize("failure", matrix.parameters(FINISH))
def test_a_finish_that_fails_is_done_when_it_is_done_again(bench: Bench, failure: Failure) -> None:
    instance = bench.spawn()
    migrate(bench.ops, instance)
    changing.failing(bench, failure, lambda: finish(bench.ops, instance))
    finish(bench.ops, instance)
    check_resized(bench, instance)


@pytest.mark.parametrize("failure", matrix.parameters(CONFIRM))
def test_a_confirm_that_fails_is_done_when_it_is_done_again(bench: Bench, failure: Failure) -> None:
    instance = bench.spawn()
    migrate(bench.ops, instance)
    finish(bench.ops, instance)
    changing.failing(bench, failure, lambda: confirm(bench.ops, instance))
    confirm(bench.ops, instance)
    check_confirmed(bench, instance)


@pytest.mark.parametrize("failure", matrix.parameters(REVERT))
def test_a_revert_that_fails_is_done_when_it_is_done_again(bench: Bench, failure: Failure) -> None:
    instance = bench.spawn()
    before = changing.facts(bench, instance)
    migrate(bench.ops, instance)
    finish(bench.ops, instance)
    changing.failing(bench, failure, lambda: revert(bench.ops, instance))
    if changing.facts(bench, instance)["notes"]:
        revert(bench.ops, instance)
    assert changing.facts(bench, instance) == before


@pytest.mark.parametrize(
    ("calls", "prepare", "do"),
    [
        (MIGRATE, (), migrate),
        (MOVING, (), move),
        (FINISH, (migrate,), finish),
        (CONFIRM, (migrate, finish), confirm),
        (REVERT, (migrate, finish), revert),
    ],
    ids=["migrate", "move", "finish", "confirm", "revert"],
)
def test_the_tables_are_those_of_good_runs(
    bench: Bench,
    calls: list[str],
    prepare: tuple[Callable[[VMwareVMOps, Instance], None], ...],
    do: Callable[[VMwareVMOps, Instance], None],
) -> None:
    instance = bench.spawn()
    for each in prepare:
        each(bench.ops, instance)
    found = changing.calls_of(bench, lambda: do(bench.ops, instance))
    assert changing.without_looks(found) == changing.without_looks(calls)


# Dying


@pytest.mark.parametrize("at", range(1, len(MIGRATE)))
def test_a_resize_that_died_is_reverted(bench: Bench, at: int) -> None:
    instance = bench.spawn()
    before = changing.facts(bench, instance)
    assert changing.die(bench, at, lambda ops: migrate(ops, instance))
    if at <= 2:  # nothing was changed, not even the note written
        with pytest.raises(NotResized):
            revert(bench.ops, instance)
    else:
        revert(bench.ops, instance)
    assert changing.facts(bench, instance) == before


@pytest.mark.parametrize("at", range(1, len(MIGRATE)))
def test_a_resize_that_died_is_done_when_it_is_done_again(bench: Bench, at: int) -> None:
    instance = bench.spawn()
    assert changing.die(bench, at, lambda ops: migrate(ops, instance))
    migrate(bench.ops, instance)
    finish(bench.ops, instance)
    confirm(bench.ops, instance)
    check_confirmed(bench, instance)


@pytest.mark.parametrize("at", range(1, len(MIGRATE)))
def test_an_instance_whose_resize_died_is_destroyed_whole(bench: Bench, at: int) -> None:
    instance = bench.spawn()
    assert changing.die(bench, at, lambda ops: migrate(ops, instance))
    bench.ops.destroy(instance, None)
    assert not [path for path in bench.tree() if instance.uuid in path]


@pytest.mark.parametrize("at", range(1, len(MOVING)))
@pytest.mark.parametrize("again", [True, False], ids=["again", "revert"])
def test_a_move_that_died_is_done_again_or_reverted(bench: Bench, at: int, again: bool) -> None:
    instance = bench.spawn(linked_clone=False)
    before = changing.facts(bench, instance)
    assert changing.die(bench, at, lambda ops: move(ops, instance))
    if again:
        move(bench.ops, instance)
        finish(bench.ops, instance)
        check_resized(bench, instance)
    if again or at > 2:
        revert(bench.ops, instance)
    assert changing.facts(bench, instance) == before


@pytest.mark.parametrize("at", [1, 2])
def test_a_confirm_that_died_is_done_when_it_is_done_again(bench: Bench, at: int) -> None:
    instance = bench.spawn()
    migrate(bench.ops, instance)
    finish(bench.ops, instance)
    assert changing.die(bench, at, lambda ops: confirm(ops, instance))
    confirm(bench.ops, instance)
    check_confirmed(bench, instance)


@pytest.mark.parametrize("at", range(1, len(resize_calls.REVERT) + 1))
def test_a_revert_that_died_is_done_when_it_is_done_again(bench: Bench, at: int) -> None:
    instance = bench.spawn()
    before = changing.facts(bench, instance)
    migrate(bench.ops, instance)
    finish(bench.ops, instance)
    assert changing.die(bench, at, lambda ops: revert(ops, instance))
    revert(bench.ops, instance)
    assert changing.facts(bench, instance) == before
