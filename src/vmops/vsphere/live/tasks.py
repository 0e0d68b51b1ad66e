"""Waiting for tasks: the only place that does, through the session's `WatchList`."""

from __future__ import annotations

import logging
import time
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from pyVmomi import vim, vmodl

from vmops import in_flight
from vmops.context import current, stop_if_asked, tell
from vmops.errors import ConnectionLost, TimedOut, VMOpsError
from vmops.progress import TaskProgress
from vmops.vsphere.live.properties import Values
from vmops.vsphere.live.watch_list import Watched, WatchList
from vmops.vsphere.wire import faults
from vmops.vsphere.wire.client import Client
from vmops.vsphere.wire.moref import Moref, describe

log = logging.getLogger(__name__)

# How long a task that was asked to stop may take to end before the caller goes on.
CANCEL_GRACE_S = 5.0


class Tasks:
    """Waits for tasks, for any number of threads."""

    def __init__(self, client: Client, watch_list: WatchList) -> None:
        self.client = client
        self._watch_list = watch_list

    def run(self, moref: Moref, method: str, /, **arguments: object) -> Any:
        """Call a method that starts a task, wait for its end, and return the task's result.

        Raises:
            TimedOut: it did not end within the operation's deadline; it was asked to stop. One that
                cannot be stopped, and ends well within the next seconds, has ended well.
            TaskFailed: it ended with a fault that has no class of its own.
            ConnectionLost: the server is gone; the task may or may not have had its effect.
            VMOpsError: the fault it ended with, translated.
        """
        with _at_work_on(moref):
            task = self.client.call(moref, method, **arguments)
            return self.wait(task)

    def wait(self, task: Moref) -> Any:
        """Wait for a task's end and return its result; raises as `run`.

        When the waiting thread is interrupted (Ctrl-C), the task is asked to stop.
        """
        deadline_s = current().task_deadline_s
        with self._watch_list.watch(task) as watched:
            try:
                is_late = not self._watch_list.wait(watched, deadline_s, _Percent(watched))
                if is_late:
                    self._cancel(watched)
            except VMOpsError:
                raise
            except BaseException as interrupt:
                self._cancel(watched)
                _note_outcome(watched, interrupt)
                raise
            finally:
                ended = watched.over_at if watched.is_over else None
                self.client.own_writes.note_task(watched.values, ended)
        if _is_cancelled(watched):
            stop_if_asked()
        if is_late and (not watched.is_over or _is_cancelled(watched)):
            raise TimedOut(
                f"{_name(watched)} did not end within {deadline_s:g} seconds; it was asked to stop."
            )
        return _outcome(watched)

    def _cancel(self, watched: Watched) -> None:
        if watched.is_over:
            return
        try:
            self.client.call_within(watched.moref, "CancelTask", CANCEL_GRACE_S)
        except ConnectionLost:
            return
        except VMOpsError as error:
            log.debug("%s cannot be cancelled: %s", describe(watched.moref), error)
        # Whoever cleans up next would only meet a task that still works on the object.
        end = time.monotonic() + CANCEL_GRACE_S
        with watched.changed:
            while not watched.is_over and (left := end - time.monotonic()) > 0:
                watched.changed.wait(left)


def _note_outcome(watched: Watched, interrupt: BaseException) -> None:
    """Say what became of the task of who was interrupted, unless it ended without an effect."""
    if not watched.is_over:
        interrupt.add_note(f"{_name(watched)} was asked to stop, and goes on all the same.")
    elif watched.is_gone:
        interrupt.add_note(f"The server does not know {_name(watched)} any more.")
    elif watched.values.get("info.state") == "success":
        interrupt.add_note(f"{_name(watched)} had its effect all the same.")


def _at_work_on(moref: Moref) -> AbstractContextManager[None]:
    """A virtual machine takes one change at a time: nobody renews the operation's mark on it."""
    is_of_vm = isinstance(moref, (vim.VirtualMachine, vim.vm.Snapshot))
    return in_flight.at_work() if is_of_vm else nullcontext()


class _Percent:
    """Tells the observer how far a task is, each number once."""

    def __init__(self, watched: Watched) -> None:
        self._watched = watched
        self._told = -1

    def __call__(self, values: Values) -> None:
        percent = values.get("info.progress")
        if percent is not None and percent != self._told:
            self._told = percent
            tell(TaskProgress(task=_description(self._watched), percent=int(percent)))


def _description(watched: Watched) -> str:
    return str(watched.values.get("info.descriptionId") or describe(watched.moref))


def _entity(watched: Watched) -> str:
    entity = watched.values.get("info.entity")
    name = watched.values.get("info.entityName")
    reference = describe(entity) if isinstance(entity, vim.ManagedEntity) else ""
    return f"{reference} ({name})" if reference and name else str(name or reference)


def _name(watched: Watched) -> str:
    entity = _entity(watched)
    return f"Task {_description(watched)}{f' on {entity}' if entity else ''}"


def _is_cancelled(watched: Watched) -> bool:
    return isinstance(watched.values.get("info.error"), vmodl.fault.RequestCanceled)


def _outcome(watched: Watched) -> Any:
    if watched.values.get("info.state") == "success":
        return watched.values.get("info.result")
    if watched.is_gone:
        raise ConnectionLost(
            f"The server does not know {describe(watched.moref)} any more: it may or may not have"
            " had its effect."
        )
    fault: vmodl.MethodFault = watched.values["info.error"]
    raise faults.translate_task(
        fault, faults.fault_message(fault), task=_description(watched), entity=_entity(watched)
    )
