"""One operation at a time on an instance."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime

from vmops.context import Preemption, preemptible
from vmops.errors import Busy


@dataclass(frozen=True, slots=True)
class _Hold:
    """An operation that has an instance for itself, and whether it has ended."""

    purpose: str
    since: datetime = field(default_factory=lambda: datetime.now().astimezone())
    ended: threading.Event = field(default_factory=threading.Event)
    preemption: Preemption = field(default_factory=Preemption)


@dataclass(frozen=True, slots=True)
class Held:
    """What somebody else who holds an instance is at, and the end of it."""

    purpose: str
    ended: threading.Event


# By endpoint and instance: engines of this process see each other, whatever their sessions.
_guard = threading.Lock()
_held: dict[tuple[str, str], _Hold] = {}
# Those that the calling context holds.
_mine: ContextVar[frozenset[tuple[str, str]]] = ContextVar("mine", default=frozenset())


class InstanceLocks:
    """Who works on which instance of an endpoint in this process."""

    def __init__(self, endpoint: str, called: Callable[[str], str] = "Instance {}".format) -> None:
        """``endpoint`` tells one vCenter or ESXi from another; ``called`` is for messages."""
        self._endpoint, self._called = endpoint, called

    @contextlib.contextmanager
    def exclusive(
        self, instance_uuid: str, purpose: str, *, after_same: bool = False, is_part: bool = False
    ) -> Iterator[None]:
        """Hold the instance for one operation, named by ``purpose`` ("spawn").

        With ``after_same`` an operation of the same purpose is waited for: of two callers who want
        an instance off, both are to find it off. What ``is_part`` of an operation may be done
        inside the one that holds the instance.

        Raises:
            Busy: another operation holds it; the message says which one and since when.
        """
        key, hold = (self._endpoint, instance_uuid.lower()), _Hold(purpose)
        if is_part and key in _mine.get():
            yield
            return
        while (other := self._take(key, hold)) is not None:
            if not after_same or other.purpose != purpose:
                raise Busy(
                    f"{self._called(instance_uuid)} is busy: {other.purpose} has been running"
                    f" since {other.since:%H:%M:%S}."
                )
            other.ended.wait()
        token = _mine.set(_mine.get() | {key})
        try:
            with preemptible(hold.preemption):
                yield
        finally:
            _mine.reset(token)
            with _guard:
                del _held[key]
            hold.ended.set()

    def ask_to_stop(self, instance_uuid: str, purpose: str) -> Held | None:
        """Ask whoever holds the instance to stop, and give that; None: nobody holds it.

        One of the same ``purpose`` is not asked: it wants the same.
        """
        with _guard:
            other = _held.get((self._endpoint, instance_uuid.lower()))
        if other is not None and other.purpose != purpose:
            other.preemption.ask()
        return None if other is None else Held(other.purpose, other.ended)

    def _take(self, key: tuple[str, str], hold: _Hold) -> _Hold | None:
        """Take the instance; whoever has it already, else None."""
        with _guard:
            if (other := _held.get(key)) is not None:
                return other
            _held[key] = hold
            return None
