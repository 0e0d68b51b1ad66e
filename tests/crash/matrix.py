"""Which points are taken: all that good runs show, or an even choice of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from tests.crash import rounds
from tests.crash.gate import Moment, Point
from tests.crash.operations import OPERATIONS, Operation
from tests.crash.rounds import Good, Round, Route
from tests.crash.stage import Stage

Play = Callable[[Stage], Round]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One way of doing harm: its points, and how a round is played."""

    name: str
    title: str
    plays: Callable[[Operation, Good], list[Play]]


def _killed_clients(operation: Operation, good: Good) -> list[Play]:
    found: list[Play] = []
    for point in good.points():
        found.append(_play(rounds.kill_client, operation, good, point))
        if point.changes and point.moment is Moment.AFTER:
            found.append(
                lambda stage, point=point: rounds.kill_client(  # type: ignore[misc]
                    stage, operation, good, point, Route.DESTROY
                )
            )
    return found


def _killed_servers(operation: Operation, good: Good) -> list[Play]:
    return [
        _play(rounds.kill_server, operation, good, point)
        for point in good.points()
        if point.changes and point.moment is not Moment.BEFORE
    ]


def _holes(operation: Operation, good: Good) -> list[Play]:
    return [
        _play(rounds.make_hole, operation, good, point)
        for point in good.points()
        if point.moment is not Moment.MIDDLE
    ]


def _play(
    do: Callable[[Stage, Operation, Good, Point], Round],
    operation: Operation,
    good: Good,
    point: Point,
) -> Play:
    return lambda stage: do(stage, operation, good, point)


KINDS = {
    kind.name: kind
    for kind in (
        Kind(name="clients", title="The client killed", plays=_killed_clients),
        Kind(name="servers", title="The server killed", plays=_killed_servers),
        Kind(name="holes", title="A connection silent", plays=_holes),
    )
}


def every(stage: Stage, kind: Kind, operation: Operation) -> Iterator[Round]:
    """All points of an operation."""
    good = rounds.good_run(stage, operation)
    for play in kind.plays(operation, good):
        yield play(stage)


def chosen(stage: Stage, kind: Kind, operation: Operation, number: int) -> Iterator[Round]:
    """So many of its points, evenly chosen by its place in the table of operations."""
    plays = kind.plays(operation, rounds.good_run(stage, operation))
    start = list(OPERATIONS).index(operation.name)
    for play in spread(plays, number, start):
        yield play(stage)


def spread(plays: Sequence[Play], number: int, start: int) -> list[Play]:
    """So many of them, equally far apart; where the first is depends on ``start``."""
    step = max(1, len(plays) // max(1, number))
    return [
        plays[(start * 7 + step * each) % len(plays)] for each in range(min(number, len(plays)))
    ]
