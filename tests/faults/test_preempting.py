"""A destroy that does not wait for what works on its instance, and what that tells its caller."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from tests.backends import second_view
from tests.contract.engine import Bench
from tests.faults import matrix
from vmops import Flavor, Instance, VMwareVMOps
from vmops.errors import Busy, VMOpsError
from vmops.lab.wire.failures import Failure, How
from vmops.ops.guard import preempting
from vmops.progress import Event, StepStarted


class Work:
    """An operation on another thread, which waits at a step until it is let go on."""

    def __init__(self, bench: Bench, step: str, do: Callable[[VMwareVMOps], object]) -> None:
        self.reached, self.go_on = threading.Event(), threading.Event()
        self.error: BaseException | None = None
        self._step = step
        ops = bench.engine(observe=self._observe)
        self._thread = threading.Thread(target=self._run, args=(ops, do))
        self._thread.start()
        assert self.reached.wait(30)

    def _observe(self, event: Event) -> None:
        if isinstance(event, StepStarted) and event.title == self._step:
            self.reached.set()
            self.go_on.wait(30)

    def _run(self, ops: VMwareVMOps, do: Callable[[VMwareVMOps], object]) -> None:
        try:
            do(ops)
        except BaseException as error:  # noqa: BLE001 - what it ended with is what is looked at
            self.error = error

    def end(self) -> BaseException | None:
        self._thread.join(60)
        assert not self._thread.is_alive()
        return self.error


def resize(ops: VMwareVMOps, instance: Instance) -> None:
    ops.migrate_disk_and_power_off(None, instance, "", Flavor(memory_mib=32, root_gib=1))


def migrate(ops: VMwareVMOps, instance: Instance) -> None:
    def told(*_: object) -> None:
        pass

    ops.live_migration(None, instance, "esx2.lab.local", told, told)


OPERATIONS: dict[str, tuple[str, Callable[[VMwareVMOps, Instance], object]]] = {
    "snapshot": (
        "Upload the disk to the image store",
        lambda ops, it: ops.snapshot(None, it, "made", lambda **_: None),
    ),
    "resize": ("Copy the root disk, and let the copy grow", resize),
    "live migration": ("Move the VM", migrate),
    "rescue": ("Attach the rescue disk", lambda ops, it: ops.rescue(None, it, None, "flat")),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_it_stops_the_operation_and_removes_the_instance(bench: Bench, name: str) -> None:
    step, do = OPERATIONS[name]
    instance = bench.spawn()
    images = sorted(one.name for one in bench.images.store.directory.iterdir())
    work = Work(bench, step, lambda ops: do(ops, instance))
    with pytest.raises(Busy, match=name):
        bench.ops.destroy(instance, None)
    timer = threading.Timer(0.3, work.go_on.set)
    timer.start()
    bench.ops.destroy(instance, None, preempt=True)
    error = work.end()
    assert isinstance(error, VMOpsError), repr(error)
    matrix.check_undone(error)
    assert bench.vm(instance) is None
    assert not [path for path in bench.tree() if instance.uuid in path]
    assert sorted(one.name for one in bench.images.store.directory.iterdir()) == images


def test_two_destroys_want_the_same(bench: Bench) -> None:
    instance = bench.spawn()
    work = Work(bench, "Power off", lambda ops: ops.destroy(instance, None))
    threading.Timer(0.3, work.go_on.set).start()
    bench.ops.destroy(instance, None, preempt=True)
    assert work.end() is None
    assert bench.vm(instance) is None


def test_tasks_of_others_are_cancelled(bench: Bench) -> None:
    """One that somebody began by the API itself; without ``preempt`` it is in the way."""
    instance = bench.spawn()
    lab = matrix.lab_of(bench)
    lab.failures.plan(Failure(call="SuspendVM_Task", how=How.TASK_HANGS))
    task = bench.vm(instance).SuspendVM_Task()
    lab.failures.clear()
    bench.ops.destroy(instance, None, preempt=True)
    assert bench.vm(instance) is None
    if second_view.properties(task, "info.state").get("info.state") == "running":
        task.CancelTask()  # the lab's hanging task is no machine's


def test_what_does_not_stop_is_told(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preempting, "WAIT_S", 0.3)
    instance = bench.spawn()
    step, do = OPERATIONS["resize"]
    work = Work(bench, step, lambda ops: do(ops, instance))
    with pytest.raises(Busy, match="asked to stop"):
        bench.ops.destroy(instance, None, preempt=True)
    assert bench.vm(instance) is not None
    work.go_on.set()
    work.end()
    bench.ops.destroy(instance, None, preempt=True)
    assert bench.vm(instance) is None


def test_where_nothing_works_it_is_a_destroy(bench: Bench) -> None:
    instance = bench.spawn()
    bench.ops.destroy(instance, None, preempt=True)
    bench.ops.destroy(instance, None, preempt=True)
    assert bench.vm(instance) is None
