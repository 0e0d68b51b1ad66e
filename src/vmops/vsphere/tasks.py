"""Waiting for tasks: the only place that does.

All tasks that anybody waits for are in one ListView under the stream's filter, so the server tells
of each at once. Additions of threads that come together go in one call. A slow poll beside it makes
sure that a lost update never hangs anyone.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from typing import Any

from pyVmomi import vim

from vmops.errors import ConnectionLost, TimedOut, VMOpsError
from vmops.progress import Observer, TaskProgress, log_event
from vmops.vsphere import faults
from vmops.vsphere.client import Client
from vmops.vsphere.moref import Moref, describe, moid
from vmops.vsphere.properties import Properties, property_spec, through_view
from vmops.vsphere.stream import Builder, Stream

log = logging.getLogger(__name__)

# Leaves only: `info` as a whole cannot be decoded where its entity is no managed entity.
TASK_PATHS = (
    "info.state",
    "info.progress",
    "info.error",
    "info.result",
    "info.descriptionId",
    "info.entity",
    "info.entityName",
)
SAFETY_POLL_S = 5.0
# A server that tells at once what a new task's state is has told within this time. One that has
# not (vcsim looks four times a second) is asked.
FIRST_SIGHT_S = 0.05
# So many tasks of such a server are asked at once, then it gets another chance.
ASK_AT_ONCE = 20
# How long a task that was asked to stop may take to end before the caller goes on.
CANCEL_GRACE_S = 5.0

_ENDED = frozenset({"success", "error"})


class _Watched:
    """A task that somebody waits for."""

    def __init__(self, task: Moref) -> None:
        self.task = task
        self.values: dict[str, Any] = {}
        self.waiters = 0
        self.is_listed = False
        self.is_gone = False
        self.changed = threading.Condition()

    @property
    def has_ended(self) -> bool:
        return self.is_gone or self.values.get("info.state") in _ENDED

    def update(self, values: dict[str, Any]) -> None:
        with self.changed:
            if self.values.get("info.state") not in _ENDED:
                self.values.update(values)
            self.changed.notify_all()

    def vanish(self) -> None:
        with self.changed:
            self.is_gone = True
            self.changed.notify_all()


class Tasks:
    """Waits for tasks, for any number of threads."""

    def __init__(self, client: Client, stream: Stream, properties: Properties) -> None:
        self.client = client
        self._stream = stream
        self._properties = properties
        self._lock = threading.Lock()
        self._watched: dict[str, _Watched] = {}
        self._to_add: list[_Watched] = []
        self._to_remove: list[Moref] = []
        self._commit_lock = threading.Lock()
        self._poll_lock = threading.Lock()
        self._view: Moref | None = None
        self._ready = threading.Event()
        self._ask_at_once = 0

    def run(
        self,
        moref: Moref,
        method: str,
        /,
        *,
        observe: Observer | None = None,
        deadline_s: float | None = None,
        **arguments: Any,
    ) -> Any:
        """Call a method that starts a task, wait for its end, and return the task's result.

        Raises:
            TimedOut: it did not end within ``deadline_s`` seconds; it was asked to stop. One that
                cannot be stopped, and ends well within the next seconds, has ended well.
            TaskFailed: it ended with a fault that has no class of its own.
            ConnectionLost: the server is gone; the task may or may not have had its effect.
            VMOpsError: the fault it ended with, translated.
        """
        task = self.client.call(moref, method, **arguments)
        return self.wait(task, observe=observe, deadline_s=deadline_s)

    def wait(
        self, task: Moref, *, observe: Observer | None = None, deadline_s: float | None = None
    ) -> Any:
        """Wait for a task's end and return its result; raises as `run`.

        When the waiting thread is interrupted (Ctrl-C), the task is asked to stop.
        """
        watched = self._watch(task)
        try:
            self._stream.attach(self)
            self._list(watched)
            if not self._wait(watched, observe or log_event, deadline_s):
                self._cancel(watched)
        except VMOpsError:
            raise
        except BaseException:
            self._cancel(watched)
            raise
        finally:
            self._unwatch(watched)
        if not watched.has_ended:
            raise TimedOut(
                f"{_name(watched)} did not end within {deadline_s:g} seconds; it was asked to stop."
            )
        return _outcome(watched)

    # What the stream calls

    def subscribe(self, build: Builder) -> None:
        """Make the list view and its filter, with all tasks that are waited for in it."""
        view = build.client.call(build.client.content.viewManager, "CreateListView", obj=[])
        build.filter([through_view(view)], [property_spec("Task", TASK_PATHS)])
        with self._lock:
            self._to_add = list(self._watched.values())
            self._to_remove = []
            self._view = view
        self._ready.set()
        self._commit()

    def apply(self, filter_id: str, updates: Sequence[Any]) -> None:
        """Take what the server tells of tasks, and wake who waits for them."""
        for update in updates:
            with self._lock:
                watched = self._watched.get(moid(update.obj))
            if watched is None or update.kind == "leave":
                continue
            watched.update({change.name: change.val for change in update.changeSet})

    def loaded(self) -> None:
        """Nothing is kept until everything has come."""

    def lost(self) -> None:
        """Wake all, so that they look themselves."""
        with self._lock:
            self._view = None
            watched = list(self._watched.values())
        self._ready.clear()
        for each in watched:
            with each.changed:
                each.changed.notify_all()

    # Listing

    def _watch(self, task: Moref) -> _Watched:
        with self._lock:
            watched = self._watched.setdefault(moid(task), _Watched(task))
            watched.waiters += 1
            if watched.waiters == 1:
                self._to_add.append(watched)
            return watched

    def _unwatch(self, watched: _Watched) -> None:
        with self._lock:
            watched.waiters -= 1
            if watched.waiters == 0:
                del self._watched[moid(watched.task)]
                if watched in self._to_add:
                    self._to_add.remove(watched)
                elif watched.is_listed:
                    # Goes with the next addition: a call only for that would be wasted.
                    self._to_remove.append(watched.task)

    def _list(self, watched: _Watched) -> None:
        if watched.is_listed:
            return
        try:
            self._stream.wait_for(self._ready)
            self._commit(watched)
        except VMOpsError as error:
            # The task runs all the same; the poll will find out what becomes of it.
            log.debug("The stream does not take %s: %s", describe(watched.task), error)

    def _commit(self, wanted: _Watched | None = None) -> None:
        with self._commit_lock:
            with self._lock:
                view = self._view
                if view is None or (wanted is not None and wanted.is_listed):
                    return
                adding, self._to_add = self._to_add, []
                removing, self._to_remove = self._to_remove, []
                for watched in adding:
                    watched.is_listed = True
            if not adding and not removing:
                return
            self.client.call(view, "ModifyListView", add=[w.task for w in adding], remove=removing)

    # Waiting

    def _wait(self, watched: _Watched, observe: Observer, deadline_s: float | None) -> bool:
        deadline = None if deadline_s is None else time.monotonic() + deadline_s
        told = -1
        first_sight_s = FIRST_SIGHT_S
        if self._ask_at_once > 0:
            self._ask_at_once -= 1
            first_sight_s = 0.0
        while True:
            poll_after = SAFETY_POLL_S if watched.values else first_sight_s
            with watched.changed:
                if not watched.has_ended and watched.values.get("info.progress") in {None, told}:
                    left = poll_after if deadline is None else deadline - time.monotonic()
                    notified = watched.changed.wait(max(min(poll_after, left), 0.0))
                else:
                    notified = True
                ended = watched.has_ended
                progress = watched.values.get("info.progress")
            if progress is not None and progress != told:
                told = progress
                observe(TaskProgress(task=_description(watched), percent=int(progress)))
            if ended:
                return True
            if deadline is not None and time.monotonic() >= deadline:
                return False
            if not notified or not self._ready.is_set():
                self._poll(watched)

    def _poll(self, watched: _Watched) -> None:
        """Read the state of all tasks that are waited for; one thread does it for all."""
        if not self._poll_lock.acquire(blocking=False):
            with watched.changed:
                watched.changed.wait(FIRST_SIGHT_S)
            return
        try:
            was_unseen = not watched.values
            with self._lock:
                asked = dict(self._watched)
            found = self._properties.read(
                [each.task for each in asked.values()], "Task", TASK_PATHS
            )
            if was_unseen and not watched.values and self._ask_at_once == 0:
                self._ask_at_once = ASK_AT_ONCE
            for name, each in asked.items():
                if name in found:
                    each.update(found[name])
                else:
                    each.vanish()
        finally:
            self._poll_lock.release()

    def _cancel(self, watched: _Watched) -> None:
        if watched.has_ended:
            return
        try:
            self.client.call_within(watched.task, "CancelTask", CANCEL_GRACE_S)
        except ConnectionLost:
            return
        except VMOpsError as error:
            log.debug("%s cannot be cancelled: %s", describe(watched.task), error)
        # Whoever cleans up next would only meet a task that still works on the object.
        end = time.monotonic() + CANCEL_GRACE_S
        with watched.changed:
            while not watched.has_ended and (left := end - time.monotonic()) > 0:
                watched.changed.wait(left)


def _description(watched: _Watched) -> str:
    return str(watched.values.get("info.descriptionId") or describe(watched.task))


def _entity(watched: _Watched) -> str:
    entity = watched.values.get("info.entity")
    name = watched.values.get("info.entityName")
    reference = describe(entity) if isinstance(entity, vim.ManagedEntity) else ""
    return f"{reference} ({name})" if reference and name else str(name or reference)


def _name(watched: _Watched) -> str:
    entity = _entity(watched)
    return f"Task {_description(watched)}{f' on {entity}' if entity else ''}"


def _outcome(watched: _Watched) -> Any:
    if watched.values.get("info.state") == "success":
        return watched.values.get("info.result")
    if watched.is_gone:
        raise ConnectionLost(
            f"The server knows nothing of {describe(watched.task)} any more; its effect may or may"
            " not be there."
        )
    fault = watched.values.get("info.error")
    raise faults.translate_task(
        fault,
        faults.fault_message(fault),
        task=_description(watched),
        entity=_entity(watched),
    )
