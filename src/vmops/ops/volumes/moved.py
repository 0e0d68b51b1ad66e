"""Volumes' disks that the server moved away from their shadow VMs, and how those get them back.

A storage migration moves a virtual machine's disks into its folder, those of volumes among them;
the shadow VM of such a volume then names a file that is not there. When the volume is detached its
disk is moved into the shadow VM's folder, on the datastore where it is now, and the shadow VM is
told.

A note in the instance names the disk until that is done. It is written in the change that detaches
the disk, so who dies in between leaves word of where it is.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass

from vmops.errors import FileAlreadyExists, FileNotFound, InvalidArgument, NoRootDisk
from vmops.model import extra_config
from vmops.model.block_devices import Volume
from vmops.model.datastore_path import DatastorePath
from vmops.ops.engine.own_disks import volume_disk
from vmops.ops.notes.volumes import noted_volumes
from vmops.specs import volumes as specs
from vmops.specs.places import Place
from vmops.specs.virtual_machine import settings
from vmops.steps import Reversible, step
from vmops.vsphere.objects.lookup import find_vm_on_server
from vmops.vsphere.objects.virtual_machine import VirtualMachine
from vmops.vsphere.objects.vm_files import VmDisk, VmFiles
from vmops.vsphere.objects.vm_volumes import ShadowVm
from vmops.vsphere.session import Session

log = logging.getLogger(__name__)

_NAMES = 10
_NOTE = extra_config.MOVED_VOLUME.format(volume="")


def moved_volumes(settings: Mapping[str, str]) -> dict[str, str]:
    """The disks' paths by the volumes' ids, from a VM's ``extraConfig``."""
    return {
        key.removeprefix(_NOTE): path
        for key, path in settings.items()
        if key.startswith(_NOTE) and path
    }


def is_moved(shadow: ShadowVm | None, disk: VmDisk) -> bool:
    """Whether a volume's disk is not where its shadow VM has it, nor below a snapshot of that."""
    if shadow is None:
        return False
    known = shadow.disk
    return known is None or disk.file_name not in {known.file_name, *known.parents}


@dataclass(frozen=True, slots=True, kw_only=True)
class MovedVolume:
    """A volume whose disk is at ``path``, and its shadow VM, which has it elsewhere."""

    id: str
    path: DatastorePath
    shadow: ShadowVm
    is_layered: bool
    """Whether the disk is based on others."""


def find_moved(session: Session, files: VmFiles) -> tuple[MovedVolume, ...]:
    """Those of a VM's volumes that the server has moved, or had moved when they were detached.

    A shadow VM is found by the volume's id, which is its instance UUID; volumes of services that do
    not make theirs so are passed over. Costs two calls for each volume, none without volumes.
    """
    left = moved_volumes(files.extra_config)
    found = []
    for volume_id in {*noted_volumes(files.extra_config), *left}:
        disk = volume_disk(files, volume_id)
        if disk is not None and disk.first_class_id:
            continue
        shadow = _shadow_of(session, volume_id)
        if shadow is None:
            continue
        if disk is None and volume_id in left:
            path = left[volume_id]
        elif disk is not None and is_moved(shadow, disk):
            path = disk.file_name
        else:
            continue
        found.append(
            MovedVolume(
                id=volume_id,
                path=DatastorePath.parse(path),
                shadow=shadow,
                is_layered=disk is not None and bool(disk.parents),
            )
        )
    return tuple(found)


def _shadow_of(session: Session, volume_id: str) -> ShadowVm | None:
    with contextlib.suppress(InvalidArgument):  # it is no UUID
        vm = find_vm_on_server(session, volume_id)
        if vm is not None:
            hardware, values = vm.hardware_and("name")
            return ShadowVm(vm=vm, name=str(values.get("name") or vm.moid), hardware=hardware)
    return None


@step("Give the disk back to its shadow VM")
def give_back(session: Session, moved: MovedVolume) -> Reversible[None]:
    """See `hand_over`."""
    hand_over(session, moved)
    yield


def hand_over(session: Session, moved: MovedVolume) -> None:
    """Move a disk into its shadow VM's folder, and let the shadow VM hold it there.

    What it did when it was interrupted is found to be done when it is done again. A disk that is
    based on others is left where it is: it could not be moved without them.
    """
    shadow = moved.shadow
    known = shadow.disk
    if known is None:
        raise NoRootDisk(f"The VM {shadow.name} of the volume has no disk that tells its place.")
    was, path = DatastorePath.parse(known.file_name), moved.path
    if not (known.parents or moved.is_layered):
        path = _move(session, moved.path, was)
    if path != was:
        place = Place(controller_key=known.controller_key, unit_number=known.unit_number)
        spec = specs.hold_elsewhere(known.key, path, known.capacity_bytes, place)
        shadow.vm.reconfigure(spec)


def _move(session: Session, left_at: DatastorePath, was: DatastorePath) -> DatastorePath:
    """Move a disk, on its datastore, into the folder of the name that it was in."""
    folder = DatastorePath(left_at.datastore, was.parent.path)
    if folder.path == left_at.parent.path or not folder.path:
        return left_at
    session.file_manager.make_directory(folder, exist_ok=True)
    stem = was.name.removesuffix(".vmdk")
    for number in range(_NAMES):
        target = folder.joined(f"{stem}_{number}.vmdk" if number else was.name)
        try:
            session.virtual_disk_manager.move(left_at, target)
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
def forget_move(vm: VirtualMachine, volume: Volume) -> Reversible[None]:
    """The last change, so that whoever comes after a crash still finds the note."""
    note = extra_config.MOVED_VOLUME.format(volume=volume.id)
    vm.reconfigure(settings({note: ""}))
    yield
