"""Taking a resize back: an instance has its old size, root disk and place again."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from vmops import in_flight
from vmops.errors import InvalidState, NotResized, OriginalNotFound
from vmops.model import extra_config
from vmops.model.datastore_path import DatastorePath
from vmops.model.power import PowerState
from vmops.ops.engine.made_files import MadeFiles
from vmops.ops.engine.own_disks import root_disk
from vmops.ops.guard.preconditions import pass_over_marks
from vmops.ops.guard.states import called
from vmops.ops.instances import power
from vmops.ops.notes.resize import Phase, ResizeNote, counterpart, find_note
from vmops.ops.resize.destination import way_back
from vmops.specs import resize as specs
from vmops.specs.annotation import with_flavor
from vmops.specs.virtual_machine import settings
from vmops.steps import Operation, Reversible, step
from vmops.vsphere.objects.lookup import unless_gone
from vmops.vsphere.objects.recent_tasks import wait_for_recent_tasks
from vmops.vsphere.objects.virtual_machine import VirtualMachine
from vmops.vsphere.objects.vm_files import VmDisk
from vmops.vsphere.objects.vm_summary import VmSummary, read_summary
from vmops.vsphere.session import Session

if TYPE_CHECKING:
    from vmops.specs.wire_types import RelocateSpec


def finish_revert_migration(vm: VirtualMachine, *, power_on: bool | None) -> None:
    """Give an instance back what it had before its resize.

    With ``power_on`` None it runs afterwards if it runs now; where an earlier revert was
    interrupted, if it ran before the resize.

    1. Look at the VM
    2. Power off
    3. Take the old size and disks
    4. Delete what is left of the grown disk
    5. Move the VM back
    6. Power on
    7. Forget the resize

    Whatever the phase that the resize was left in; called again after a crash it goes on.

    Raises:
        InstanceNotFound: there is no such instance.
        NotResized: no resize is under way; nothing was changed.
        OriginalNotFound: a disk of before the resize is not there any more; nothing was changed.
        InvalidState: its new disks have snapshots, which would be lost; nothing was changed.
    """
    _revert(vm.session, vm, power_on=power_on)


def put_back(session: Session, vm: VirtualMachine, made: MadeFiles, *, power_on: bool) -> None:
    """The same for the undo of a resize, which may not have come as far as its note."""
    with unless_gone(vm), contextlib.suppress(NotResized):
        wait_for_recent_tasks(session, vm.moref)
        _revert(session, vm, power_on=power_on, made=made)


def _revert(
    session: Session, vm: VirtualMachine, *, power_on: bool | None, made: MadeFiles | None = None
) -> None:
    """``made`` is that of the resize which is taken back; None: its note says what it made."""
    with Operation("revert resize") as run:
        summary = run(look_at_resized(session, vm))
        note = find_note(summary.hardware.files.extra_config)
        assert note is not None  # noqa: S101 - `look_at_resized` refuses
        is_off = summary.hardware.files.power_state is PowerState.POWERED_OFF
        if power_on is None:
            power_on = not is_off if note.phase is Phase.RESIZED else note.was_on
        must_be_off = note.phase is Phase.RESIZED or not power_on
        if must_be_off and not is_off:
            run(power.power_off_step(vm))
            is_off = True
        if note.phase is Phase.RESIZED:
            run(take_old_size(vm, summary, note))
        if note.phase is Phase.PREPARING and note.root_bytes:
            run(delete_grown_disk(session, summary, called(vm), made or MadeFiles()))
        spec = way_back(session, summary, note)
        if spec is not None:
            run(move_back(vm, spec))
        if power_on and is_off:
            run(power.power_on_step(vm))
        run(forget_resize(vm))


@step("Look at the VM")
def look_at_resized(session: Session, vm: VirtualMachine) -> Reversible[VmSummary]:
    """Read it in one read, and refuse one that is not being resized or cannot be reverted."""
    summary, name = read_summary(vm), called(vm)
    pass_over_marks(vm, name, summary.hardware.files.extra_config)
    note = find_note(summary.hardware.files.extra_config)
    if note is None:
        raise NotResized(f"{name} is not being resized: there is nothing to revert.")
    is_exchanged = bool(note.original or note.exchanged)
    if is_exchanged and note.phase is Phase.RESIZED and summary.has_snapshots:
        raise InvalidState(
            f"{name} has snapshots of its new disks, which would be lost. Delete them first."
        )
    if note.phase is Phase.RESIZED:
        attached = {disk.file_name for disk in summary.hardware.files.disks}
        for disk in note.kept_disks:
            if disk not in attached and not session.datastore_files.exists(
                DatastorePath.parse(disk)
            ):
                raise OriginalNotFound(vm.instance_uuid, disk, name)
    yield summary


@step("Take the old size and disks")
def take_old_size(vm: VirtualMachine, summary: VmSummary, note: ResizeNote) -> Reversible[None]:
    """One call changes size and note, and exchanges the disks; the new ones' files go."""
    present = _disk_at(summary, note)
    disks = list(_exchanges_back(summary, note))
    if note.original and (present is None or present.file_name != note.original):
        exchange = specs.DiskExchange(
            old_key=None if present is None else present.key,
            destroy_old=True,
            new=DatastorePath.parse(note.original),
            new_bytes=note.original_bytes,
            controller_key=note.controller_key,
            unit_number=note.unit_number,
        )
        disks.insert(0, exchange)
    change = specs.Change(
        settings={extra_config.RESIZE: note.at(Phase.REVERTING).dump()},
        size=note.old,
        disks=disks,
        annotation=with_flavor(summary.annotation, note.old_facts) if note.old_facts else None,
    )
    vm.reconfigure(change.spec())
    yield


def _exchanges_back(summary: VmSummary, note: ResizeNote) -> Iterator[specs.DiskExchange]:
    """The new ephemeral and swap disks go with their files, the kept ones come back."""
    present = {disk.file_name: disk for disk in summary.hardware.files.disks}
    for each in note.exchanged:
        gone = present.get(each.new)
        yield specs.DiskExchange(
            old_key=gone.key if gone else None,
            destroy_old=True,
            new=DatastorePath.parse(each.old) if each.old and each.old not in present else None,
            new_bytes=each.old_bytes,
            controller_key=each.controller_key,
            unit_number=each.unit_number,
        )


def _disk_at(summary: VmSummary, note: ResizeNote) -> VmDisk | None:
    """The disk at the root disk's place, whatever its file is called now."""
    place = (note.controller_key, note.unit_number)
    disks = summary.hardware.files.disks
    return next((d for d in disks if (d.controller_key, d.unit_number) == place), None)


@step("Delete what is left of the grown disk")
def delete_grown_disk(
    session: Session, summary: VmSummary, name: str, made: MadeFiles
) -> Reversible[None]:
    """A resize that did not come to exchange the disks may have left the copy, or a part of it.

    Before its note was written nothing was there.
    """
    disks = summary.hardware.files.disks
    if disks:
        grown = counterpart(DatastorePath.parse(root_disk(summary.hardware, name).file_name))
        attached = {disk.file_name for disk in disks}
        is_own = str(grown) not in attached and grown not in made.others
        if is_own and session.datastore_files.exists(grown):
            session.virtual_disk_manager.delete(grown, missing_ok=True)
    yield


@step("Move the VM back")
def move_back(vm: VirtualMachine, spec: RelocateSpec) -> Reversible[None]:
    """Take it to where it was."""
    vm.relocate(spec)
    yield


@step("Forget the resize")
def forget_resize(vm: VirtualMachine) -> Reversible[None]:
    """The last change, so that whoever comes after a crash still finds the note."""
    ended = {extra_config.RESIZE: "", extra_config.WORKER: ""}
    with in_flight.ending():
        vm.reconfigure(settings(ended))
    yield
