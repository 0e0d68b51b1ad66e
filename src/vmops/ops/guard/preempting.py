"""Stopping what works on an instance that is to be destroyed whatever is done to it."""

from __future__ import annotations

import logging
import time

from vmops.errors import Busy, InstanceNotFound, ManagedObjectNotFound
from vmops.ops.guard.locks import InstanceLocks
from vmops.ops.guard.states import called, called_by_uuid
from vmops.vsphere.objects.lookup import find_vm
from vmops.vsphere.objects.recent_tasks import cancel_recent_tasks, wait_for_recent_tasks
from vmops.vsphere.session import Session

log = logging.getLogger(__name__)

WAIT_S = 600.0
"""How long what cannot be stopped is waited for."""
_LOOK_S = 0.5


def make_way(session: Session, locks: InstanceLocks, instance_uuid: str, purpose: str) -> None:
    """Stop what works on an instance: operations of this process, and tasks of the server.

    An operation stops at its next change, or in the middle of bytes, and takes back what it did, as
    if that had failed. What does not stop is waited for. Operations of other processes are not
    asked.

    Raises:
        Busy: something has not ended after `WAIT_S` seconds.
    """
    end = time.monotonic() + WAIT_S
    while (other := locks.ask_to_stop(instance_uuid, purpose)) is not None:
        log.info("%s of %s is to stop", other.purpose, called_by_uuid(session, instance_uuid))
        if other.purpose != purpose:
            _cancel(session, instance_uuid)
        if not other.ended.wait(max(0.0, end - time.monotonic())):
            raise Busy(
                f"{called_by_uuid(session, instance_uuid)} is busy: {other.purpose} was asked to"
                f" stop, and has not ended for {WAIT_S:.0f} s."
            )
    _cancel(session, instance_uuid, wait_s=max(0.0, end - time.monotonic()))


def _cancel(session: Session, instance_uuid: str, *, wait_s: float = 0.0) -> None:
    """Cancel the server's tasks on the instance, and wait for their end if that is asked for."""
    try:
        vm = find_vm(session, instance_uuid)
        cancel_recent_tasks(session, vm.moref)
        if wait_s and not wait_for_recent_tasks(session, vm.moref, within_s=wait_s):
            raise Busy(f"{called(vm)} is busy: a task on it cannot be stopped, and goes on.")
    except (InstanceNotFound, ManagedObjectNotFound):
        log.debug("the instance is not there: nothing works on it")
