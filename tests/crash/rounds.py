"""One operation, first undisturbed and then harmed at one of its calls, and what is left of it.

After the harm either

- ``vmops audit``, with ``--fix`` if it lists anything, the operation again, then all is as after a
  run that was not harmed, and ``vmops destroy``; or
- ``vmops destroy`` at once, and the same audit.

Both end with what a run leaves that was not harmed and then destroyed.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from tests.crash import facts
from tests.crash.facts import Facts
from tests.crash.gate import Harm, Moment, Point
from tests.crash.lab_process import LEASE_S
from tests.crash.nursery import Child
from tests.crash.operations import Operation
from tests.crash.stage import CLIENT_S, UUID, Stage

FIX_S = LEASE_S + 15.0
"""How long ``audit --fix`` is tried: what is still being read cannot be taken at once."""


class Route(StrEnum):
    """What is done after the harm."""

    AGAIN = "again"
    DESTROY = "destroy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Good:
    """A run that nobody disturbed."""

    calls: list[str]
    before: Facts
    after: Facts
    destroyed: Facts

    def points(self) -> list[Point]:
        """Every moment of every call; how often a lease is renewed depends on the moment."""
        seen: Counter[str] = Counter()
        found = []
        for call in self.calls:
            seen[call] += 1
            if call == "HttpNfcLeaseProgress" and seen[call] > 1:
                continue
            found += [Point(call=call, nth=seen[call], moment=moment) for moment in Moment]
        return found


@dataclass(kw_only=True)
class Round:
    """What came of one harm."""

    operation: str
    point: Point
    route: Route = Route.AGAIN
    reached: bool = True
    """Whether the call came: some are made on some runs only."""
    found: list[str] = field(default_factory=list)
    """What ``vmops audit`` listed."""
    problems: list[str] = field(default_factory=list)
    seconds: float = 0.0
    """From the client's start to its end."""

    def __str__(self) -> str:
        return f"{self.operation}, {self.point}, then {self.route}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A client that waits to begin. ``extra`` is what its operation needs beside the instance."""

    client: Child
    extra: dict[str, Any]


def good_run(stage: Stage, operation: Operation) -> Good:
    """Do it undisturbed, and note all that it calls and leaves."""
    stage.clean()
    extra = operation.prepare(stage)
    before = stage.facts()
    client = stage.client(stage.access(through_gate=True))
    try:
        stage.gate.watch()
        client.tell(_order(operation.deed, extra))
        outcome = client.told(CLIENT_S)
        calls = stage.gate.seen()
        client.finish()
        client.wait(CLIENT_S)
    finally:
        client.end()
    assert outcome is not None, stage.log()
    assert outcome["error"] == "", outcome
    assert calls, "it calls nothing"
    after = stage.facts()
    assert stage.vmops("destroy", "--yes", UUID).code == 0
    return Good(calls=calls, before=before, after=after, destroyed=stage.facts())


def kill_client(
    stage: Stage, operation: Operation, good: Good, point: Point, route: Route = Route.AGAIN
) -> Round:
    """Kill the process that does the operation."""
    found = Round(operation=operation.name, point=point, route=route)
    with _Scene(stage, operation, found) as scene:
        outcome = scene.play(Harm(point=point, do=lambda task: scene.client.kill()))
    if found.reached and outcome is not None:
        found.problems.append(f"it was not killed: {outcome}")
    _afterwards(stage, operation, good, scene.extra, found)
    return found


def kill_server(stage: Stage, operation: Operation, good: Good, point: Point) -> Round:
    """Kill the lab when a call has come, or when it has had its effect, and start it again."""
    found = Round(operation=operation.name, point=point)

    def kill(task: str) -> None:
        if task:
            stage.wait_for_task(task)
        stage.lab.kill()

    with _Scene(stage, operation, found) as scene:
        scene.begin(Harm(point=point, do=kill))
        while not stage.gate.was_harmed.wait(0.01) and not scene.client.has_said():
            pass
        if stage.gate.was_harmed.is_set():
            stage.restart_lab()
        scene.end()
    _afterwards(stage, operation, good, scene.extra, found)
    return found


def make_hole(stage: Stage, operation: Operation, good: Good, point: Point) -> Round:
    """Let the connection of a call go silent, for a client that waits one second for answers."""
    found = Round(operation=operation.name, point=point)
    with _Scene(stage, operation, found, timeout_s=1.0) as scene:
        scene.play(Harm(point=point, do=lambda task: stage.gate.stay_silent()))
    stage.gate.speak()
    _afterwards(stage, operation, good, scene.extra, found)
    return found


class _Scene:
    """A stage that is set, with the client that is harmed."""

    def __init__(
        self, stage: Stage, operation: Operation, found: Round, *, timeout_s: float = 30.0
    ) -> None:
        self._stage, self._found = stage, found
        stage.clean()
        self.extra = operation.prepare(stage)
        access = stage.access(through_gate=True, timeout_s=timeout_s)
        self.client = stage.client(access)
        self._order = _order(operation.deed, self.extra)

    def __enter__(self) -> _Scene:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.end()
        self._stage.gate.seen()

    def begin(self, harm: Harm) -> None:
        self._stage.gate.watch(harm)
        self._begun = time.monotonic()
        self.client.tell(self._order)

    def play(self, harm: Harm) -> Any:
        """What the client said at its end; None if it died."""
        self.begin(harm)
        return self.end()

    def end(self) -> Any:
        outcome = self.client.told(CLIENT_S)
        self._found.seconds = time.monotonic() - self._begun
        self.client.finish()
        self.client.wait(CLIENT_S)
        reached = self._found.reached = self._stage.gate.was_harmed.is_set()
        if outcome and outcome["error"]:
            if not reached:
                self._found.problems.append(f"undisturbed, it failed: {outcome}")
            elif not outcome["typed"]:
                self._found.problems.append(f"an error without a type: {outcome}")
        return outcome


def _afterwards(
    stage: Stage, operation: Operation, good: Good, extra: dict[str, Any], found: Round
) -> None:
    """What an operator does next, and whether all is well then."""
    if found.route is Route.DESTROY:
        _destroy(stage, found)
        _audit(stage, found)
    else:
        _audit(stage, found)
        _again(stage, operation, good, extra, found)
        _destroy(stage, found)
    cache = stage.lab.cache_folder
    end = facts.without_cache(stage.facts(), cache)
    wanted = facts.without_cache(good.destroyed, cache)
    if found.route is Route.DESTROY:
        # Whether what the operation was to make or to take is there is not said: an image.
        open_end = good.destroyed.keys() ^ good.before.keys()
        wanted = {key: value for key, value in wanted.items() if key not in open_end}
        end = {key: value for key, value in end.items() if key not in open_end}
    _compare("after destroy", wanted, end, found)


def _audit(stage: Stage, found: Round) -> None:
    """``vmops audit``, and ``vmops audit --fix`` until nothing is listed, if anything was.

    It is tried again while something is still being read.
    """
    listed = stage.vmops("audit", "-o", "json")
    found.found += listed.names
    if not listed.names:
        if listed.code:
            found.problems.append(f"audit: {listed.code} {listed.err.strip()}")
        return
    end = time.monotonic() + FIX_S
    while (fixed := stage.vmops("audit", "--fix", "-o", "json")).code != 0:
        if time.monotonic() > end:
            found.problems.append(f"audit --fix: {fixed.code} {fixed.err.strip()}")
            return
        time.sleep(0.3)
    left = stage.vmops("audit", "-o", "json")
    if left.code or left.names:
        found.problems.append(f"audit after audit --fix: {left.code} {left.names} {left.err}")


def _again(
    stage: Stage, operation: Operation, good: Good, extra: dict[str, Any], found: Round
) -> None:
    """The operation once more: it is done, or refused because all is done."""
    if operation.moves_again and facts.differences(good.after, stage.facts()) == []:
        return
    outcome = _run(stage, operation.deed, extra)
    said = ""
    if outcome is None:
        said = "it died"
    elif outcome["error"]:
        said = f"{outcome['error']}: {outcome['text']}"
        if outcome["refused"]:
            for deed in operation.then:
                _run(stage, deed, extra)
        else:
            found.problems.append(f"the second run: {said}")
    _compare(f"after the second run{said and f' ({said})'}", good.after, stage.facts(), found)


def _run(stage: Stage, deed: str, extra: dict[str, Any]) -> Any:
    client = stage.client(stage.access(through_gate=False))
    try:
        client.tell(_order(deed, extra))
        outcome = client.told(CLIENT_S)
        client.finish()
        client.wait(CLIENT_S)
    finally:
        client.end()
    return outcome


def _order(deed: str, extra: dict[str, Any]) -> dict[str, Any]:
    return {"deed": deed, "uuid": UUID, "extra": extra}


def _destroy(stage: Stage, found: Round) -> None:
    done = stage.vmops("destroy", "--yes", UUID)
    if done.code:
        found.problems.append(f"destroy: {done.code} {done.err.strip()}")


def _compare(when: str, wanted: Facts, there: Facts, found: Round) -> None:
    differences = facts.differences(wanted, there)
    if differences:
        found.problems.append(f"{when}: " + "; ".join(differences))
