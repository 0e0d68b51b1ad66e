"""Waiting for tasks that somebody else began, or whose answer got lost."""

from __future__ import annotations

import time

from vmops.vsphere.moref import Moref
from vmops.vsphere.session import Session

SETTLE_S = 30.0
_LOOK_S = 0.1
_UNDER_WAY = {"queued", "running"}


def settle(session: Session, moref: Moref, *, within_s: float = SETTLE_S) -> bool:
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
