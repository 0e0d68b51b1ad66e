"""A fixed, even choice of what `make crash` does at every call of every operation."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.crash import matrix, rounds
from tests.crash.gate import Moment, Point
from tests.crash.operations import OPERATIONS
from tests.crash.stage import Stage

NAMES = list(OPERATIONS)


def check(stage: Stage, kind: str, name: str) -> None:
    (played,) = matrix.chosen(stage, matrix.KINDS[kind], OPERATIONS[name], 1)
    assert played.reached, f"{played}: the call was not made"
    assert played.problems == [], played


@pytest.mark.parametrize("name", NAMES[::5])
def test_a_client_that_is_killed_leaves_nothing_that_stays(stage: Stage, name: str) -> None:
    check(stage, "clients", name)


@pytest.mark.parametrize("name", NAMES[1::10])
def test_a_server_that_is_killed_leaves_nothing_that_stays(stage: Stage, name: str) -> None:
    check(stage, "servers", name)


@pytest.mark.parametrize("name", NAMES[3::12])
def test_a_connection_that_goes_silent_leaves_nothing_that_stays(stage: Stage, name: str) -> None:
    check(stage, "holes", name)


def test_points_are_those_of_the_good_run(stage: Stage) -> None:
    """Each moment of each call, and the calls are those that the server has tasks of."""
    good = rounds.good_run(stage, OPERATIONS["resize linked"])
    assert good.calls.count("ReconfigVM_Task") == 2
    assert len(good.points()) == 3 * len(good.calls)
    assert Point(call="ReconfigVM_Task", nth=2, moment=Moment.AFTER) in good.points()
    assert good.before != good.after


def test_what_is_left_is_seen(stage: Stage) -> None:
    """A file that nobody owns is named, after the second run and after all."""
    operation = OPERATIONS["power off"]
    good = rounds.good_run(stage, operation)
    assert "poweredOn" in str(good.before)
    assert "poweredOn" not in str(good.after)
    point = Point(call="PowerOffVM_Task", nth=1, moment=Moment.BEFORE)

    def with_a_stray_file(on: Stage) -> dict[str, Any]:
        (on.bench.root() / "stray.vmdk").write_text("left")
        return operation.prepare(on)

    spoiled = replace(operation, prepare=with_a_stray_file)
    played = rounds.kill_client(stage, spoiled, good, point)
    assert [problem.partition(":")[0] for problem in played.problems] == [
        "after the second run",
        "after destroy",
    ]
    assert all("stray.vmdk is left" in problem for problem in played.problems)
