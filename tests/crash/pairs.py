"""Pairs of operations that touch the same things, at the same time, in two processes.

Each round sets the stage, lets both begin at once, and looks at the outcomes and at what there is
then. What only one of them can have, one of them has; whoever is refused is told by an error with a
type; and after all is destroyed nothing is left.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.contract import migrating, volumes
from tests.crash import facts
from tests.crash.deeds import instance_of
from tests.crash.facts import Facts
from tests.crash.nursery import Child
from tests.crash.operations import write
from tests.crash.stage import CLIENT_S, UUID, Stage
from vmops.errors import VMOpsError

OTHER = "7e57c4a6-0000-4000-8000-000000000002"
SPAWN = {"image": "flat", "linked_clone": True}


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """What one process does: a deed of `tests.crash.deeds`, or ``vmops audit --fix``."""

    deed: str
    uuid: str = UUID
    extra: dict[str, Any] = field(default_factory=dict)


Sides = tuple[Side, Side]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two deeds. ``prepare`` sets the stage for a round, and says what both do then.

    ``least`` and ``most`` say how many of them may end well.
    """

    name: str
    prepare: Callable[[Stage], Sides]
    least: int = 0
    most: int = 2


@dataclass(kw_only=True)
class Contest:
    """What came of a pair's rounds."""

    name: str
    rounds: int = 0
    outcomes: dict[str, int] = field(default_factory=dict)
    """How both ended, and how often."""
    problems: list[str] = field(default_factory=list)
    seconds: float = 0.0
    day: str = ""


def contest(stage: Stage, pair: Pair, seconds: float) -> Contest:
    """Rounds for so long, on a stage of which nothing else is wanted."""
    found = Contest(name=pair.name)
    end = (begin := time.monotonic()) + seconds
    with _two_clients(stage) as clients:
        while not found.rounds or (time.monotonic() < end and len(found.problems) < 5):
            stage.clean()
            sides = pair.prepare(stage)
            before = stage.facts()
            outcomes = _both(stage, clients, sides)
            found.rounds += 1
            _judge(stage, pair, outcomes, before, found)
    found.seconds = time.monotonic() - begin
    return found


def _both(stage: Stage, clients: list[Child], sides: Sides) -> list[Any]:
    """How each of them ended."""
    is_command = [side.deed == "audit --fix" for side in sides]
    for client, side in zip(clients, sides, strict=True):
        if side.deed != "audit --fix":
            client.tell({"deed": side.deed, "uuid": side.uuid, "extra": side.extra})
    swept = [_swept(stage) if each else None for each in is_command]
    told = [
        None if each else one.told(CLIENT_S) for each, one in zip(is_command, clients, strict=True)
    ]
    return [one or other for one, other in zip(swept, told, strict=True)]


def _swept(stage: Stage) -> dict[str, Any]:
    """``vmops audit --fix``, as an operation's outcome."""
    done = stage.vmops("audit", "--fix")
    error = f"exit code {done.code}" if done.code else ""
    return {"error": error, "typed": True, "text": done.err, "notes": []}


@contextmanager
def _two_clients(stage: Stage) -> Iterator[list[Child]]:
    access = stage.access(through_gate=False)
    clients = [stage.client(access) for _ in range(2)]
    try:
        yield clients
    finally:
        for client in clients:
            client.finish()
            client.end()


def _judge(stage: Stage, pair: Pair, outcomes: list[Any], before: Facts, found: Contest) -> None:
    said = [each and (each["error"] or "done") for each in outcomes]
    ended = " and ".join(str(each) for each in said)
    found.outcomes[ended] = found.outcomes.get(ended, 0) + 1
    number = f"round {found.rounds}"
    for each in outcomes:
        if each is None:
            found.problems.append(f"{number}: a process died: {stage.log()}")
        elif each["error"] and not each["typed"]:
            found.problems.append(f"{number}: an error without a type: {each}")
        elif any(note.startswith("Could not") for note in each["notes"]):
            found.problems.append(f"{number}: something could not be undone: {each}")
        elif each["error"] == "LeftBehind":
            found.problems.append(f"{number}: {each['text']}")
    if not pair.least <= said.count("done") <= pair.most:
        found.problems.append(f"{number}: {said}: {[each and each['text'] for each in outcomes]}")
    for uuid in (UUID, OTHER):
        try:
            stage.do("destroy", uuid=uuid)
        except VMOpsError as error:
            found.problems.append(f"{number}, destroy: {error} ({said})")
    kept = {key: value for key, value in before.items() if "7e57c4a" not in key}
    kept = facts.without_cache(kept, stage.lab.cache_folder)
    there = facts.without_cache(stage.facts(), stage.lab.cache_folder)
    left = [each for each in facts.differences(kept, there) if "image " not in each]
    if left:
        found.problems.append(f"{number}, after destroy: {'; '.join(left)} ({said})")


# What the stage is set to


def _spawned(*uuids: str, writes: bool = True) -> Callable[[Stage], None]:
    def prepare(stage: Stage) -> None:
        for uuid in uuids:
            stage.do("spawn", uuid=uuid, **SPAWN)
            if writes:
                write(stage, instance_of(uuid))

    return prepare


def _pair(
    name: str, prepare: Callable[[Stage], None], left: Side, right: Side, **limits: int
) -> Pair:
    def set_stage(stage: Stage) -> Sides:
        prepare(stage)
        return left, right

    return Pair(name=name, prepare=set_stage, **limits)


def _one_volume(*uuids: str, attached: bool, deeds: tuple[str, str]) -> Callable[[Stage], Sides]:
    """Both do something with the same volume, or one with it and the other with its instance."""

    def prepare(stage: Stage) -> Sides:
        _spawned(*set(uuids), writes=False)(stage)
        made = volumes.a_shadow_vm(stage.bench)
        volumes.write(stage.bench, made.path)
        if attached:
            stage.do("attach volume", uuid=uuids[0], volume=made.connection)
        extra = {"volume": made.connection}
        first, second = (
            Side(deed=deed, uuid=uuid, extra=extra if "volume" in deed else {})
            for deed, uuid in zip(deeds, uuids, strict=True)
        )
        return first, second

    return prepare


def _nothing(stage: Stage) -> None:
    del stage


def _moving(other: str) -> Callable[[Stage], Sides]:
    def prepare(stage: Stage) -> Sides:
        _spawned(UUID)(stage)
        extra = {"dest": migrating.other_host(stage.bench, stage.instance), "block": True}
        return Side(deed="live migration", extra=extra), Side(deed=other)

    return prepare


_ONE = _spawned(UUID)
_TWO = _spawned(UUID, OTHER)
_SPAWN, _SPAWN_OTHER = Side(deed="spawn", extra=SPAWN), Side(deed="spawn", uuid=OTHER, extra=SPAWN)
_AUDIT = Side(deed="audit --fix")
_DESTROY, _SNAPSHOT = Side(deed="destroy"), Side(deed="snapshot")

PAIRS: dict[str, Pair] = {
    each.name: each
    for each in (
        _pair("two spawns of one instance", _nothing, _SPAWN, _SPAWN, least=1, most=1),
        _pair("two spawns of a new image", _nothing, _SPAWN, _SPAWN_OTHER, least=2),
        _pair(
            "spawn and destroy of another",
            _spawned(OTHER),
            _SPAWN,
            Side(deed="destroy", uuid=OTHER),
            least=2,
        ),
        _pair("spawn and destroy of it", _nothing, _SPAWN, _DESTROY),
        _pair("spawn and its image removed", _nothing, _SPAWN, Side(deed="replace image"), least=1),
        _pair(
            "snapshot and destroy of another",
            _TWO,
            _SNAPSHOT,
            Side(deed="destroy", uuid=OTHER),
            least=2,
        ),
        _pair("snapshot and destroy of it", _ONE, _SNAPSHOT, _DESTROY, least=1),
        _pair(
            "two snapshots of one name", _TWO, _SNAPSHOT, Side(deed="snapshot", uuid=OTHER), least=1
        ),
        _pair("two snapshots of it", _ONE, _SNAPSHOT, Side(deed="snapshot"), least=1),
        _pair("resize and snapshot", _ONE, Side(deed="migrate"), _SNAPSHOT, least=1),
        _pair("resize and destroy", _ONE, Side(deed="migrate"), _DESTROY, least=1),
        _pair("rescue and destroy", _ONE, Side(deed="rescue"), _DESTROY, least=1),
        _pair("rescue and resize", _ONE, Side(deed="rescue"), Side(deed="migrate"), least=1),
        _pair("two destroys", _ONE, _DESTROY, _DESTROY, least=1),
        _pair("power off and reboot", _ONE, Side(deed="power off"), Side(deed="reboot"), least=1),
        _pair("suspend and power off", _ONE, Side(deed="suspend"), Side(deed="power off"), least=1),
        _pair("lists while one is spawned", _nothing, Side(deed="lists"), _SPAWN, least=2),
        _pair("lists while one is destroyed", _ONE, Side(deed="lists"), _DESTROY, least=2),
        _pair(
            "image list and image removed",
            _nothing,
            Side(deed="image lists"),
            Side(deed="replace images"),
            least=2,
        ),
        _pair(
            "volumes listed while others are deleted",
            _nothing,
            Side(deed="volume lists"),
            Side(deed="passing volumes"),
            least=2,
        ),
        _pair("audit and spawn", _nothing, _AUDIT, _SPAWN, least=2),
        _pair("audit and snapshot", _ONE, _AUDIT, _SNAPSHOT, least=2),
        _pair("audit and resize", _ONE, _AUDIT, Side(deed="migrate"), least=2),
        _pair("audit and rescue", _ONE, _AUDIT, Side(deed="rescue"), least=2),
        Pair(name="live migration and destroy", prepare=_moving("destroy"), least=1),
        Pair(name="live migration and snapshot", prepare=_moving("snapshot"), least=1),
        Pair(
            name="a volume to two instances",
            prepare=_one_volume(
                UUID, OTHER, attached=False, deeds=("attach volume", "attach volume")
            ),
            least=1,
            most=1,
        ),
        Pair(
            name="a volume twice to one",
            prepare=_one_volume(
                UUID, UUID, attached=False, deeds=("attach volume", "attach volume")
            ),
            least=1,
        ),
        Pair(
            name="a volume attached and its instance destroyed",
            prepare=_one_volume(UUID, UUID, attached=False, deeds=("attach volume", "destroy")),
            least=1,
        ),
        Pair(
            name="a volume detached and its instance destroyed",
            prepare=_one_volume(UUID, UUID, attached=True, deeds=("detach volume", "destroy")),
            least=1,
        ),
        Pair(
            name="a volume detached twice",
            prepare=_one_volume(
                UUID, UUID, attached=True, deeds=("detach volume", "detach volume")
            ),
            least=1,
        ),
    )
}
