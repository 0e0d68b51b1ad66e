"""Confirming a resize: the old disks are not needed any more."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from vmops.errors import Busy, InstanceNotFound
from vmops.model import extra_config
from vmops.model.datastore_path import DatastorePath
from vmops.ops.guard.preconditions import refuse_resized
from vmops.ops.guard.states import called
from vmops.ops.notes.resize import (
    Phase,
    ResizeNote,
    find_note,
    known_note,
    note_replaced,
    replaced_disks,
)
from vmops.specs.virtual_machine import settings
from vmops.steps import Operation, Reversible, step
from vmops.vsphere.objects.lookup import with_vm
from vmops.vsphere.objects.virtual_machine import VirtualMachine
from vmops.vsphere.objects.vm_summary import read_summary
from vmops.vsphere.session import Session

log = logging.getLogger(__name__)


def confirm_migration(session: Session, instance_uuid: str) -> bool:
    """Keep an instance's new size, and delete the disks of the old one; say if there was anything.

    1. Forget the resize
    2. Delete the old disks

    An instance that is not being resized, or that is not there, is left alone: it was confirmed
    before. What a confirm was interrupted before deleting is deleted then.

    Raises:
        InvalidState: the resize was interrupted before it had changed the size, or is being
            reverted; nothing was changed.
    """

    def do(vm: VirtualMachine) -> bool:
        with Operation("confirm resize") as run:
            note, version = known_note(vm)
            if note is None or note.phase is not Phase.RESIZED:
                return _confirm_as_found(session, vm, run)
            try:
                # Known without a call; the change version makes sure that it still holds.
                run(forget_resize(vm, note, version))
            except Busy:
                log.debug("%s has changed meanwhile: looking again", called(vm))
                return _confirm_as_found(session, vm, run)
            run(delete_old_disks(session, note.kept_disks))
            return True

    try:
        return with_vm(session, instance_uuid, do)
    except InstanceNotFound:
        log.info("instance %s does not exist: nothing to confirm", instance_uuid)
        return False


def _confirm_as_found(session: Session, vm: VirtualMachine, run: Operation) -> bool:
    summary = read_summary(vm)
    found = summary.hardware.files.extra_config
    note = find_note(found)
    if note is None:
        attached = {disk.file_name for disk in summary.hardware.files.disks}
        replaced = [disk for disk in replaced_disks(found) if disk not in attached]
        return bool(replaced) and run(delete_old_disks(session, replaced))
    if note.phase is not Phase.RESIZED:
        refuse_resized(called(vm), found)
    run(forget_resize(vm, note, summary.change_version))
    run(delete_old_disks(session, note.kept_disks))
    return True


@step("Forget the resize")
def forget_resize(vm: VirtualMachine, note: ResizeNote, change_version: str) -> Reversible[None]:
    """First this: from here on the old disks are nobody's, and there is no way back.

    Raises:
        Busy: the VM was changed since ``change_version``.
    """
    changed = {extra_config.RESIZE: "", **note_replaced(note.kept_disks)}
    vm.reconfigure(settings(changed, change_version))
    yield


@step("Delete the old disks")
def delete_old_disks(session: Session, disks: Sequence[str]) -> Reversible[bool]:
    """Say whether any was there; a linked clone's parent is the cache's, and stays."""
    found = False
    for path in map(DatastorePath.parse, disks):
        if session.datastore_files.exists(path):
            found = True
            session.virtual_disk_manager.delete(path, missing_ok=True)
    yield found
