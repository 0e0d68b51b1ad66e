"""The session's one stream of changes: a property collector of its own, and a thread that listens.

Whoever wants to hear of changes attaches a `Subscriber`. The stream starts with the first of them.
When the connection or the server's session is lost, or a subscriber joins, the stream is built
anew: every subscriber makes its filters again and gets everything once more.

Calls made for the stream are those in `STREAM_METHODS`; they are per session, not per operation.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Protocol

from pyVmomi import vmodl

from vmops.errors import ConnectionLost, VMOpsError, VsphereFault
from vmops.vsphere.wire.client import Client
from vmops.vsphere.wire.moref import Moref, moid

log = logging.getLogger(__name__)

STREAM_METHODS = frozenset(
    {
        "CancelWaitForUpdates",
        "CreateContainerView",
        "CreateFilter",
        "CreateListView",
        "CreatePropertyCollector",
        "DestroyPropertyCollector",
        "DestroyPropertyFilter",
        "DestroyView",
        "ModifyListView",
        "WaitForUpdatesEx",
    }
)

# The server answers after this long even if nothing changed. Much shorter than the half hour after
# which an idle session expires.
MAX_WAIT_S = 60
_ANSWER_MARGIN_S = 15.0
_FIRST_DELAY_S = 0.05
_LONGEST_DELAY_S = 2.0
_JOIN_S = 2.0
# Closing cuts the connection of a poll that does not end by itself.
_CLOSE_S = 0.5
_AGAIN_S = 0.05
_LOOK_S = 0.25

_collector = vmodl.query.PropertyCollector


class Builder:
    """What a subscriber makes its filters with."""

    def __init__(self, client: Client, collector: Moref) -> None:
        self.client = client
        self._collector = collector
        self.filters: list[str] = []

    def filter(
        self,
        object_set: Sequence[_collector.ObjectSpec],
        prop_set: Sequence[_collector.PropertySpec],
    ) -> str:
        """Create a filter; its moid comes with each of its updates."""
        spec = _collector.FilterSpec(
            objectSet=list(object_set), propSet=list(prop_set), reportMissingObjectsInResults=False
        )
        made = self.client.call(self._collector, "CreateFilter", spec=spec, partialUpdates=False)
        self.filters.append(moid(made))
        return moid(made)


class Subscriber(Protocol):
    """Somebody who hears of changes. All but `subscribe` must be quick and must not call out."""

    def subscribe(self, build: Builder) -> None:
        """Create views and filters; everything known from before is about to come again."""

    def apply(
        self, filter_id: str, updates: Sequence[vmodl.query.PropertyCollector.ObjectUpdate]
    ) -> None:
        """Take the ObjectUpdates of one filter."""

    def loaded(self) -> None:
        """All that there is has come; from now on changes come."""

    def lost(self) -> None:
        """The stream is down; `subscribe` is called when it is up again."""


class Stream:
    """Waits for changes on the server and feeds them to subscribers."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self._lock = threading.Lock()
        self._subscribers: list[Subscriber] = []
        self._thread: threading.Thread | None = None
        self._collector: Moref | None = None
        self._closing = threading.Event()
        self._has_joined = threading.Event()
        self._left = threading.Event()
        self._failure: VMOpsError | None = None
        self._down_since = 0.0
        self._quiet_since = 0.0

    def include(self, subscriber: Subscriber) -> None:
        """Let the subscriber hear of changes from the stream's start, without starting it."""
        with self._lock:
            self._subscribers.append(subscriber)

    def attach(self, subscriber: Subscriber) -> None:
        """Start the stream if need be, and let the subscriber hear of changes if it does not yet.

        Raises:
            ConnectionLost: the session is closed.
        """
        with self._lock:
            if self._closing.is_set():
                raise ConnectionLost("The session is closed.")
            if subscriber not in self._subscribers:
                self._subscribers.append(subscriber)
                self._has_joined.set()
                self._quiet_since = time.monotonic()
            elif self._thread is not None:
                return
            running = self._thread is not None
            if not running:
                self._down_since = self._quiet_since = time.monotonic()
                self._thread = threading.Thread(target=self._run, name="vmops-stream", daemon=True)
                self._thread.start()
        if running:
            self._abandon()

    def renew(self, subscriber: Subscriber) -> None:
        """Build the stream anew if the subscriber hears of changes: it wants to hear of more."""
        with self._lock:
            if self._thread is None or subscriber not in self._subscribers:
                return
            self._has_joined.set()
            self._quiet_since = time.monotonic()
        self._abandon()

    def wait_for(self, event: threading.Event, silence_s: float) -> bool:
        """Wait until a subscriber's event is set; False if the stream has told nothing for so long.

        Raises:
            VMOpsError: the stream is down, and has been for some seconds; why it is down.
        """
        while True:
            left = self._quiet_since + silence_s - time.monotonic()
            if event.wait(max(min(_LOOK_S, left), 0.0)):
                return True
            if left <= 0:
                return False
            if self._closing.is_set():
                raise ConnectionLost("The session is closed.")
            failure = self._failure
            if (
                failure is not None
                and time.monotonic() - self._down_since > self.client.limits.window_s
            ):
                raise failure.with_traceback(None)

    def close(self) -> None:
        """End the thread; `join` it after the connections were closed. Never raises."""
        with self._lock:
            self._closing.set()
        if self._thread is not None and self._abandon(_CLOSE_S):
            self._thread.join(_JOIN_S)

    def join(self) -> None:
        """Wait until the thread has ended."""
        if self._thread is not None:
            self._thread.join(_JOIN_S)

    def _abandon(self, within_s: float = _JOIN_S) -> bool:
        """Make the thread leave its long poll; False if the server does not do that.

        Once is not enough: a cancellation that overtakes the poll on its way to the server finds
        nothing to cancel.
        """
        collector = self._collector
        end = time.monotonic() + within_s
        while collector is not None and collector is self._collector and time.monotonic() < end:
            if self.client.vigil.is_away:
                return False
            try:
                self.client.call_within(collector, "CancelWaitForUpdates", _JOIN_S)
            except ConnectionLost:
                return False
            except VMOpsError as error:
                log.debug("Could not cancel the stream's poll: %s", error)
            self._left.wait(_AGAIN_S)
        return collector is not self._collector

    def _run(self) -> None:
        delay = _FIRST_DELAY_S
        while not self._closing.is_set():
            built = time.monotonic()
            failure = None
            try:
                self._listen()
            except Exception as error:  # noqa: BLE001 - who waits must hear of any failure
                failure = _as_failure(error)
            self._leave()
            if self._closing.is_set():
                break
            with self._lock:
                subscribers = list(self._subscribers)
            for subscriber in subscribers:
                subscriber.lost()
            if self._has_joined.is_set():
                continue
            log.debug("The stream of changes ended: %s; building it again", failure)
            if self._failure is None:
                self._down_since = self._quiet_since = time.monotonic()
            self._failure = failure
            if time.monotonic() - built > _LONGEST_DELAY_S:
                delay = _FIRST_DELAY_S
            self._closing.wait(delay)
            delay = min(delay * 2, _LONGEST_DELAY_S)

    def _leave(self) -> None:
        """Let go of the collector; without a connection the server finds out by itself."""
        collector, self._collector = self._collector, None
        self._left.set()
        if collector is not None and not self._closing.is_set():
            with suppress(VMOpsError):
                self.client.call_within(collector, "DestroyPropertyCollector", _JOIN_S)

    def _listen(self) -> None:
        collector = self.client.call(
            self.client.content.propertyCollector, "CreatePropertyCollector"
        )
        with self._lock:
            self._has_joined.clear()
            self._left.clear()
            self._collector = collector
            subscribers = list(self._subscribers)
        owners: dict[str, Subscriber] = {}
        for subscriber in subscribers:
            builder = Builder(self.client, collector)
            subscriber.subscribe(builder)
            owners.update(dict.fromkeys(builder.filters, subscriber))
        version, is_loaded = "", False
        options = _collector.WaitOptions(maxWaitSeconds=MAX_WAIT_S)
        while not self._closing.is_set() and not self._has_joined.is_set():
            update = self.client.call_within(
                collector,
                "WaitForUpdatesEx",
                # What there is already is told at once.
                MAX_WAIT_S + _ANSWER_MARGIN_S if is_loaded else None,
                version=version,
                options=options,
            )
            self._failure = None
            self._quiet_since = time.monotonic()
            if update is not None:
                version = update.version
                for changed in update.filterSet:
                    owner = owners.get(moid(changed.filter))
                    if owner is not None:
                        owner.apply(moid(changed.filter), changed.objectSet)
            if not is_loaded and not (update is not None and update.truncated):
                is_loaded = True
                for subscriber in subscribers:
                    subscriber.loaded()


def _as_failure(error: Exception) -> VMOpsError:
    if isinstance(error, VMOpsError):
        return error
    log.error("The stream of changes failed", exc_info=error)
    return VsphereFault("StreamFailed", f"{type(error).__name__}: {error}")
