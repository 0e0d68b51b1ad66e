"""Two operations on one instance at once: the second is told which one runs, and since when."""

from __future__ import annotations

import asyncio
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from pyVmomi import vim

from tests.backends import second_view
from tests.backends.capabilities import Capability
from tests.builders import MEMORY_MIB, an_instance
from tests.contract.engine import Bench
from tests.contract.needs import needs
from tests.contract.staging import changes, facts, held
from tests.marks import ELSEWHERE, mark_of, neighbour
from vmops import Flavor, Instance, VMwareVMOps, in_flight
from vmops.errors import Busy, LeaseLost
from vmops.lab.kernel.task import TaskRun, start_task
from vmops.lab.wire.failures import Failure, How
from vmops.ops.guard.preconditions import take_mark
from vmops.ops.guard.vm_marks import replace_mark
from vmops.ops.instances.recovery import find_work
from vmops.vsphere.objects.lookup import find_vm

pytestmark = needs(Capability.CONTROL, Capability.NO_GUESTS)

OWNER = r"[0-9a-f]+-[0-9a-f]+-\d+-\d+"
SINCE = r"since \d\d:\d\d:\d\d"
BIGGER = Flavor(vcpus=2, memory_mib=2 * MEMORY_MIB)

# What holds the instance: how it is called in the error, and the step before which it stops.
FIRST: dict[str, tuple[str, Callable[[VMwareVMOps, Instance], object]]] = {
    "destroy": ("Power off", lambda ops, i: ops.destroy(i, None)),
    "rescue": ("Power off", lambda ops, i: ops.rescue(None, i, None, "flat")),
    "resize": ("Power off", lambda ops, i: ops.migrate_disk_and_power_off(None, i, "", BIGGER)),
    "snapshot": (
        "Create the snapshot",
        lambda ops, i: ops.snapshot(None, i, "made", lambda **_: None),
    ),
    "pause": ("Suspend", lambda ops, i: ops.pause(i)),
    "live migration": (
        "Move the VM",
        lambda ops, i: ops.live_migration(None, i, "esx2.lab.local", _nothing, _nothing),
    ),
}
SECOND: dict[str, Callable[[VMwareVMOps, Instance], object]] = {
    "destroy": FIRST["destroy"][1],
    "rescue": FIRST["rescue"][1],
    "resize": FIRST["resize"][1],
    "snapshot": FIRST["snapshot"][1],
    "pause": FIRST["pause"][1],
    "power off": lambda ops, i: ops.power_off(i),
    "power on": lambda ops, i: ops.power_on(None, i),
    "unplug interfaces": lambda ops, i: ops.unplug_vifs(i, ()),
    "attach volume": lambda ops, i: ops.attach_volume(
        None, {"driver_volume_type": "vmdk", "data": {"volume": "vm-1", "volume_id": "v"}}, i
    ),
}


def _nothing(*_: Any) -> None:
    pass


@pytest.mark.parametrize("second", SECOND)
@pytest.mark.parametrize("first", [name for name in FIRST if name != "live migration"])
def test_the_second_is_told_of_the_first(bench: Bench, first: str, second: str) -> None:
    check(bench, first, second)


@needs(Capability.VCENTER)
@pytest.mark.parametrize("second", SECOND)
def test_the_second_is_told_of_a_migration(bench: Bench, second: str) -> None:
    check(bench, "live migration", second)


def check(bench: Bench, first: str, second: str) -> None:
    """The first is held in the middle; the second is refused, and nothing else happens."""
    instance = bench.spawn()
    vm = bench.vm(instance)
    title, begin = FIRST[first]
    with held(bench, title, lambda ops: begin(ops, instance)):
        before = facts(bench, vm)
        with pytest.raises(Busy, match=f"{instance.uuid}\\) is busy: {first} has .* {SINCE}"):
            SECOND[second](bench.ops, instance)
        assert changes(before, facts(bench, vm)) == {}


def test_the_second_is_told_of_a_spawn(bench: Bench) -> None:
    instance = an_instance()
    with held(bench, "Power on", lambda ops: ops.spawn(None, instance, "flat", ())):
        for do in (SECOND["destroy"], SECOND["power off"]):
            with pytest.raises(Busy, match=f"{instance.uuid}\\) is busy: spawn has .* {SINCE}"):
                do(bench.ops, instance)


def test_two_who_want_it_off_both_find_it_off(bench: Bench) -> None:
    instance = bench.spawn()
    go = threading.Barrier(4)

    def off(_: int) -> None:
        go.wait(10.0)
        bench.ops.power_off(instance)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(off, range(4)))
    assert bench.power(instance) == "poweredOff"


def test_what_looks_works_beside_what_changes(bench: Bench) -> None:
    instance = bench.spawn()
    with held(bench, "Power off", lambda ops: ops.destroy(instance, None)):
        assert bench.ops.get_info(instance).state == 1
        assert bench.ops.list_instances() == [instance.uuid]
        assert bench.ops.get_diagnostics(instance)["vmware:powerState"] == "poweredOn"


# Other processes


@pytest.fixture
def other_process() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["sleep", "600"])
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def mark(bench: Bench, instance: Instance, text: str, key: str = "vmops.worker") -> None:
    """Write a mark as another process would, and wait until the session has heard of it."""
    option = vim.option.OptionValue(key=key, value=text)
    spec = vim.vm.ConfigSpec(extraConfig=[option])
    second_view.finished(bench.vm(instance).ReconfigVM_Task(spec))
    inventory = bench.session.inventory
    while (known := inventory.vm_by_uuid(instance.uuid)) is None or known.settings.get(
        key, ""
    ) != text:
        threading.Event().wait(0.01)


@pytest.mark.parametrize("key", ["vmops.worker", "vmops.operation"])
@pytest.mark.parametrize("second", SECOND)
def test_the_second_is_told_of_another_process(
    bench: Bench, other_process: subprocess.Popen[bytes], second: str, key: str
) -> None:
    instance = bench.spawn()
    mark(bench, instance, mark_of("resize", neighbour(other_process.pid)), key)
    before = facts(bench, bench.vm(instance))
    told = f"{instance.name} .{instance.uuid}. is busy: resize is under way, by {OWNER}"
    with pytest.raises(Busy, match=f"{told} .process {other_process.pid} of this machine,"):
        SECOND[second](bench.ops, instance)
    assert changes(before, facts(bench, bench.vm(instance))) == {}


@pytest.mark.parametrize("second", ["destroy", "rescue", "resize"])
def test_a_session_that_knows_nothing_looks(
    bench: Bench, other_process: subprocess.Popen[bytes], second: str
) -> None:
    instance = bench.spawn()
    mark(bench, instance, mark_of("rescue", neighbour(other_process.pid)))
    with (
        bench.backend.connect() as fresh,
        pytest.raises(Busy, match=f"rescue is under way, by {OWNER}"),
    ):
        SECOND[second](bench.engine(session=fresh), instance)


def test_what_a_dead_process_left_is_no_hindrance(
    bench: Bench, other_process: subprocess.Popen[bytes]
) -> None:
    instance = bench.spawn()
    mark(bench, instance, mark_of("rescue", neighbour(other_process.pid)))
    other_process.kill()
    other_process.wait()
    bench.ops.rescue(None, instance, None, "flat")
    bench.ops.unrescue(instance)
    assert second_view.extra_config(bench.vm(instance)).get("vmops.worker", "") == ""


def test_another_machine_is_believed_as_long_as_it_renews_its_mark(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(in_flight.TIMING, "lease_s", 0.5)
    instance = bench.spawn()
    for _ in range(4):
        mark(bench, instance, mark_of("resize"))
        told = f"resize is under way, by {ELSEWHERE}; its mark was seen to stand still for 0 s"
        with pytest.raises(Busy, match=f"{told}.* --fix --owner {ELSEWHERE}"):
            bench.ops.power_off(instance)
        threading.Event().wait(0.2)
        with pytest.raises(Busy):
            bench.ops.power_off(instance)
    threading.Event().wait(0.5)
    bench.ops.power_off(instance)
    assert bench.power(instance) == "poweredOff"
    assert "vmops.worker" not in second_view.extra_config(bench.vm(instance))


def test_what_is_renewed_between_the_look_and_the_change_is_not_taken(bench: Bench) -> None:
    """Whoever takes a mark names the state that it saw: the server refuses if that is over."""
    instance = bench.spawn()
    text, renewed = mark_of("resize"), mark_of("resize")
    mark(bench, instance, text)
    seen = in_flight.judge(in_flight.Mark.parse(text))
    dead = replace(seen, verdict=in_flight.Verdict.DEAD)
    vm = find_vm(bench.session, instance.uuid)
    with bench.backend.connect() as other:
        owner = find_vm(other, instance.uuid)
        replace_mark(owner, "vmops.worker", text, renewed)
        with pytest.raises(Busy, match="was renewed, or taken by another, just now"):
            take_mark(vm, "vmops.worker", dead, "The instance")
        assert second_view.extra_config(bench.vm(instance))["vmops.worker"] == renewed


def test_of_many_who_take_it_at_once_one_wins(bench: Bench) -> None:
    instance = bench.spawn()
    text = mark_of("resize")
    mark(bench, instance, text)
    vm, go = find_vm(bench.session, instance.uuid), threading.Barrier(6)

    def take(_: int) -> bool:
        go.wait(10.0)
        try:
            replace_mark(vm, "vmops.worker", text, mark_of("rescue"))
        except (LeaseLost, Busy):
            return False
        return True

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(take, range(6))).count(True) == 1
    assert second_view.extra_config(bench.vm(instance))["vmops.worker"].startswith("rescue ")


def test_a_machine_that_the_server_works_on_is_not_given_up(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its owner may wait for that task, and cannot renew the mark meanwhile."""
    monkeypatch.setattr(in_flight.TIMING, "lease_s", 0.3)
    instance = bench.spawn()
    text = mark_of("resize")
    mark(bench, instance, text)
    vm, release = bench.vm(instance), threading.Event()

    async def hold(kernel: Any) -> Any:
        async def run(_: TaskRun) -> None:
            while not release.is_set():
                await asyncio.sleep(0.01)

        return start_task(kernel.registry.get(vm._GetMoId()), "VirtualMachine.clone", run)

    def verdicts() -> list[in_flight.Verdict]:
        return [each.judgment.verdict for each in find_work(bench.session, bench.settings)]

    assert verdicts() == [in_flight.Verdict.UNKNOWN]
    task = bench.control.lab.on_loop(hold)
    try:
        for _ in range(2):
            threading.Event().wait(0.4)
            assert verdicts() == [in_flight.Verdict.WORKING]
        threading.Event().wait(0.4)
        with pytest.raises(Busy, match="a task runs on it, so its resize is not over"):
            bench.ops.power_off(instance)
    finally:
        release.set()
    assert task is not None
    assert second_view.extra_config(vm)["vmops.worker"] == text
    threading.Event().wait(0.4)
    bench.ops.power_off(instance)
    assert bench.power(instance) == "poweredOff"


# The server's own tasks


def test_a_task_of_somebody_else_is_named(bench: Bench) -> None:
    """The lab lets tasks wait for each other; vSphere refuses the second."""
    instance = bench.spawn()
    vm = bench.vm(instance)
    release = threading.Event()

    async def hold(kernel: Any) -> Any:
        async def run(_: TaskRun) -> None:
            while not release.is_set():
                await asyncio.sleep(0.01)

        return start_task(kernel.registry.get(vm._GetMoId()), "VirtualMachine.clone", run)

    lab = bench.control.lab
    fault = vim.fault.TaskInProgress(
        task=lab.on_loop(hold), msg="Another task is already in progress."
    )
    lab.failures.plan(Failure(call="PowerOffVM_Task", how=How.TASK_FAILS, nth=0, fault=fault))
    try:
        told = f"{instance.name} .{instance.uuid}. is busy: VirtualMachine.clone has been running"
        with pytest.raises(Busy, match=f"{told} {SINCE}"):
            bench.ops.power_off(instance)
    finally:
        lab.failures.clear()
        release.set()
    assert bench.power(instance) == "poweredOn"
