"""Answers that are lost while the server still works: the effect comes after the look."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.backends.lab import LabBackend
from tests.builders import Images
from tests.contract.engine import Bench
from tests.faults import matrix
from vmops.errors import ConnectionLost, TimedOut
from vmops.lab.wire.failures import Failure, How
from vmops.vsphere.live import tasks

DELAY_S = 0.7


@pytest.fixture(scope="module")
def slow_backend() -> Iterator[LabBackend]:
    """A lab whose tasks take their time."""
    backend = LabBackend("lab", task_delay_s=DELAY_S)
    try:
        yield backend
    finally:
        backend.close()


@pytest.fixture
def slow(slow_backend: LabBackend, images: Images) -> Iterator[Bench]:
    with slow_backend.connect() as session:
        session.inventory.wait_fresh()
        try:
            yield Bench(backend=slow_backend, session=session, images=images)
        finally:
            slow_backend.clean()


@pytest.mark.parametrize("call", ["CreateVM_Task", "ReconfigVM_Task", "PowerOnVM_Task"])
def test_what_comes_after_the_lost_answer_is_taken_back(slow: Bench, call: str) -> None:
    lab = matrix.lab_of(slow)
    before = slow.world()
    lab.failures.plan(Failure(call=call, how=How.LOST_AT_ONCE))
    with pytest.raises(ConnectionLost) as lost:
        slow.spawn()
    lab.failures.clear()
    matrix.check_undone(lost.value)
    assert slow.vms() == before[0]
    matrix.check_files(slow, before[1])


def test_a_task_that_takes_too_long_is_cancelled_and_nothing_is_left(
    slow: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The task does not heed the cancellation, and ends well when nobody waits any more."""
    monkeypatch.setattr(tasks, "CANCEL_GRACE_S", 0.1)
    before = slow.world()
    slow.backend.forget_calls()
    with pytest.raises(TimedOut, match="did not end within"):
        slow.spawn(ops=slow.engine(task_deadline_s=0.2))
    assert slow.backend.calls()["CancelTask"] == 1
    assert slow.world() == before


def test_a_task_that_ends_well_after_its_deadline_has_ended_well(slow: Bench) -> None:
    slow.spawn()  # what fills the cache could be cancelled
    instance = slow.spawn(ops=slow.engine(task_deadline_s=0.5))
    assert slow.power(instance) == "poweredOn"
