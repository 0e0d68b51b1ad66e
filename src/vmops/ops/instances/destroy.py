"""Destroy: remove a virtual machine with what is its own, and nothing else."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

from vmops.context import tell
from vmops.errors import (
    UNANSWERED,
    FileNotFound,
    InstanceNotFound,
    Invalid,
    InvalidName,
    InvalidPowerState,
    LeaseLost,
    LeftBehind,
    ManagedObjectNotFound,
    VMOpsError,
)
from vmops.model import extra_config
from vmops.model.datastore_path import DatastorePath
from vmops.model.power import PowerState
from vmops.ops.engine.folder_contents import delete_disks, files_of_others, is_of, names_in
from vmops.ops.engine.kept_note import leave_note
from vmops.ops.engine.own_disks import is_below, is_foreign, is_volume, vm_folder
from vmops.ops.guard.preconditions import pass_over_marks, refuse_template
from vmops.ops.guard.states import called, vm_called
from vmops.ops.instances.unmerged import merge
from vmops.ops.volumes.moved import MovedVolume, find_moved, hand_over, moved_volumes
from vmops.progress import Warned
from vmops.specs.extra_config import option_values
from vmops.steps import Operation, Reversible, step
from vmops.vsphere.objects.lookup import find_vm
from vmops.vsphere.objects.recent_tasks import wait_for_recent_tasks
from vmops.vsphere.objects.snapshots import remove_all_snapshots, snapshot_disks
from vmops.vsphere.objects.virtual_machine import VirtualMachine, VmDisk, VmFiles
from vmops.vsphere.session import Session

log = logging.getLogger(__name__)

_MAKING_DISKS = (
    extra_config.OPERATION,
    extra_config.REPLACED_DISKS,
    extra_config.RESCUE,
    extra_config.RESIZE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnedFiles:
    """A VM's files, sorted into what goes with it and what stays."""

    power_state: PowerState | None
    folder: DatastorePath | None
    vmx: str = ""
    foreign_disk_keys: tuple[int, ...]
    """Device keys of disks that are not the VM's own: volumes, and disks elsewhere."""
    side_files: tuple[DatastorePath, ...]
    """Its serial log and its config drive, which vSphere does not take for the VM's; also those
    that stayed in the folder where it was spawned when its disks were moved."""
    volume_files: frozenset[str] = frozenset()
    """Disks in the VM's folder that are volumes', attached to it until now: they stay there."""
    moved_volumes: tuple[MovedVolume, ...] = ()
    """Volumes whose shadow VMs must get their disks back."""
    may_have_strays: bool = False
    """Whether an operation is noted or marked that makes disks before it attaches them."""
    may_be_moving: bool = False
    """Whether a disk is elsewhere that is no volume's, as in the middle of a move to there."""
    snapshots_hold_foreign: bool = False
    """Whether a snapshot has a disk that is not the VM's own, attached now or not; or had one, and
    the VM still writes to a layer over that."""

    @property
    def must_be_powered_off(self) -> bool:
        """Whether it runs, or is suspended with disks that are not its own.

        vSphere takes no disk off a VM that is suspended.
        """
        is_suspended = self.power_state is PowerState.SUSPENDED
        has_others = bool(self.foreign_disk_keys) or self.snapshots_hold_foreign
        return self.power_state is PowerState.POWERED_ON or (is_suspended and has_others)


def destroy(session: Session, instance_uuid: str, *, destroy_disks: bool) -> None:
    """Destroy an instance. That it is not there (any more) is success.

    1. Find the VM and what belongs to it
    2. Power off
       if snapshots hold a disk that is not its own:
       2.1. Delete the snapshots
    3. Detach what is not its own
       if the server had moved volumes' disks away from their shadow VMs:
       3.1. Give the volumes their disks back
    4. Remove the VM and its files

    Without ``destroy_disks`` the VM is unregistered in step 4 and all files stay, with a note for
    people that says so. A linked clone's parent lies in the cache's folder, and a volume's disk is
    detached before: neither is touched. What was written to a volume since a snapshot is in a file
    of the snapshot's until step 2.1. In step 4 the VM's folder goes with all that is in it,
    attached or not; what is a volume's, a first class disk's or another machine's stays there, and
    is told as a warning.

    Raises:
        Busy: another process works on it; nothing was touched.
        LeftBehind: something of the VM could not be removed; the error names each thing. The cause
            is the server's error.
    """
    try:
        vm = find_vm(session, instance_uuid)
        remove(session, vm, destroy_disks=destroy_disks, uuid=instance_uuid)
    except (InstanceNotFound, ManagedObjectNotFound):
        log.info("instance %s does not exist: nothing to destroy", instance_uuid)


def remove(
    session: Session,
    vm: VirtualMachine,
    *,
    destroy_disks: bool,
    uuid: str = "",
    spared: Collection[DatastorePath] = (),
) -> None:
    """Destroy a VM that was found. See `destroy` for the steps.

    ``uuid`` guards against a reference that another VM has got meanwhile. Files that are ``spared``
    stay, although they are in its folder.

    Raises:
        InstanceNotFound: the VM is not the instance ``uuid``.
        LeftBehind: see `destroy`.
    """
    with Operation("destroy") as do:
        own = do(find_owned_files(session, vm, uuid))
        is_removing = False
        try:
            if own.must_be_powered_off:
                do(power_off(vm))
            if own.snapshots_hold_foreign:
                own = do(delete_snapshots(session, vm, uuid))
            if own.foreign_disk_keys:
                own = do(detach_foreign_disks(session, vm, own, uuid))
            if own.moved_volumes:
                do(give_volumes_back(session, own))
            is_removing = True
            if destroy_disks:
                do(remove_with_files(session, vm, own, spared))
            else:
                do(unregister(session, vm, own))
        except (LeftBehind, LeaseLost):
            raise
        except VMOpsError as failure:
            # What was asked for without an answer may have happened.
            is_sure = not (is_removing and isinstance(failure, UNANSWERED))
            told = "could not be destroyed" if is_sure else "was perhaps destroyed"
            raise LeftBehind(
                f"{called(vm)} {told}: {failure}",
                [vm_called(vm), *([str(own.folder)] if own.folder else [])],
                is_sure=is_sure,
            ) from failure


@step("Find the VM and what belongs to it")
def find_owned_files(session: Session, vm: VirtualMachine, uuid: str) -> Reversible[OwnedFiles]:
    """Read what the VM has now: in one read, if it has neither snapshots nor volumes."""
    yield _look(session, vm, uuid)


def _look(session: Session, vm: VirtualMachine, uuid: str) -> OwnedFiles:
    files = vm.files()
    if uuid and files.instance_uuid and files.instance_uuid.lower() != uuid.lower():
        raise InstanceNotFound(uuid)
    if uuid:  # without, it is what a dead process left
        refuse_template(called(vm), is_template=files.is_template)
        pass_over_marks(vm, called(vm), files.extra_config)
    held = snapshot_disks(session, vm) if files.has_snapshots else ()
    return replace(sort_files(files, held), moved_volumes=find_moved(session, files))


def sort_files(files: VmFiles, in_snapshots: Sequence[VmDisk] = ()) -> OwnedFiles:
    """Tell the VM's own files from those of others.

    A disk is its own if it lies in the VM's folder and is not marked as a volume's.
    """
    folder = vm_folder(files)
    foreign = [disk for disk in files.disks if is_foreign(files, disk)]
    volumes = {file for disk in foreign for file in (disk.file_name, *disk.parents)}
    volumes |= set(moved_volumes(files.extra_config).values())
    spawned_in = files.instance_uuid
    side_files = tuple(
        DatastorePath.parse(name)
        for name in (*files.serial_files, *files.iso_files)
        if is_below(name, folder) or _is_in(name, spawned_in)
    )
    return OwnedFiles(
        power_state=files.power_state,
        folder=folder,
        vmx=files.vmx,
        foreign_disk_keys=tuple(disk.key for disk in foreign),
        side_files=side_files,
        volume_files=frozenset(name for name in volumes if is_below(name, folder)),
        may_be_moving=any(not is_volume(files, disk) for disk in foreign),
        may_have_strays=any(files.extra_config.get(key) for key in _MAKING_DISKS),
        snapshots_hold_foreign=any(is_foreign(files, disk) for disk in in_snapshots)
        or (files.needs_consolidation and any(disk.parents for disk in foreign)),
    )


def _is_in(file_name: str, folder: str) -> bool:
    """Whether a file is in the folder of this name on any datastore."""
    try:
        return bool(folder) and DatastorePath.parse(file_name).parent.path == folder
    except InvalidName:
        return False


@step("Power off")
def power_off(vm: VirtualMachine) -> Reversible[None]:
    """Pull the plug; a guest that went off by itself meanwhile is off, too."""
    try:
        vm.power_off()
    except InvalidPowerState:
        log.debug("%s is off already", called(vm))
    yield


@step("Delete the snapshots")
def delete_snapshots(session: Session, vm: VirtualMachine, uuid: str) -> Reversible[OwnedFiles]:
    """Bring what was written since into the disks themselves; no snapshot holds them any more.

    Raises:
        LeftBehind: the disks cannot be merged now. Detached like that they would lose it.
    """
    try:
        remove_all_snapshots(session, vm)
    except VMOpsError as failure:
        if vm.read("snapshot"):
            raise
        merge(vm, failure)
    else:
        merge(vm)
    yield _look(session, vm, uuid)


@step("Detach what is not its own")
def detach_foreign_disks(
    session: Session, vm: VirtualMachine, own: OwnedFiles, uuid: str
) -> Reversible[OwnedFiles]:
    """Take volumes and disks of others off, so that removing the VM cannot touch them.

    A VM that is being moved has disks in two places; where it is at last is looked at again. So it
    is where somebody else takes a disk off at the same time.
    """
    if own.may_be_moving:
        wait_for_recent_tasks(session, vm.moref)
        own = _look(session, vm, uuid)
    try:
        _detach(vm, own)
    except Invalid:
        now = _look(session, vm, uuid)
        if set(now.foreign_disk_keys) >= set(own.foreign_disk_keys):
            raise
        own = now
        _detach(vm, own)
    yield own


def _detach(vm: VirtualMachine, own: OwnedFiles) -> None:
    notes = {
        extra_config.MOVED_VOLUME.format(volume=each.id): str(each.path)
        for each in own.moved_volumes
    }
    if own.foreign_disk_keys:
        vm.detach_devices(own.foreign_disk_keys, settings=option_values(notes))


@step("Give the volumes their disks back")
def give_volumes_back(session: Session, own: OwnedFiles) -> Reversible[None]:
    """Move disks that are volumes' to where their shadow VMs have them.

    What was noted when they were detached goes with the VM.
    """
    for each in own.moved_volumes:
        hand_over(session, each)
    yield


@step("Remove the VM and its files")
def remove_with_files(
    session: Session, vm: VirtualMachine, own: OwnedFiles, spared: Collection[DatastorePath] = ()
) -> Reversible[None]:
    """Remove the VM, then look whether its folder is gone; files that are ``spared`` stay.

    vSphere removes the files it knows. A serial log and a config drive are none, so they go first;
    they are deleted by HTTP, as are the looks, which costs no call of the API.
    """
    for file in own.side_files:
        if file not in spared:
            session.datastore_files.delete(file, missing_ok=True)
    if own.folder is not None and own.may_have_strays:
        _delete_strays(session, own.folder, {*own.volume_files, *map(str, spared)})
    _while_off(vm, lambda: vm.destroy(missing_ok=True))
    try:
        if own.folder is not None and session.datastore_files.exists(own.folder):
            _clear(session, own.folder, {*own.volume_files, *map(str, spared)})
        for folder in {file.parent for file in own.side_files} - {own.folder}:
            with contextlib.suppress(FileNotFound):
                if not session.browse(folder):
                    session.file_manager.delete(folder)
    except LeaseLost:
        raise
    except VMOpsError as failure:
        raise LeftBehind(
            f"The VM was removed, but not all of its files: {failure}", [str(own.folder)]
        ) from failure
    yield


def _delete_strays(session: Session, folder: DatastorePath, kept: Collection[str]) -> None:
    """Delete disks that the VM does not have while it is there: it is what they are found by."""
    with contextlib.suppress(FileNotFound):
        names = [file.name for file in session.browse(folder) if file.name.endswith(".vmdk")]
        others = files_of_others(session, folder, names)
        strays = set(names) - others
        for path in names_in(folder, kept):
            strays -= {name for name in names if is_of(name, path)}
        delete_disks(session, folder, strays)


def _clear(session: Session, folder: DatastorePath, kept: Collection[str]) -> None:
    """Delete a removed VM's folder with all in it that is nobody's, disks before other files.

    ``kept`` are paths of volumes and of others, by disks' descriptors; what first class disks and
    other machines have stays, too. What stays is told.
    """
    with contextlib.suppress(FileNotFound):
        names = [file.name for file in session.browse(folder)]
        others = set(files_of_others(session, folder, names))
        for path in names_in(folder, kept):
            others.update(name for name in names if is_of(name, path))
        delete_disks(session, folder, set(names) - others)
        if not others:
            session.file_manager.delete(folder, missing_ok=True)
            return
        stays = ", ".join(sorted(others))
        tell(Warned(text=f"{folder} stays, with what is not the instance's: {stays}."))
        for name in set(names) - others:
            session.file_manager.delete(folder.joined(name), missing_ok=True)


@step("Unregister the VM")
def unregister(session: Session, vm: VirtualMachine, own: OwnedFiles) -> Reversible[None]:
    """Make vSphere forget the VM; its files stay, and a note beside them says why."""
    if own.folder is not None:
        try:
            leave_note(session, own.folder, called(vm), own.vmx)
        except LeaseLost:
            raise
        except VMOpsError as failure:
            tell(Warned(text=f"{own.folder} is kept, but no note could be left in it: {failure}"))
    _while_off(vm, lambda: vm.unregister(missing_ok=True))
    yield


def _while_off(vm: VirtualMachine, do: Callable[[], None]) -> None:
    """Do what needs the VM to be off.

    It may have gone on since it was looked at: what a process asked the server for before it died
    is done all the same.
    """
    try:
        do()
    except InvalidPowerState:
        log.debug("%s was powered on meanwhile", called(vm))
        with contextlib.suppress(InvalidPowerState):
            vm.power_off()
        do()
