"""Judging marks: by the short cut where that is certain, else by watching them.

This process remembers when it first saw a mark as it stands, by its own monotonic clock. What was
renewed meanwhile reads otherwise, and is watched anew.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from enum import StrEnum

from vmops.in_flight import owners
from vmops.in_flight.marks import Mark
from vmops.in_flight.owners import Life
from vmops.in_flight.timing import TIMING

_MANY = 4096


class Verdict(StrEnum):
    """What is known of a mark's owner."""

    OWN = "own"
    """It is this process."""
    ALIVE = "alive"
    """A process of this machine that lives."""
    DEAD = "dead"
    """A process of this machine that is not there any more, or nobody."""
    EXPIRED = "expired"
    """Whoever it is has not renewed the mark for as long as a lease lasts."""
    RENEWED = "renewed"
    """Whoever it is has renewed the mark while it was watched."""
    WORKING = "working"
    """A task runs on its virtual machine."""
    DECLARED = "declared dead"
    """Somebody who knows says that it is dead."""
    UNKNOWN = "unknown"
    """It has to be watched for longer."""


_WHY: dict[Verdict, str] = {
    Verdict.OWN: "it is this process's own",
    Verdict.ALIVE: "its process lives",
    Verdict.DEAD: "its process is dead",
    Verdict.EXPIRED: "it was not renewed for {still_s:.0f} s",
    Verdict.RENEWED: "it was renewed just now",
    Verdict.WORKING: "a task runs on it",
    Verdict.DECLARED: "its owner was declared dead",
    Verdict.UNKNOWN: "seen for {still_s:.0f} s of the {lease_s:.0f} s that a lease lasts",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgment:
    """What is known of a mark. ``still_s``: how long this process saw it stand still."""

    mark: Mark
    verdict: Verdict
    still_s: float

    @property
    def may_be_taken(self) -> bool:
        """Whether nobody is at it any more."""
        return self.verdict in {Verdict.DEAD, Verdict.EXPIRED, Verdict.DECLARED}

    @property
    def is_of_another(self) -> bool:
        """Whether another process is at it, or may be."""
        return self.verdict in {Verdict.ALIVE, Verdict.RENEWED, Verdict.WORKING, Verdict.UNKNOWN}

    @property
    def why(self) -> str:
        """Why it is, or is not, taken for given up."""
        if self.verdict is Verdict.DEAD and self.mark.owner == owners.NOBODY:
            return "it was given up"
        return _WHY[self.verdict].format(still_s=self.still_s, lease_s=TIMING.lease_s)


class Watch:
    """When each mark was first seen as it stands."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._first: dict[str, float] = {}

    def still_s(self, text: str) -> float:
        """For how many seconds this text has been seen, of which each is another one's."""
        now = time.monotonic()
        with self._lock:
            if len(self._first) > _MANY:
                old = now - 2 * TIMING.lease_s
                self._first = {t: first for t, first in self._first.items() if first > old}
            return now - self._first.setdefault(text, now)

    def restart(self, text: str) -> None:
        """Watch it anew from now on."""
        with self._lock:
            self._first[text] = time.monotonic()


WATCH = Watch()


def judge(mark: Mark) -> Judgment:
    """What is known of a mark, as it stands now."""
    still_s = WATCH.still_s(mark.text)
    return Judgment(mark=mark, verdict=_verdict(mark, still_s), still_s=still_s)


def see_alive(mark: Mark) -> None:
    """Its owner has given another sign of life than to renew it: it is watched anew."""
    WATCH.restart(mark.text)


def _verdict(mark: Mark, still_s: float) -> Verdict:
    life = owners.life_of(mark.owner)
    if life is Life.DEAD:
        return Verdict.DEAD
    if still_s >= TIMING.lease_s:
        return Verdict.EXPIRED  # also of a process that lives: its operation has ended, or hangs
    if mark.owner == owners.owner():
        return Verdict.OWN
    return Verdict.ALIVE if life is Life.ALIVE else Verdict.UNKNOWN
