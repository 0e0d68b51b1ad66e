"""Layers of snapshots that are out of a VM's tree, and that it writes to all the same.

vSphere takes a snapshot out of the tree first, and merges its disks then. Where that cannot be
done, as while a backup holds a disk, the VM goes on writing to a layer; `consolidationNeeded` says
so, and nothing else does.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator

from vmops.errors import (
    Busy,
    ConnectionLost,
    LeaseLost,
    LeftBehind,
    ManagedObjectNotFound,
    VMOpsError,
)
from vmops.model import extra_config
from vmops.model.identity import instance_of
from vmops.ops.engine.own_disks import is_below, vm_folder
from vmops.ops.guard.states import called
from vmops.vsphere.objects import vm_files
from vmops.vsphere.objects.recent_tasks import wait_for_recent_tasks
from vmops.vsphere.objects.snapshots import Snapshot, consolidate_disks, has_snapshot
from vmops.vsphere.objects.virtual_machine import VirtualMachine
from vmops.vsphere.session import Session

log = logging.getLogger(__name__)

_ATTEMPTS = 4
# Before disks that somebody holds are tried to be merged again.
_WAITS_S = (1.0, 4.0)


def remove_snapshot(session: Session, vm: VirtualMachine, made: Snapshot) -> None:
    """Remove a snapshot and see that nothing is left of it; that it is gone already is fine.

    It is asked again if the answer got lost or another task is in the way. A snapshot that is out
    of the tree with its layers still there is merged, if that can be done.

    Raises:
        LeftBehind: the snapshot is gone, but the VM writes to its layers; they are named.
        Conflict: other tasks were in the way, one after another.
        VMOpsError: the snapshot is still there, for a reason that the server names.
    """
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            made.remove()
        except ManagedObjectNotFound:
            merge(vm)  # an earlier call had its effect; whether all of it, the VM says
        except (ConnectionLost, Busy) as failure:
            if attempt == _ATTEMPTS:
                raise
            log.warning("asking again to remove the snapshot of %s: %s", called(vm), failure)
            wait_for_recent_tasks(session, vm.moref)
            continue
        except LeaseLost:
            raise
        except VMOpsError as failure:
            if has_snapshot(vm, made):
                raise
            merge(vm, failure)
        return


def merge(vm: VirtualMachine, reason: VMOpsError | None = None) -> None:
    """Merge what the VM says that it needs to have merged; without a need it is one read.

    Raises:
        LeftBehind: it cannot be done now; ``reason``, or the server's last one, is the cause.
    """
    for wait_s in (0.0, *_WAITS_S):
        if not vm.needs_consolidation():
            return
        time.sleep(wait_s)
        try:
            consolidate_disks(vm)
        except (LeaseLost, ManagedObjectNotFound):
            raise
        except VMOpsError as failure:
            log.info("%s: its disks cannot be merged now: %s", called(vm), failure)
            reason = failure
    with contextlib.suppress(VMOpsError):
        if not vm.needs_consolidation():
            return
    raise LeftBehind(
        f"{called(vm)} still writes to layers of a snapshot that is removed: they cannot be merged"
        f" now{f' ({reason})' if reason else ''}. Nothing is lost; merge them when no other, as"
        " a backup, holds its disks.",
        _layers(vm),
    ) from reason


def _layers(vm: VirtualMachine) -> list[str]:
    """The layers that the VM writes to."""
    with contextlib.suppress(VMOpsError):
        files = vm.files()
        folder = vm_folder(files)
        return [
            disk.file_name
            for disk in files.disks
            if disk.parents and (is_below(disk.file_name, folder) or disk.is_in_snapshots)
        ]
    return [f"layers of {called(vm)}"]


def find_unmerged(session: Session) -> Iterator[tuple[str, VirtualMachine]]:
    """The names of the instances whose disks need consolidation, and their VMs: one read."""
    need, mark = vm_files.CONSOLIDATION, f'config.extraConfig["{extra_config.INSTANCE_UUID}"]'
    paths = ("name", "config.instanceUuid", need, mark)
    for moid, found in session.properties.read_container("VirtualMachine", paths).items():
        told = {extra_config.INSTANCE_UUID: getattr(found.get(mark), "value", "")}
        if found.get(need) and instance_of(found.get("config.instanceUuid"), told):
            yield str(found.get("name", "")), VirtualMachine.of(session, moid)
