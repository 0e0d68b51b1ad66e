"""Volumes' disks that the server moved away from their shadow VMs, and how those get them back.

A storage migration moves a virtual machine's disks into its folder, those of volumes among them;
the shadow VM of such a volume then names a file that is not there. When the volume is detached its
disk is moved into the shadow VM's folder, on the datastore where it is now, and the shadow VM is
told. The note of `vmops.ops.moved_note` names the disk until that is done.
"""

from __future__ import annotations

import logging

from vmops.errors import FileAlreadyExists, FileNotFound, NoRootDisk
from vmops.model.block_devices import Volume
from vmops.model.datastore_path import DatastorePath
from vmops.progress import Observer
from vmops.specs import extra_config
from vmops.specs import volumes as specs
from vmops.specs.places import Place
from vmops.specs.virtual_machine import settings
from vmops.steps import Reversible, step
from vmops.vsphere.session import Session
from vmops.vsphere.virtual_machine import VirtualMachine
from vmops.vsphere.vm_files import VmDisk
from vmops.vsphere.vm_volumes import ShadowVm

log = logging.getLogger(__name__)

_NAMES = 10


def is_moved(shadow: ShadowVm | None, disk: VmDisk) -> bool:
    """Whether a volume's disk is not where its shadow VM has it, nor below a snapshot of that."""
    if shadow is None:
        return False
    known = shadow.disk
    return known is None or disk.file_name not in {known.file_name, *known.parents}


@step("Give the disk back to its shadow VM")
def give_back(
    session: Session, shadow: ShadowVm, left_at: DatastorePath, observe: Observer
) -> Reversible[None]:
    """Move the disk into the shadow VM's folder, and let the shadow VM hold it there.

    What it did when it was interrupted is found to be done when it is done again. A disk that is
    based on others is left where it is: it could not be moved without them.
    """
    hand_over(session, shadow, left_at, observe)
    yield


def hand_over(
    session: Session, shadow: ShadowVm, left_at: DatastorePath, observe: Observer
) -> DatastorePath:
    """See `give_back`; the result is where the disk is now."""
    known = shadow.disk
    if known is None:
        raise NoRootDisk(f"The VM {shadow.name} of the volume has no disk that tells its place.")
    was = DatastorePath.parse(known.file_name)
    path = left_at if known.parents else _move(session, left_at, was, observe)
    if path != was:
        place = Place(controller_key=known.controller_key, unit_number=known.unit_number)
        spec = specs.hold_elsewhere(known.key, path, known.capacity_bytes, place)
        shadow.vm.reconfigure(spec, observe=observe)
    return path


def _move(
    session: Session, left_at: DatastorePath, was: DatastorePath, observe: Observer
) -> DatastorePath:
    """Move a disk, on its datastore, into the folder of the name that it was in."""
    folder = DatastorePath(left_at.datastore, was.parent.path)
    if folder.path == left_at.parent.path or not folder.path:
        return left_at
    session.file_manager.make_directory(folder, exist_ok=True)
    stem = was.name.removesuffix(".vmdk")
    for number in range(_NAMES):
        target = folder.joined(f"{stem}_{number}.vmdk" if number else was.name)
        try:
            session.virtual_disk_manager.move(left_at, target, observe=observe)
        except FileAlreadyExists:
            log.warning("%s is there, though its volume's disk was %s", target, left_at)
            continue
        except FileNotFound:
            if session.datastore_files.exists(target):
                return target  # it was moved before, and the answer got lost
            raise
        return target
    return left_at


@step("Forget where the disk was")
def forget_move(vm: VirtualMachine, volume: Volume, observe: Observer) -> Reversible[None]:
    """The last change, so that whoever comes after a crash still finds the note."""
    note = extra_config.MOVED_VOLUME.format(volume=volume.id)
    vm.reconfigure(settings({note: ""}), observe=observe)
    yield
