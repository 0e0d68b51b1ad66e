"""Instances whose reboot takes too long: those that did not come back are reset, each by itself."""

from __future__ import annotations

from typing import Any

from tests.backends import second_view
from tests.backends.capabilities import Capability
from tests.builders import a_uuid
from tests.contract.engine import Bench
from tests.contract.needs import needs
from tests.contract.staging import held
from vmops import Instance
from vmops.lab.wire.failures import Failure, How

pytestmark = needs(Capability.CONTROL, Capability.NO_GUESTS)

RUN = {"vmops.lab.tools": "running"}


def booted(bench: Bench, *instances: Instance) -> list[Any]:
    path = "runtime.bootTime"
    return [second_view.properties(bench.vm(each), path)[path] for each in instances]


def test_those_that_did_not_come_back_are_reset_in_order(bench: Bench) -> None:
    first, second = bench.spawn(), bench.spawn()
    before = booted(bench, first, second)
    calls = bench.calls_of(lambda: bench.ops.poll_rebooting_instances(30, [first, second]))
    assert calls["ResetVM_Task"] == 2
    after = booted(bench, first, second)
    assert before[0] < after[0] < after[1]
    assert before[1] < after[1]


def test_one_that_came_back_is_left_alone(bench: Bench) -> None:
    instance = bench.spawn(extra_config=RUN)
    before = booted(bench, instance)
    calls = bench.calls_of(lambda: bench.ops.poll_rebooting_instances(30, [instance]))
    assert calls["ResetVM_Task"] == calls["RebootGuest"] == 0
    assert booted(bench, instance) == before


def test_none_costs_nothing(bench: Bench) -> None:
    assert bench.calls_of(lambda: bench.ops.poll_rebooting_instances(30, [])).total() == 0


def test_a_failure_does_not_stop_the_others(bench: Bench) -> None:
    """One reset fails, one instance is off, one is not there, one is being worked on."""
    failing, off, busy, last = (
        bench.spawn(),
        bench.spawn(power_on=False),
        bench.spawn(),
        bench.spawn(),
    )
    before = booted(bench, failing, busy, last)
    lab = bench.control.lab
    lab.failures.plan(Failure(call="ResetVM_Task", how=How.TASK_FAILS, nth=1))
    with held(bench, "Create the snapshot", lambda ops: _snapshot(ops, busy)):
        bench.ops.poll_rebooting_instances(30, [failing, off, a_uuid(), busy, last])
    lab.failures.clear()
    after = booted(bench, failing, busy, last)
    assert after[:2] == before[:2]
    assert after[2] > before[2]
    assert bench.power(off) == "poweredOff"


def _snapshot(ops: Any, instance: Instance) -> None:
    ops.snapshot(None, instance, "made", lambda **_: None)
