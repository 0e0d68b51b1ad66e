"""Instances whose reboot takes too long."""

from __future__ import annotations

import logging

from vmops.errors import VMOpsError
from vmops.model.power import PowerState
from vmops.ops.guard.locks import InstanceLocks
from vmops.ops.guard.states import called, called_by_uuid
from vmops.ops.instances import power
from vmops.vsphere.objects.lookup import with_vm
from vmops.vsphere.objects.virtual_machine import VirtualMachine
from vmops.vsphere.session import Session

log = logging.getLogger(__name__)

_STATE = "runtime.powerState"
_TOOLS = "guest.toolsRunningStatus"


def reset_if_gone(session: Session, instance_uuid: str, locks: InstanceLocks) -> bool:
    """Reset an instance whose guest has not come back; whether that was done.

    A guest has come back when it runs and its Tools do; one without Tools cannot say so, and is
    reset. Nothing is raised: of many instances, one failure must not stop the others. It is logged.
    """
    name = called_by_uuid(session, instance_uuid)
    try:
        with locks.exclusive(instance_uuid, "reboot"):
            return with_vm(session, instance_uuid, _reset_unless_back)
    except VMOpsError as failure:
        log.warning("%s could not be reset: %s", name, failure)
        return False


def _reset_unless_back(vm: VirtualMachine) -> bool:
    if came_back(vm):
        log.info("%s has come back: left alone", called(vm))
        return False
    log.info("%s takes too long to reboot: it is reset", called(vm))
    power.reboot(vm, hard=True)
    return True


def came_back(vm: VirtualMachine) -> bool:
    """Whether the guest runs and answers through its Tools."""
    found = vm.read(_STATE, _TOOLS)
    running = found.get(_STATE) == PowerState.POWERED_ON
    return running and found.get(_TOOLS) == "guestToolsRunning"
