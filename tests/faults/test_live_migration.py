"""Live migration, failing or dying at each of its calls: moved or not, and told once which."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from tests.contract.engine import Bench
from tests.contract.migrating import Told, migrate, other_host, place
from tests.faults import changing, matrix
from vmops import Instance, VMwareVMOps
from vmops.errors import VMOpsError
from vmops.lab.wire.failures import Failure, How

MOVE = ["RetrievePropertiesEx", "RelocateVM_Task", "RetrievePropertiesEx"]
# A parent of a linked clone that the move before this one copied is looked for: it may stay behind.
LEAVING = [*MOVE, "RetrievePropertiesEx", "DeleteVirtualDisk_Task", "SearchDatastore_Task"]


@dataclass(frozen=True, slots=True)
class Case:
    """A move: with its disks or without, and after another one or not."""

    name: str
    block: bool
    calls: tuple[str, ...]
    prepare: Callable[[Bench, Instance], None] = lambda *_: None


def go_away(bench: Bench, instance: Instance) -> None:
    migrate(bench, instance, other_host(bench, instance), Told(), block_migration=True)


CASES = (
    Case("host", block=False, calls=tuple(MOVE)),
    Case("disks", block=True, calls=tuple(MOVE)),
    Case("leaving", block=True, calls=tuple(LEAVING), prepare=go_away),
)


def of_cases() -> list[object]:
    return [
        pytest.param(case, failure, id=f"{case.name}-{failure.call}#{failure.nth}-{failure.how}")
        for case in CASES
        for failure in matrix.failures(case.calls)
    ]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_tables_are_those_of_good_runs(bench: Bench, case: Case) -> None:
    instance = bench.spawn()
    case.prepare(bench, instance)
    dest = other_host(bench, instance)
    found = changing.calls_of(
        bench, lambda: migrate(bench, instance, dest, Told(), block_migration=case.block)
    )
    assert changing.without_looks(found) == changing.without_looks(list(case.calls))


# Failing


@pytest.mark.parametrize(("case", "failure"), of_cases())
def test_one_that_fails_is_where_it_was_and_else_it_has_moved(
    bench: Bench, case: Case, failure: Failure
) -> None:
    """From the arrival on nothing calls it failed any more."""
    instance = bench.spawn()
    case.prepare(bench, instance)
    dest, where, before = other_host(bench, instance), place(bench, instance), bench.world()
    told, error = Told(), None
    lab = matrix.lab_of(bench)
    lab.failures.plan(failure)
    try:
        migrate(bench, instance, dest, told, block_migration=case.block)
    except VMOpsError as raised:
        error = raised
        matrix.check_error(error, failure)
    calls = lab.failures.calls()
    lab.failures.clear()
    assert calls.count(failure.call) >= failure.nth, f"the call was not made, only {calls}"
    is_look = failure.call == "RetrievePropertiesEx" and failure.nth == 1
    fails = failure.how in {How.REFUSED, How.TASK_FAILS}
    if (is_look and fails) or (
        failure.call == "RelocateVM_Task" and (fails or failure.how is How.LOST_BEFORE)
    ):
        assert error is not None
        assert told.counts() == (0, 0 if is_look else 1)
        assert place(bench, instance) == where
        assert bench.world() == before
    else:
        assert error is None
        assert told.counts() == (1, 0)
        assert place(bench, instance)[0] == dest
    assert bench.power(instance) == "poweredOn"
    bench.ops.destroy(instance, None)
    assert [path for path in bench.tree() if instance.uuid in path] == []


# Dying


@pytest.mark.parametrize("at", range(1, len(MOVE) + 1))
@pytest.mark.parametrize("block", [True, False], ids=["disks", "host"])
def test_one_that_died_is_done_when_it_is_done_again(bench: Bench, at: int, block: bool) -> None:
    """It runs where it was or where it was to go, and goes on from there."""
    instance = bench.spawn()
    dest, told = other_host(bench, instance), Told()

    def move(ops: VMwareVMOps) -> None:
        migrate(bench, instance, dest, told, ops=ops, block_migration=block)

    assert changing.die(bench, at, move)
    assert place(bench, instance)[0] == dest if at > 2 else place(bench, instance)[0] != dest
    assert bench.power(instance) == "poweredOn"
    told = Told()
    migrate(bench, instance, other_host(bench, instance), told, block_migration=block)
    assert told.counts() == (1, 0)
    bench.ops.destroy(instance, None)
    assert [path for path in bench.tree() if instance.uuid in path] == []


def test_what_cannot_be_deleted_at_all_is_told_of(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """The instance runs where it was to go: that is no failure."""
    instance, told = bench.spawn(), Told()
    go_away(bench, instance)
    dest, lab = other_host(bench, instance), matrix.lab_of(bench)
    lab.failures.plan(Failure(call="DeleteVirtualDisk_Task", how=How.REFUSED, nth=0))
    with caplog.at_level("WARNING", logger="vmops"):
        migrate(bench, instance, dest, told, block_migration=True)
    lab.failures.clear()
    assert told.counts() == (1, 0)
    assert place(bench, instance)[0] == dest
    assert "disks may have stayed behind" in caplog.text
