"""Pause and unpause: a suspension with a mark, told from one without."""

from __future__ import annotations

import pytest

from tests.backends import second_view
from tests.backends.capabilities import Capability
from tests.contract.engine import Bench
from tests.contract.needs import needs
from tests.contract.test_power import OFF, ON, SUSPENDED, in_state
from vmops import Instance
from vmops.errors import InstanceResumeFailure, InvalidPowerState, NotSupported
from vmops.model.power import InstanceState


def mark(bench: Bench, instance: Instance) -> str:
    """The mark as the server has it."""
    options = bench.vm(instance).config.extraConfig
    return str({o.key: o.value for o in options}.get("vmops.paused", ""))


def test_a_paused_instance_is_suspended_and_marked_and_goes_on_unmarked(bench: Bench) -> None:
    instance = in_state(bench, ON)
    bench.ops.pause(instance)
    assert (bench.power(instance), mark(bench, instance)) == (SUSPENDED, "1")
    bench.ops.unpause(instance)
    assert (bench.power(instance), mark(bench, instance)) == (ON, "")


@needs(Capability.KEYED_PATHS)
def test_get_info_tells_paused_from_suspended(bench: Bench) -> None:
    instance = in_state(bench, ON)
    bench.ops.pause(instance)
    assert bench.ops.get_info(instance).state is InstanceState.PAUSED
    bench.ops.unpause(instance)
    assert bench.ops.get_info(instance).state is InstanceState.RUNNING
    bench.ops.suspend(instance)
    assert bench.ops.get_info(instance).state is InstanceState.SUSPENDED


def test_pausing_twice_is_pausing_once(bench: Bench) -> None:
    instance = in_state(bench, ON)
    bench.ops.pause(instance)
    bench.ops.pause(instance)
    assert (bench.power(instance), mark(bench, instance)) == (SUSPENDED, "1")


@pytest.mark.parametrize("state", [OFF, SUSPENDED])
def test_only_a_running_instance_is_paused(bench: Bench, state: str) -> None:
    instance = in_state(bench, state)
    with pytest.raises(InvalidPowerState, match=r"is (powered off|suspended)\."):
        bench.ops.pause(instance)
    assert (bench.power(instance), mark(bench, instance)) == (state, "")


@pytest.mark.parametrize("state", [OFF, ON, SUSPENDED])
def test_what_is_not_paused_is_not_unpaused(bench: Bench, state: str) -> None:
    instance = in_state(bench, state)
    with pytest.raises(InvalidPowerState, match=r"(Start|Resume) it first|nothing to unpause"):
        bench.ops.unpause(instance)
    assert bench.power(instance) == state


@needs(Capability.KEYED_PATHS)
def test_resume_leaves_a_paused_instance_alone(bench: Bench) -> None:
    instance = in_state(bench, ON)
    bench.ops.pause(instance)
    with pytest.raises(InstanceResumeFailure, match="Unpause"):
        bench.ops.resume(instance)
    assert bench.power(instance) == SUSPENDED


def test_a_mark_on_a_running_instance_means_nothing(bench: Bench) -> None:
    """It is what a process leaves that died between resuming and taking the mark off."""
    instance = in_state(bench, ON)
    bench.ops.pause(instance)
    second_view.finished(bench.vm(instance).PowerOnVM_Task())
    assert bench.ops.get_info(instance).state is InstanceState.RUNNING
    bench.ops.pause(instance)
    bench.ops.unpause(instance)
    assert (bench.power(instance), mark(bench, instance)) == (ON, "")


def test_an_unpause_that_died_is_ended_by_the_next(bench: Bench) -> None:
    """The instance runs already: the mark alone is taken off."""
    instance = in_state(bench, ON)
    bench.ops.pause(instance)
    second_view.finished(bench.vm(instance).PowerOnVM_Task())
    bench.ops.unpause(instance)
    assert (bench.power(instance), mark(bench, instance)) == (ON, "")
    with pytest.raises(InvalidPowerState, match="nothing to unpause"):
        bench.ops.unpause(instance)


def test_an_engine_may_be_told_to_refuse(bench: Bench) -> None:
    instance = in_state(bench, ON)
    ops = bench.engine(emulate_pause=False)
    for method in (ops.pause, ops.unpause):
        with pytest.raises(NotSupported, match="cannot pause"):
            method(instance)
    assert (bench.power(instance), mark(bench, instance)) == (ON, "")
