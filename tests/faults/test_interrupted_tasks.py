"""Ctrl-C while a task runs that ends well all the same: what became of it is told truly."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from tests.backends import second_view
from tests.backends.lab import LabBackend
from tests.contract.engine import Bench
from tests.contract.volumes import a_shadow_vm, paths
from tests.faults import matrix
from tests.faults.test_volumes import do
from vmops import Instance
from vmops.lab.wire.failures import Failure, How

# The task cannot be cancelled: it ends as if nobody had interrupted.
GOES_ON = Failure(call="CancelTask", how=How.REFUSED, nth=0)


@pytest.fixture(scope="module")
def lab_backend() -> Iterator[LabBackend]:
    """One whose tasks take long enough to be interrupted."""
    backend = LabBackend("lab", task_delay_s=0.4)
    try:
        yield backend
    finally:
        backend.close()


def interrupt_of(bench: Bench, call: str, do: Callable[[], object], *planned: Failure) -> str:
    """What is noted on the interrupt that ends an operation while the task of ``call`` runs."""
    lab = matrix.lab_of(bench)
    lab.failures.plan(*planned)

    def interrupt() -> None:
        while call not in lab.failures.calls():
            time.sleep(0.01)
        time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    with pytest.raises(KeyboardInterrupt) as raised:
        thread.start()
        do()
    thread.join()
    lab.failures.clear()
    return " ".join(getattr(raised.value, "__notes__", ()))


def host_of(bench: Bench, instance: Instance) -> str:
    host = second_view.properties(bench.vm(instance), "runtime.host")["runtime.host"]
    return str(second_view.properties(host, "name")["name"])


@pytest.mark.parametrize("block_migration", [False, True], ids=["host", "host-and-disks"])
@pytest.mark.parametrize("planned", [[GOES_ON], []], ids=["goes-on", "cancelled"])
def test_a_live_migration(bench: Bench, block_migration: bool, planned: list[Failure]) -> None:
    instance, told = bench.spawn(), list[str]()
    before = host_of(bench, instance)
    dest = next(n for n in ("esx1.lab.local", "esx2.lab.local") if n != before)

    def migrate() -> None:
        bench.ops.live_migration(
            None,
            instance,
            dest,
            lambda *_: told.append("moved"),
            lambda *_: told.append("runs where it was"),
            block_migration,
        )

    notes = interrupt_of(bench, "RelocateVM_Task", migrate, *planned)
    if planned:
        assert host_of(bench, instance) == dest
    assert told == ["moved" if host_of(bench, instance) == dest else "runs where it was"]
    assert (f"runs on {dest}" in notes) == (told == ["moved"])


@pytest.mark.parametrize("planned", [[GOES_ON], []], ids=["goes-on", "cancelled"])
def test_attach_and_detach(bench: Bench, planned: list[Failure]) -> None:
    instance, volume = bench.spawn(power_on=False), a_shadow_vm(bench)
    for verb in ("attach", "detach"):
        notes = interrupt_of(
            bench,
            "ReconfigVM_Task",
            lambda: do(bench.ops, verb, volume, instance),  # noqa: B023
            *planned,
        )
        is_done = (volume.path in paths(bench, instance)) == (verb == "attach")
        assert is_done or not planned
        assert ("was done all the same" in notes) == is_done
        if not is_done:
            do(bench.ops, verb, volume, instance)


@pytest.mark.parametrize("verb", ["power_off", "suspend"])
def test_what_has_nothing_to_undo(bench: Bench, verb: str) -> None:
    instance = bench.spawn()
    call = {"power_off": "PowerOffVM_Task", "suspend": "SuspendVM_Task"}[verb]
    notes = interrupt_of(bench, call, lambda: getattr(bench.ops, verb)(instance), GOES_ON)
    assert bench.power(instance) == ("poweredOff" if verb == "power_off" else "suspended")
    assert "had its effect all the same" in notes
