"""Which virtual machines this session changed, so that nobody is told what was before.

The live inventory hears of a change a moment after the call or task that made it has ended. A
virtual machine is noted when the session begins to change it and again when the change has ended.
While it is noted its state is to be read from the server. The note goes when

* the server is listened to by a poll that was sent after the note: what comes from now on was not
  collected before the change;
* and a read that began after the note agrees with the inventory: what is there now was not either.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Container

# Above so many notes, those of virtual machines that are gone are looked for.
_MANY = 1024


class OwnWrites:
    """The notes, by moid. ``polls`` tells how many polls for changes were sent so far."""

    def __init__(self, polls: Callable[[], int]) -> None:
        self._polls = polls
        self._lock = threading.Lock()
        self._number = 0
        self._noted: dict[str, tuple[int, int]] = {}
        self._clean_at = _MANY

    def note(self, name: str, polls: int | None = None) -> None:
        """This virtual machine is about to be changed, or has just been.

        ``polls``: how many had been sent when its change was known to have ended; None: so many as
        have been now.
        """
        with self._lock:
            self._number += 1
            self._noted[name] = (self._number, self._polls() if polls is None else polls)

    @property
    def polls(self) -> int:
        """How many polls were sent so far."""
        return self._polls()

    def has(self, name: str) -> bool:
        """Whether the inventory may tell what was before a change."""
        return name in self._noted

    def stamp(self, name: str) -> int:
        """What to `confirm` with; to be taken before the read that confirms."""
        number, _ = self._noted.get(name, (0, 0))
        return number

    def confirm(self, name: str, stamp: int) -> None:
        """A read that began after ``stamp`` was taken agrees with the inventory as it is now."""
        with self._lock:
            number, polls = self._noted.get(name, (0, 0))
            if number == stamp and self._polls() > polls:
                self._noted.pop(name, None)

    def clean(self, known: Callable[[], Container[str]]) -> None:
        """Drop, now and then, the notes of virtual machines that are not known any more."""
        if len(self._noted) < self._clean_at:
            return
        there = known()
        with self._lock:
            heard = self._polls()
            self._noted = {
                name: note
                for name, note in self._noted.items()
                if name in there or note[1] >= heard
            }
            self._clean_at = max(_MANY, 2 * len(self._noted))
