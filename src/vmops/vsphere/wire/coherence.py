"""What a call changes: nothing, or what nobody is to be told any more as it was before.

Five ask this, and all ask here. The client repeats calls that change nothing (`wire.retry`), and
notes what the others change. Who asks the live inventory is not told what was before (`OwnWrites`).
A plan sends what changes nothing, and shows what all else would change in every later answer; it
has a row for each method (`planning.effects`). Before a change an operation makes sure of what
it has for itself (`in_flight`).

The live inventory hears of a change a moment after the call or task that made it has ended. A
virtual machine is noted when the session begins to change it and again when the change has ended.
While it is noted its state is to be read from the server. The note goes when

* the server is listened to by a poll that was sent after the note: what comes from now on was not
  collected before the change;
* and a read that began after the note agrees with the inventory: what is there now was not either.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Container, Iterator, Mapping

from pyVmomi import vim, vmodl

from vmops.vsphere.wire.moref import Moref, moid

_READ_PREFIXES = ("Find", "Query", "Retrieve", "PbmCheck", "PbmQuery", "PbmRetrieve")
_READS = frozenset(
    {
        "CurrentTime",
        "SessionIsActive",
        "HttpNfcLeaseGetManifest",
        "ListVStorageObject",
        "HostListVStorageObject",
        "HostRetrieveVStorageObject",
    }
)
# What a session has for itself: its stream, its login, its tasks, its transfers.
_OF_THE_SESSION = (
    vim.SessionManager,
    vim.Task,
    vim.HttpNfcLease,
    vim.view.ViewManager,
    vim.view.View,
    vmodl.query.PropertyCollector,
    vmodl.query.PropertyCollector.Filter,
)
# Above so many notes, those of virtual machines that are gone are looked for.
_MANY = 1024


def is_read(method: str) -> bool:
    """Whether the method changes nothing and may be asked twice.

    Continue... is none: the token it takes is used up by an answer that got lost.
    """
    return method in _READS or method.startswith(_READ_PREFIXES)


def needs_lease(moref: Moref, method: str) -> bool:
    """Whether the method changes what an operation may have for itself; see `vmops.in_flight`."""
    return not is_read(method) and not isinstance(moref, _OF_THE_SESSION)


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

    @contextlib.contextmanager
    def changing(self, moref: Moref, method: str) -> Iterator[None]:
        """What a call of this method on this object changes is noted before it and after it."""
        if not isinstance(moref, vim.VirtualMachine) or is_read(method):
            yield
            return
        self.note(moid(moref))
        try:
            yield
        finally:
            self.note(moid(moref))

    def note_task(self, told: Mapping[str, object], polls: int | None) -> None:
        """What a task worked on, or made, is not as it was told before; ``polls`` as in `note`."""
        for path in ("info.entity", "info.result"):
            if isinstance(found := told.get(path), vim.VirtualMachine):
                self.note(moid(found), polls)

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
