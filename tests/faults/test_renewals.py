"""What a lease costs: nothing for what is short, else one call each time that it is renewed."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from tests.backends import second_view
from tests.builders import MEMORY_MIB, an_instance
from tests.contract.engine import Bench
from tests.contract.staging import held
from tests.faults.matrix import STREAM, lab_of
from vmops import Flavor, Instance, VMwareVMOps, in_flight
from vmops.progress import Event, StepStarted

RENEW_S = 0.4
BIGGER = Flavor(vcpus=2, memory_mib=2 * MEMORY_MIB)

# What is held, before which step, and by which call its mark is renewed.
HELD: dict[str, tuple[str, str, Callable[[VMwareVMOps, Instance], object]]] = {
    "spawn": ("Power on", "", lambda ops, i: ops.spawn(None, an_instance(), "flat", ())),
    "spawn that attaches": (
        "Attach the disks",
        "ReconfigVM_Task",
        lambda ops, i: ops.spawn(None, an_instance(), "flat", ()),
    ),
    "resize": (
        "Power off",
        "ReconfigVM_Task",
        lambda ops, i: ops.migrate_disk_and_power_off(None, i, "", BIGGER),
    ),
    "rescue": (
        "Copy the image to the rescue disk",
        "ReconfigVM_Task",
        lambda ops, i: ops.rescue(None, i, None, "flat"),
    ),
    "snapshot": (
        "Upload the disk to the image store",
        "ReconfigVM_Task",
        lambda ops, i: ops.snapshot(None, i, "made", lambda **_: None),
    ),
}


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_flight.TIMING, "renew_s", RENEW_S)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("name", HELD)
def test_one_call_each_time_and_none_besides(bench: Bench, name: str) -> None:
    moment, call, do = HELD[name]
    instance = bench.spawn()
    with held(bench, moment, lambda ops: do(ops, instance)):
        begin = time.monotonic()
        calls = bench.calls_of(lambda: time.sleep(4 * RENEW_S))
        took_s = time.monotonic() - begin
    most = int(took_s / RENEW_S) + 1
    assert set(calls) <= ({call} if call else set())
    assert (2 if call else 0) <= calls[call] <= most


@pytest.mark.usefixtures("quick")
def test_an_image_on_its_way_is_one_small_file_each_time(bench: Bench) -> None:
    """And one of its VM's mark, which is another thing."""
    image, failures = bench.images.named("flat", vmware_ostype="otherGuest"), lab_of(bench).failures
    moment = "Upload the image in its place"
    with held(bench, moment, lambda ops: ops.spawn(None, an_instance(), image, ())):
        failures.plan()
        begin = time.monotonic()
        time.sleep(4 * RENEW_S)
        calls = Counter(call for call in failures.calls() if call not in STREAM)
        most = int((time.monotonic() - begin) / RENEW_S) + 1
    assert set(calls) == {"ReconfigVM_Task", "PUT /folder"}
    assert all(2 <= number <= most for number in calls.values())


@pytest.mark.parametrize("name", HELD)
def test_what_is_shorter_costs_nothing(bench: Bench, name: str) -> None:
    """It is as if there were no leases: the same calls as with a mark that is never renewed."""
    moment, _, do = HELD[name]
    instance = bench.spawn()
    with held(bench, moment, lambda ops: do(ops, instance)):
        assert bench.calls_of(lambda: time.sleep(0.3)) == Counter()


@pytest.mark.usefixtures("quick")
def test_the_mark_of_a_long_snapshot_comes_and_goes(bench: Bench) -> None:
    instance = bench.spawn()
    vm, seen = bench.vm(instance), []

    def observe(event: Event) -> None:
        if isinstance(event, StepStarted) and event.title == "Upload the disk to the image store":
            time.sleep(3 * RENEW_S)
            seen.append(second_view.extra_config(vm).get("vmops.worker", ""))

    made = bench.engine(observe=observe).snapshot(None, instance, "slow", lambda **_: None)
    bench.images.store.remove(made.image.id)
    assert seen[0].startswith(f"snapshot {in_flight.owner()} ")
    assert not second_view.extra_config(vm).get("vmops.worker")


def test_renewals_and_the_operations_own_changes_do_not_meet(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """vSphere refuses a second task on a VM: while one runs, nothing is renewed, and after."""
    session, local = bench.session, threading.local()
    running, overlaps, done = threading.Lock(), [], []
    call, wait = session.client.call, session.tasks.wait

    def begin(moref: Any, method: str, /, **arguments: Any) -> Any:
        local.is_vm = type(moref)._wsdlName == "VirtualMachine" and method.endswith("_Task")
        if local.is_vm and not running.acquire(blocking=False):
            overlaps.append(method)
            local.is_vm = False
        return call(moref, method, **arguments)

    def end(task: Any) -> Any:
        is_vm = local.is_vm
        try:
            return wait(task)
        finally:
            if is_vm:
                running.release()
                done.append(task)

    monkeypatch.setattr(session.client, "call", begin)
    monkeypatch.setattr(session.tasks, "wait", end)
    monkeypatch.setattr(in_flight.TIMING, "renew_s", 0.02)
    for _ in range(4):
        instance = bench.spawn()
        bench.ops.migrate_disk_and_power_off(None, instance, "", BIGGER)
        bench.ops.finish_revert_migration(instance, None)
        bench.ops.rescue(None, instance, None, "flat")
    assert overlaps == []
    assert len(done) > 20
