"""What somebody waits for, in one list on the server.

All tasks and leases that anybody waits for are in one ListView under the stream's filter, so the
server tells of each at once. Additions of threads that come together go in one call. A slow poll
beside it makes sure that a lost update never hangs anyone.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median_low
from typing import TYPE_CHECKING

from vmops.errors import ManagedObjectNotFound, VMOpsError
from vmops.vsphere.live.properties import Properties, Values, property_spec, through_view
from vmops.vsphere.live.stream import Builder, Stream
from vmops.vsphere.wire.client import Client
from vmops.vsphere.wire.moref import Moref, describe, moid

if TYPE_CHECKING:
    from pyVmomi import vmodl

log = logging.getLogger(__name__)

SAFETY_POLL_S = 5.0
# A server that tells at once what something new in the list is like has told within this time. One
# that has not (vcsim looks four times a second) is asked.
FIRST_SIGHT_S = 0.1
# So long for one that did so as a rule: a busy machine makes anybody late now and then.
TRUSTED_S = 1.0
# What the list does not take is asked for: soon at first, then less and less often.
_FIRST_LOOK_S = 0.02
_LONGEST_LOOK_S = 1.0
_SIGHTS_KEPT = 5
_SIGHTS_TO_TRUST = 3


@dataclass(frozen=True, slots=True)
class Awaited:
    """What is followed of a type, and when waiting for one of it is over."""

    wire_type: str
    paths: tuple[str, ...]
    state_path: str
    final_states: frozenset[str]

    def is_over(self, values: Values) -> bool:
        """Whether an object with these values changes no more."""
        return str(values.get(self.state_path)) in self.final_states


TASK = Awaited(
    "Task",
    # Leaves only: `info` as a whole cannot be decoded where its entity is no managed entity.
    (
        "info.state",
        "info.progress",
        "info.error",
        "info.result",
        "info.descriptionId",
        "info.entity",
        "info.entityName",
    ),
    "info.state",
    frozenset({"success", "error"}),
)
LEASE = Awaited(
    "HttpNfcLease",
    ("state", "error", "info.deviceUrl", "info.leaseTimeout", "info.entity"),
    "state",
    frozenset({"ready", "error", "done"}),
)
KINDS = {kind.wire_type: kind for kind in (TASK, LEASE)}


class Watched:
    """Something that somebody waits for. ``is_gone``: the server does not know it any more."""

    def __init__(self, moref: Moref) -> None:
        self.moref = moref
        self.kind = KINDS[type(moref)._wsdlName]
        self.values: Values = {}
        self.is_gone = False
        self.waiters = 0
        self.is_listed = False
        self.is_refused = False
        self.is_told = False
        """Whether the stream tells of it: else it is asked for again and again."""
        self.changes = 0
        self.over_at = 0
        """After how many polls of the stream it was over."""
        self.changed = threading.Condition()

    @property
    def is_over(self) -> bool:
        """Whether nothing more is to be waited for."""
        return self.is_gone or self.kind.is_over(self.values)

    def update(self, values: Values, polls: int = 0) -> None:
        """Take news over, known after so many polls; what is over stays as it is."""
        with self.changed:
            if not self.kind.is_over(self.values):
                self.values.update(values)
                self.over_at = polls
            self.changes += 1
            self.changed.notify_all()

    def vanish(self) -> None:
        """The server knows nothing of it."""
        with self.changed:
            self.is_gone = True
            self.changed.notify_all()


class _Sights:
    """How late the server is in telling what something new in the list is like.

    One late sight says little of a server; the median of the last few does.
    """

    def __init__(self) -> None:
        self._listed: dict[str, float] = {}
        self._late_s: deque[float] = deque(maxlen=_SIGHTS_KEPT)

    def list(self, name: str, when: float) -> None:
        self._listed[name] = when

    def see(self, name: str) -> None:
        listed = self._listed.pop(name, None)
        if listed is not None:
            self._late_s.append(max(time.monotonic() - listed, 0.0))

    def forget(self, names: Sequence[str]) -> None:
        for name in names:
            self._listed.pop(name, None)

    def miss(self, name: str) -> None:
        """It was looked at before the server told of it."""
        listed = self._listed.get(name)
        if listed is not None and time.monotonic() - listed > FIRST_SIGHT_S:
            self.see(name)

    @property
    def patience_s(self) -> float:
        """How long to wait for the server to tell before it is asked."""
        if not self._late_s:
            return FIRST_SIGHT_S
        if median_low(self._late_s) > FIRST_SIGHT_S:
            return 0.0
        return TRUSTED_S if len(self._late_s) >= _SIGHTS_TO_TRUST else FIRST_SIGHT_S


class WatchList:
    """Waits, for any number of threads."""

    def __init__(self, client: Client, stream: Stream, properties: Properties) -> None:
        self._client = client
        self._stream = stream
        self._properties = properties
        self._lock = threading.Lock()
        self._watched: dict[str, Watched] = {}
        self._to_add: list[Watched] = []
        self._to_remove: list[Moref] = []
        self._sights = _Sights()
        self._commit_lock = threading.Lock()
        self._poll_lock = threading.Lock()
        self._view: Moref | None = None
        self._ready = threading.Event()
        self._is_loaded = False

    @contextmanager
    def watch(self, moref: Moref) -> Iterator[Watched]:
        """Hold something in the list, to `wait` for it."""
        with self._lock:
            watched = self._watched.setdefault(moid(moref), Watched(moref))
            watched.waiters += 1
            if watched.waiters == 1:
                self._to_add.append(watched)
        try:
            yield watched
        finally:
            self._leave(watched)

    def wait(
        self,
        watched: Watched,
        deadline_s: float | None = None,
        news: Callable[[Values], None] = lambda values: None,
    ) -> bool:
        """Wait until it is over, False if it is not within ``deadline_s`` seconds.

        ``news`` is called with its values when they change.

        Raises:
            ConnectionLost: the server is gone.
            VMOpsError: what the server says when asked.
        """
        self._stream.attach(self)
        self._list(watched)
        deadline = None if deadline_s is None else time.monotonic() + deadline_s
        seen = 0
        looks = _looks(self._patience_s())
        delay = next(looks)
        while True:
            if watched.is_told and self._is_loaded and not watched.is_refused:
                delay = SAFETY_POLL_S
            with watched.changed:
                notified = True
                if not watched.is_over and watched.changes == seen:
                    left = delay if deadline is None else deadline - time.monotonic()
                    notified = watched.changed.wait(max(min(delay, left), 0.0))
                seen, is_over = watched.changes, watched.is_over
            news(watched.values)
            if is_over:
                return True
            if deadline is not None and time.monotonic() >= deadline:
                return False
            if not notified or not self._ready.is_set():
                self._poll(watched)
                delay = next(looks)

    # What the stream calls

    def subscribe(self, build: Builder) -> None:
        """Make the list view and its filter, with all that is waited for in it."""
        view = build.client.call(build.client.content.viewManager, "CreateListView", obj=[])
        build.filter(
            [through_view(view)],
            [property_spec(kind.wire_type, kind.paths) for kind in KINDS.values()],
        )
        with self._lock:
            self._to_add = list(self._watched.values())
            self._to_remove = []
            self._view = view
        self._ready.set()
        self._commit()

    def apply(
        self, filter_id: str, updates: Sequence[vmodl.query.PropertyCollector.ObjectUpdate]
    ) -> None:
        """Take what the server tells, and wake who waits for it."""
        polls = self._client.own_writes.polls
        for update in updates:
            if update.kind == "leave":
                continue
            with self._lock:
                self._sights.see(moid(update.obj))
                watched = self._watched.get(moid(update.obj))
            if watched is not None:
                watched.is_told = True
                watched.update({change.name: change.val for change in update.changeSet}, polls)

    def loaded(self) -> None:
        """From now on the server tells without having everything else to tell first."""
        self._is_loaded = True

    def lost(self) -> None:
        """Wake all, so that they look themselves."""
        with self._lock:
            self._view = None
            self._is_loaded = False
            watched = list(self._watched.values())
        self._ready.clear()
        for each in watched:
            each.is_told = False
            with each.changed:
                each.changed.notify_all()

    # Listing

    def _leave(self, watched: Watched) -> None:
        with self._lock:
            watched.waiters -= 1
            if watched.waiters == 0:
                del self._watched[moid(watched.moref)]
                if watched in self._to_add:
                    self._to_add.remove(watched)
                elif watched.is_listed:
                    # Goes with the next addition: a call only for that would be wasted.
                    self._to_remove.append(watched.moref)

    def _list(self, watched: Watched) -> None:
        if watched.is_listed:
            return
        try:
            self._stream.wait_for(self._ready, _LONGEST_LOOK_S)
            self._commit(watched)
        except VMOpsError as error:
            # It goes on all the same; the poll will find out what becomes of it.
            log.debug("The stream does not take %s: %s", describe(watched.moref), error)

    def _commit(self, wanted: Watched | None = None) -> None:
        with self._commit_lock:
            with self._lock:
                view = self._view
                if view is None or (wanted is not None and wanted.is_listed):
                    return
                adding, self._to_add = self._to_add, []
                removing, self._to_remove = self._to_remove, []
                self._sights.forget([moid(moref) for moref in removing])
                for watched in adding:
                    watched.is_listed = True
                    # The first news may come before the call returns.
                    if self._is_loaded:
                        self._sights.list(moid(watched.moref), float("inf"))
            if not adding and not removing:
                return
            refused = self._modify(view, [each.moref for each in adding], removing)
            listed = time.monotonic()
            with self._lock:
                for watched in adding:
                    name = moid(watched.moref)
                    watched.is_refused = name in refused
                    if watched.is_refused:
                        watched.is_listed = False
                        self._sights.forget([name])
                    elif self._is_loaded and not watched.values:
                        self._sights.list(name, listed)

    def _modify(self, view: Moref, adding: list[Moref], removing: list[Moref]) -> set[str]:
        """Change the list; returns the moids of those that it does not take."""
        try:
            left = self._client.call(view, "ModifyListView", add=adding, remove=removing)
        except ManagedObjectNotFound:
            # vcsim fails the call for all, and knows nothing here of what belongs to a session.
            if len(adding) == 1:
                return {moid(adding[0])}
            return set().union(*(self._modify(view, [each], []) for each in adding))
        return {moid(moref) for moref in left or ()}

    # Looking

    def _patience_s(self) -> float:
        with self._lock:
            return self._sights.patience_s

    def _poll(self, watched: Watched) -> None:
        """Read the state of all that is waited for of its kind; one thread does it for all."""
        if not self._poll_lock.acquire(blocking=False):
            with watched.changed:
                watched.changed.wait(FIRST_SIGHT_S)
            return
        try:
            kind = watched.kind
            with self._lock:
                asked = {n: each for n, each in self._watched.items() if each.kind is kind}
                for name in asked:
                    self._sights.miss(name)
            found = self._properties.read(
                [each.moref for each in asked.values()], kind.wire_type, kind.paths
            )
            polls = self._client.own_writes.polls
            for name, each in asked.items():
                if name in found:
                    # What should have been told by now was not: do not rely on it.
                    each.is_told = each.is_told and found[name].items() <= each.values.items()
                    each.update(found[name], polls)
                else:
                    each.vanish()
        finally:
            self._poll_lock.release()


def _looks(first_s: float) -> Iterator[float]:
    """Seconds until each look at something of which the stream tells nothing."""
    yield first_s
    delay = _FIRST_LOOK_S
    while True:
        yield delay
        delay = min(delay * 2, _LONGEST_LOOK_S)
