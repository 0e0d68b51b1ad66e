"""Power: each operation from each state."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from pyVmomi import vim

from tests.backends import second_view
from tests.backends.capabilities import Capability
from tests.builders import a_uuid
from tests.contract.engine import Bench
from tests.contract.needs import needs
from vmops import Instance
from vmops.errors import (
    Busy,
    InstanceNotFound,
    InstancePowerOffFailure,
    InstanceRebootFailure,
    InstanceResumeFailure,
    InstanceSuspendFailure,
)
from vmops.lab.wire.failures import Failure, How
from vmops.model.power import InstanceState

NO_TOOLS = vim.fault.ToolsUnavailable(msg="VMware Tools is not running.")
OFF, ON, SUSPENDED = "poweredOff", "poweredOn", "suspended"


def in_state(bench: Bench, state: str) -> Instance:
    """An instance brought to a state by the second view, not by the code under test."""
    instance = bench.spawn(power_on=False)
    vm = bench.vm(instance)
    if state != OFF:
        second_view.finished(vm.PowerOnVM_Task())
    if state == SUSPENDED:
        second_view.finished(vm.SuspendVM_Task())
    assert bench.power(instance) == state
    return instance


@pytest.mark.parametrize("state", [OFF, ON, SUSPENDED])
def test_power_on_makes_it_run_whatever_it_was(bench: Bench, state: str) -> None:
    instance = in_state(bench, state)
    bench.ops.power_on(None, instance, None, None)
    assert bench.power(instance) == ON


@pytest.mark.parametrize("state", [OFF, ON])
def test_power_off_makes_it_off(bench: Bench, state: str) -> None:
    instance = in_state(bench, state)
    bench.ops.power_off(instance)
    assert bench.power(instance) == OFF


@needs(Capability.PROMPT_UPDATES)
def test_power_off_does_not_throw_away_a_suspended_memory(bench: Bench) -> None:
    instance = in_state(bench, SUSPENDED)
    with pytest.raises(InstancePowerOffFailure, match=r"[Rr]esume"):
        bench.ops.power_off(instance)
    assert bench.power(instance) == SUSPENDED


def test_power_off_asks_the_server_about_a_suspension_it_has_not_heard_of(bench: Bench) -> None:
    """A session whose live inventory is not loaded knows nothing of the VM."""
    instance = in_state(bench, SUSPENDED)
    with bench.backend.connect() as fresh:
        ops = bench.engine(session=fresh)
        with pytest.raises(InstancePowerOffFailure):
            ops.power_off(instance)
    assert bench.power(instance) == SUSPENDED


def test_suspend_keeps_what_runs_and_resume_goes_on(bench: Bench) -> None:
    instance = in_state(bench, ON)
    bench.ops.suspend(instance)
    assert bench.power(instance) == SUSPENDED
    bench.ops.suspend(instance)  # it is already
    assert bench.power(instance) == SUSPENDED
    bench.ops.resume(instance)
    assert bench.power(instance) == ON


@needs(Capability.POWER_FAULTS)
def test_what_is_off_cannot_be_suspended(bench: Bench) -> None:
    instance = in_state(bench, OFF)
    with pytest.raises(InstanceSuspendFailure, match="powered off"):
        bench.ops.suspend(instance)
    assert bench.power(instance) == OFF


@pytest.mark.parametrize("state", [OFF, ON])
def test_only_what_is_suspended_can_be_resumed(bench: Bench, state: str) -> None:
    instance = in_state(bench, state)
    with pytest.raises(InstanceResumeFailure):
        bench.ops.resume(instance)
    assert bench.power(instance) == state


@pytest.mark.parametrize("how", ["SOFT", "HARD"])
def test_a_running_instance_is_rebooted(bench: Bench, how: str) -> None:
    instance = in_state(bench, ON)
    bench.ops.reboot(instance, None, how)
    assert bench.power(instance) == ON


@needs(Capability.COUNTED_CALLS)
@pytest.mark.parametrize("how", ["SOFT", "HARD"])
def test_without_tools_a_reboot_is_one_reset(bench: Bench, how: str) -> None:
    instance = in_state(bench, ON)
    bench.backend.forget_calls()
    bench.ops.reboot(instance, None, how)
    calls = bench.backend.calls()
    assert calls["ResetVM_Task"] == 1
    assert calls["PowerOffVM_Task"] == calls["PowerOnVM_Task"] == 0


@needs(Capability.CONTROL, Capability.NO_GUESTS)
@pytest.mark.parametrize(("how", "method"), [("SOFT", "RebootGuest"), ("HARD", "ResetVM_Task")])
def test_running_tools_are_asked_for_a_soft_reboot_alone(
    bench: Bench, how: str, method: str
) -> None:
    instance = bench.spawn(extra_config={"vmops.lab.tools": "running"})
    calls = bench.calls_of(lambda: bench.ops.reboot(instance, None, how))
    asked = {name: calls[name] for name in ("RebootGuest", "ResetVM_Task") if calls[name]}
    assert asked == {method: 1}
    assert bench.power(instance) == ON


@needs(Capability.CONTROL, Capability.NO_GUESTS)
def test_tools_that_stop_at_this_moment_are_no_hindrance_to_a_reboot(bench: Bench) -> None:
    """They were seen running, and could not be asked any more: it is reset."""
    instance = bench.spawn(extra_config={"vmops.lab.tools": "running"})
    lab = bench.control.lab
    lab.failures.plan(Failure(call="RebootGuest", how=How.REFUSED, nth=0, fault=NO_TOOLS))
    bench.ops.reboot(instance)
    calls = lab.failures.calls()
    assert calls.count("RebootGuest") == calls.count("ResetVM_Task") == 1
    assert bench.power(instance) == ON


@needs(Capability.CONTROL, Capability.NO_GUESTS)
@pytest.mark.parametrize(
    ("tools", "calls_wanted"),
    [
        ("running", {"ShutdownGuest": 1}),
        ("stubborn", {"ShutdownGuest": 1, "PowerOffVM_Task": 1}),
        ("", {"ShutdownGuest": 1, "PowerOffVM_Task": 1}),
    ],
)
def test_a_guest_has_time_to_shut_down_before_the_plug_is_pulled(
    bench: Bench, tools: str, calls_wanted: dict[str, int]
) -> None:
    instance = bench.spawn(extra_config={"vmops.lab.tools": tools} if tools else {})
    begun = time.monotonic()
    calls = bench.calls_of(lambda: bench.ops.power_off(instance, 1.0, 0.1))
    assert bench.power(instance) == OFF
    asked = {name: calls[name] for name in ("ShutdownGuest", "PowerOffVM_Task") if calls[name]}
    assert asked == calls_wanted
    if tools == "stubborn":
        assert time.monotonic() - begun >= 1.0


@needs(Capability.CONTROL, Capability.NO_GUESTS)
def test_without_time_the_plug_is_pulled(bench: Bench) -> None:
    instance = bench.spawn(extra_config={"vmops.lab.tools": "running"})
    calls = bench.calls_of(lambda: bench.ops.power_off(instance))
    assert (calls["ShutdownGuest"], calls["PowerOffVM_Task"]) == (0, 1)
    assert bench.power(instance) == OFF


@needs(Capability.POWER_FAULTS)
@pytest.mark.parametrize("how", ["suspend", "pause"])
def test_a_suspended_memory_is_thrown_away_where_that_is_asked_for(bench: Bench, how: str) -> None:
    instance = in_state(bench, ON)
    getattr(bench.ops, how)(instance)
    bench.ops.power_off(instance, discard_memory=True)
    assert bench.power(instance) == OFF
    bench.ops.power_on(None, instance)
    assert bench.power(instance) == ON
    bench.ops.suspend(instance)
    assert bench.ops.get_info(instance).state is InstanceState.SUSPENDED


@needs(Capability.POWER_FAULTS)
@pytest.mark.parametrize("how", ["SOFT", "HARD"])
@pytest.mark.parametrize("state", [OFF, SUSPENDED])
def test_what_does_not_run_is_not_rebooted(bench: Bench, state: str, how: str) -> None:
    instance = in_state(bench, state)
    with pytest.raises(InstanceRebootFailure):
        bench.ops.reboot(instance, None, how)
    assert bench.power(instance) == state


@needs(Capability.COUNTED_CALLS)
def test_each_is_one_call_once_the_session_is_warm(bench: Bench) -> None:
    """A task that the stream is late to tell of is looked at, which a busy machine may cause."""
    instance = bench.spawn()
    wanted = {
        "SuspendVM_Task": lambda: bench.ops.suspend(instance),
        "PowerOnVM_Task": lambda: bench.ops.resume(instance),
        "PowerOffVM_Task": lambda: bench.ops.power_off(instance),
    }
    least: dict[str, int] = {}
    rounds = 10  # a session that met a late stream asks of its next twenty tasks at once
    while rounds and sum(least.values(), start=not least):
        rounds -= 1
        for method, do in wanted.items():
            calls = bench.calls_of(do)
            assert calls.pop(method) == 1
            assert set(calls) <= {"RetrievePropertiesEx"}
            least[method] = min(least.get(method, 99), calls.total())
        bench.ops.power_on(None, instance)
    assert least == dict.fromkeys(wanted, 0)


@pytest.mark.parametrize("operation", ["power_off", "reboot", "suspend", "resume", "power_on"])
def test_an_instance_that_is_not_there_is_named(bench: Bench, operation: str) -> None:
    uuid = a_uuid()
    arguments = (None, uuid) if operation == "power_on" else (uuid,)
    with pytest.raises(InstanceNotFound) as refused:
        getattr(bench.ops, operation)(*arguments)
    assert refused.value.instance_uuid == uuid


def test_engines_that_power_off_at_once_both_succeed(bench: Bench) -> None:
    """Two services may do the same; what one of them finds done is not an error."""
    instance = in_state(bench, ON)
    engines = [bench.engine() for _ in range(4)]
    with ThreadPoolExecutor(len(engines)) as pool:
        list(pool.map(lambda ops: ops.power_off(instance), engines))
    assert bench.power(instance) == OFF


@needs(Capability.CONTROL)
def test_an_operation_on_a_busy_instance_says_which_one_is_running(bench: Bench) -> None:
    instance = in_state(bench, ON)
    with bench.ops._alone(instance.uuid, "spawn"), pytest.raises(Busy, match="spawn"):
        bench.ops.power_off(instance)
    assert bench.power(instance) == ON


@needs(Capability.GUEST)
def test_a_suspended_guest_goes_on_counting_where_it_stopped(bench: Bench) -> None:
    instance = bench.spawn()
    serial = bench.serial(instance)
    serial.wait_for("tick 2\r\n")
    bench.ops.suspend(instance)
    last = serial.ticks()[-1]
    bench.ops.resume(instance)
    serial.wait_for(f"tick {last + 1}\r\n")
    assert serial.text().count("\nboot ") == 1
    assert serial.ticks() == list(range(1, serial.ticks()[-1] + 1))


@needs(Capability.GUEST)
def test_a_rebooted_guest_starts_at_zero_with_one_boot_more(bench: Bench) -> None:
    instance = bench.spawn()
    serial = bench.serial(instance)
    serial.wait_for("tick 2\r\n")
    bench.ops.reboot(instance)
    serial.wait_for("boot 2\r\ntick 1\r\n")


@needs(Capability.GUEST)
def test_a_guest_that_was_off_boots_once_more(bench: Bench) -> None:
    instance = bench.spawn()
    bench.serial(instance).wait_for("boot 1\r\n")
    bench.ops.power_off(instance)
    bench.ops.power_on(None, instance)
    bench.serial(instance).wait_for("boot 2\r\n")
