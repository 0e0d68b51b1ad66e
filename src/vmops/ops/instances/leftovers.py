"""What operations left that were cut off, and how each kind is taken and removed.

Each is taken first, by a change that only one can win: should its owner come back after all, it
finds that it has lost, and stops.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from vmops import in_flight
from vmops.errors import Busy, Conflict, FileNotFound, LeaseLost, LeftBehind, ManagedObjectNotFound
from vmops.images.directory_store import DirectoryImageStore
from vmops.images.folder_lease import PREFIX
from vmops.in_flight import Judgment, Verdict
from vmops.model import extra_config
from vmops.model.datastore_path import DatastorePath
from vmops.ops.guard.preconditions import refuse_at_work, take_mark
from vmops.ops.guard.states import called, read_state
from vmops.ops.guard.vm_marks import leased, replace_mark, take_off
from vmops.ops.instances.destroy import remove
from vmops.ops.instances.unmerged import remove_snapshot
from vmops.vsphere.objects.nfc_lease import LEASE_TIMEOUT_S
from vmops.vsphere.objects.recent_tasks import running_tasks
from vmops.vsphere.objects.snapshots import Snapshot
from vmops.vsphere.objects.virtual_machine import VirtualMachine
from vmops.vsphere.session import Session


@dataclass(frozen=True, slots=True, kw_only=True)
class Leftover:
    """One thing that an operation works on, or has left behind; ``judgment`` says which.

    ``key`` is where on ``vm`` its mark stands; "" where its name is the mark. ``folder`` of an
    import's VM is where its disk was to go.
    """

    kind: str
    name: str
    judgment: Judgment
    key: str = ""
    vm: VirtualMachine | None = None
    folder: DatastorePath | None = None
    snapshot: Snapshot | None = None
    file: Path | None = None
    images: DirectoryImageStore | None = None
    """The store that ``file`` is of."""
    take: Callable[[], None] | None = None
    """What removes it, where it is of a kind of its own."""

    @property
    def is_left(self) -> bool:
        """Whether nobody is at it any more."""
        return self.judgment.may_be_taken


def remove_leftover(session: Session, leftover: Leftover) -> None:
    """Take one leftover and remove it; that it is gone already is fine.

    Of an operation on an instance that was whole before, the mark is taken off: what there is to
    take back or to go on with is in the instance's own notes.

    Raises:
        Busy: it is not given up after all, or another one is removing it.
        LeftBehind: it could not be removed.
        Conflict: a snapshot is still being read; the message says until when at the latest, if its
            reader is dead.
    """
    vm = leftover.vm
    if leftover.take is not None:
        leftover.take()
        return
    try:
        if vm is not None and leftover.key != extra_config.WORKER:
            _refuse_running(vm, leftover.judgment)
        if vm is None:
            if leftover.folder is not None:
                _remove_folder(session, leftover.folder)
            if leftover.file is not None and leftover.images is not None:
                leftover.images.remove_unfinished(leftover.file, leftover.judgment)
        elif leftover.snapshot is not None:
            _remove_snapshot(vm, leftover.snapshot, leftover.judgment)
        elif leftover.key == extra_config.OPERATION:
            _remove_spawned(session, vm, leftover.judgment)
        elif leftover.key:
            take_mark(vm, leftover.key, leftover.judgment, called(vm))
        else:
            _remove_import(session, vm, leftover.folder)
    except ManagedObjectNotFound as gone:
        if vm is None or gone.moref != f"VirtualMachine:{vm.moid}":
            raise
    except LeaseLost as lost:
        raise Busy(
            f"{leftover.name} is not given up: it was renewed, or taken by another, just now."
        ) from lost


def _refuse_running(vm: VirtualMachine, judgment: Judgment) -> None:
    """A VM that the server works on is not given up, unless its owner is known to be dead."""
    if judgment.verdict is Verdict.EXPIRED and running_tasks(vm.session, vm.moref):
        in_flight.see_alive(judgment.mark)
        raise Busy(
            f"{called(vm)} is busy: a task runs on it, so its {judgment.mark.operation} is not"
            " over."
        )


def _remove_spawned(session: Session, vm: VirtualMachine, judgment: Judgment) -> None:
    mark = in_flight.mark(judgment.mark.operation)
    since = in_flight.owners_clock()
    replace_mark(vm, extra_config.OPERATION, judgment.mark.text, mark)
    with leased(vm, extra_config.OPERATION, judgment.mark.operation, mark, since):
        remove(session, vm, destroy_disks=True)


def _remove_snapshot(vm: VirtualMachine, snapshot: Snapshot, judgment: Judgment) -> None:
    """Its VM is an instance, which may be in other hands by now."""
    settings = read_state(vm).settings
    found = settings.get(extra_config.WORKER, "")
    mark, since = in_flight.mark("snapshot"), in_flight.owners_clock()
    if in_flight.Mark.parse(found).owner != judgment.mark.owner:
        refuse_at_work(called(vm), settings)
    replace_mark(vm, extra_config.WORKER, found, mark)
    with leased(vm, extra_config.WORKER, "snapshot", mark, since) as lease:
        try:
            remove_snapshot(vm.session, vm, snapshot)
        except (Busy, LeftBehind, LeaseLost):
            raise
        except Conflict as refused:
            at_last = datetime.now().astimezone() + timedelta(seconds=LEASE_TIMEOUT_S)
            raise Conflict(
                f"{called(vm)}: the snapshot is being read through a lease. If its reader is dead,"
                f" the server gives it up by {at_last:%H:%M:%S} at the latest: try again then."
                f" ({refused})"
            ) from refused
        finally:
            take_off(vm, lease)


def _remove_import(session: Session, vm: VirtualMachine, folder: DatastorePath | None) -> None:
    """Its folder goes with it, also where the VM itself goes meanwhile, with its lease."""
    taken = None if folder is None else _take_folder(session, folder)
    try:
        remove(session, vm, destroy_disks=True)
    finally:
        if taken is not None:
            session.file_manager.delete(taken, missing_ok=True)


def _remove_folder(session: Session, folder: DatastorePath) -> None:
    taken = _take_folder(session, folder)
    if taken is not None:
        session.file_manager.delete(taken, missing_ok=True)


def _take_folder(session: Session, folder: DatastorePath) -> DatastorePath | None:
    """Rename a temporary folder to one of this process'; None if it is not there (any more)."""
    taken = folder.parent.joined(in_flight.unique_name(PREFIX))
    try:
        session.file_manager.move(folder, taken)
    except FileNotFound:
        return None
    return taken
