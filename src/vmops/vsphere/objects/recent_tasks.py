"""Tasks that somebody else began, or whose answer got lost: what they are, and waiting for them."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from datetime import datetime

from vmops.errors import VMOpsError
from vmops.vsphere.session import Session
from vmops.vsphere.wire.moref import Moref

log = logging.getLogger(__name__)

_WAIT_S = 30.0
_LOOK_S = 0.1
_UNDER_WAY = {"queued", "running"}
_TOLD = ("info.state", "info.descriptionId", "info.startTime", "info.reason")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningTask:
    """A task that has not ended. ``since`` is None while it waits, in this machine's time.

    ``user`` is who began it, "" where the server does not say or did it by itself.
    """

    description: str
    since: datetime | None
    user: str


def running_tasks(session: Session, moref: Moref) -> list[RunningTask]:
    """The tasks that run or wait now on a managed entity, in two reads.

    Raises:
        ManagedObjectNotFound: the entity is gone.
    """
    tasks = session.properties.read_one(moref, "recentTask").get("recentTask") or ()
    found = session.properties.read(list(tasks), "Task", _TOLD) if tasks else {}
    return [
        RunningTask(
            description=str(each.get("info.descriptionId") or "a task"),
            since=each["info.startTime"].astimezone() if each.get("info.startTime") else None,
            user=str(getattr(each.get("info.reason"), "userName", None) or ""),
        )
        for each in found.values()
        if each.get("info.state") in _UNDER_WAY
    ]


def cancel_recent_tasks(session: Session, moref: Moref) -> None:
    """Ask the tasks that run or wait now on a managed entity to stop; not all can, or do.

    Raises:
        ManagedObjectNotFound: the entity is gone.
    """
    tasks = session.properties.read_one(moref, "recentTask").get("recentTask") or ()
    found = session.properties.read(list(tasks), "Task", ("info.state",)) if tasks else {}
    for task in tasks:
        if found.get(task._GetMoId(), {}).get("info.state") in _UNDER_WAY:
            try:
                session.call(task, "CancelTask")
            except VMOpsError as refused:
                log.debug("%s is not cancelled: %s", task._GetMoId(), refused)


def wait_for_recent_tasks(session: Session, moref: Moref, *, within_s: float = _WAIT_S) -> bool:
    """Wait until the tasks that run now on a managed entity have ended, whatever they end with.

    After a lost answer nobody here has the task, and its effect may come later than a look. The
    tasks may be those of others, so they are watched and never cancelled; hence no `Tasks.wait`.

    Returns False if one still runs after ``within_s`` seconds.

    Raises:
        ManagedObjectNotFound: the entity is gone.
    """
    end = time.monotonic() + within_s
    tasks = session.properties.read_one(moref, "recentTask").get("recentTask") or ()
    while tasks:
        found = session.properties.read(list(tasks), "Task", ("info.state",))
        running = {name for name, each in found.items() if each.get("info.state") in _UNDER_WAY}
        tasks = [task for task in tasks if task._GetMoId() in running]
        if tasks and time.monotonic() > end:
            return False
        if tasks:
            time.sleep(_LOOK_S)
    return True
