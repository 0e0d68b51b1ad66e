from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.vsphere.conftest import MakeVm, Place, eventually
from vmops.vsphere.live.stream import STREAM_METHODS
from vmops.vsphere.live.watch_list import FIRST_SIGHT_S, TRUSTED_S, _Sights
from vmops.vsphere.objects.virtual_machine import VirtualMachine
from vmops.vsphere.session import Session


def reads(session: Session, do: Callable[[], object]) -> int:
    before = session.counts["RetrievePropertiesEx"]
    do()
    return session.counts["RetrievePropertiesEx"] - before


def turned(vm: VirtualMachine) -> None:
    vm.power_on()
    vm.power_off()


def seen_after(sights: Any, *seconds: float) -> bool:
    for late in seconds:
        sights.list("task-1", time.monotonic() - late)
        sights.see("task-1")
    return bool(sights.patience_s == 0)


def test_one_late_sight_among_prompt_ones_changes_nothing() -> None:
    assert not seen_after(_Sights(), 0.002, 0.003, 10 * FIRST_SIGHT_S)
    assert not seen_after(_Sights(), 10 * FIRST_SIGHT_S, 0.002)


def test_a_server_that_is_late_as_a_rule_is_asked_until_it_is_not() -> None:
    sights = _Sights()
    assert sights.patience_s == FIRST_SIGHT_S
    assert seen_after(sights, 0.2, 0.1, 0.004, 0.15)
    assert not seen_after(sights, 0.004, 0.003)


def test_what_is_taken_from_the_list_unseen_says_nothing() -> None:
    sights = _Sights()
    sights.list("task-1", time.monotonic() - 1)
    sights.forget(["task-1"])
    sights.see("task-1")
    assert sights.patience_s == FIRST_SIGHT_S


def test_a_server_that_was_prompt_as_a_rule_is_waited_for_longer() -> None:
    sights = _Sights()
    assert not seen_after(sights, 0.002, 0.003, 0.001)
    assert sights.patience_s == TRUSTED_S
    assert not seen_after(sights, 10 * FIRST_SIGHT_S)
    assert sights.patience_s == TRUSTED_S


def test_a_server_that_tells_nothing_any_more_is_found_out() -> None:
    sights = _Sights()
    seen_after(sights, 0.002, 0.003, 0.001)
    for number in range(3):
        sights.list(f"task-{number}", time.monotonic() - TRUSTED_S)
        sights.miss(f"task-{number}")
    assert sights.patience_s == 0
    # What is looked at at once says nothing of how late the server would be.
    sights.list("task-4", time.monotonic())
    sights.miss("task-4")
    assert sights.patience_s == 0


def test_news_that_overtake_the_answer_are_prompt() -> None:
    sights = _Sights()
    sights.list("task-1", float("inf"))
    sights.see("task-1")
    assert sights.patience_s == FIRST_SIGHT_S


def test_a_prompt_server_is_not_asked_for_tasks(lab: Place, make_vm: MakeVm) -> None:
    with lab.connect() as session:
        session.inventory.wait_fresh()
        vm, _ = make_vm(session)
        turned(vm)
        before = session.counts
        for _ in range(10):
            turned(vm)
        used = session.counts - before
        beside = {method: n for method, n in used.items() if method not in STREAM_METHODS}
        # A loaded machine may make a sight late now and then, which costs that task one read.
        assert beside.pop("RetrievePropertiesEx", 0) <= 5
        assert beside == {"PowerOnVM_Task": 10, "PowerOffVM_Task": 10}


@pytest.mark.vcsim
def test_a_server_that_looks_now_and_then_is_found_to_be_late(
    simulator: Place, make_vm: MakeVm
) -> None:
    with simulator.connect() as session:
        session.inventory.wait_fresh()
        vm, _ = make_vm(session)

        def is_late() -> bool:
            turned(vm)
            return session.watch_list._patience_s() == 0

        eventually(is_late, 20.0)
        assert reads(session, lambda: turned(vm)) == 2
