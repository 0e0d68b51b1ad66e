"""Which disks and which folder are a virtual machine's own."""

from __future__ import annotations

import re
from collections.abc import Iterator

from vmops.errors import InvalidName, NoRootDisk
from vmops.model import extra_config
from vmops.model.datastore_path import DatastorePath
from vmops.ops.notes import rescue as rescue_note
from vmops.ops.notes import resize as resize_note
from vmops.ops.notes.volumes import noted_volumes
from vmops.vsphere.objects.vm_files import VmDisk, VmFiles
from vmops.vsphere.objects.vm_hardware import VmHardware

# Those of `vmops.specs.disks.extra_disks` and `vmops.ops.spawn.further_disks`, and their
# counterparts after a resize; each also with numbers, where a name was taken.
BESIDE_ROOT = re.compile(
    r"(?:ephemeral_(?P<number>[0-9]{1,9})|(?P<swap>swap)|(?P<image>image_disk)_[0-9]{1,9})"
    r"(?:_[0-9]{1,9})*(?:-resized)?(?:_[0-9]{1,9})*\.vmdk"
)


def root_disk(hardware: VmHardware, called: str) -> VmDisk:
    """The disk that an instance boots from.

    It is the volume that is noted as such, if there is a note. Else it is the one with the lowest
    place: of its own disks that are not known to be others, of all its own, or of its volumes if it
    has only those. ``called`` names the instance in a message.

    Raises:
        NoRootDisk: it has none, or the volume that it boots from is not attached.
    """
    files = hardware.files
    if volume := files.extra_config.get(extra_config.ROOT_VOLUME, ""):
        found = volume_disk(files, volume)
        if found is None:
            raise NoRootDisk(f"{called} boots from the volume {volume}, which is not attached.")
        return found
    disks = sorted(files.disks, key=lambda d: (d.controller_key, d.unit_number))
    own = [disk for disk in disks if not is_volume(files, disk)]
    if not disks:
        raise NoRootDisk(f"{called} has no disk.")
    roots = [disk for disk in own if _beside(files, disk) is None]
    return (roots or own or disks)[0]


def image_disks(files: VmFiles) -> list[VmDisk]:
    """The further disks of the instance's image."""
    found = ((disk, _beside(files, disk)) for disk in files.disks if not is_volume(files, disk))
    return [disk for disk, match in found if match is not None and match["image"]]


def _beside(files: VmFiles, disk: VmDisk) -> re.Match[str] | None:
    """What its file's name tells of a disk that was made to be beside the root disk."""
    folder = vm_folder(files)
    chain = (disk.file_name, *disk.parents)
    names = (DatastorePath.parse(each).name for each in chain if is_below(each, folder))
    return next(filter(None, map(BESIDE_ROOT.fullmatch, names)), None)


def volume_disk(files: VmFiles, volume: str) -> VmDisk | None:
    """An attached volume's disk, by the volume's id or its first class disk's; None: it has none.

    It is known by its UUID, which it keeps wherever it is moved and under any snapshot. Where a
    copy in the VM's own folder has the same one, that is not it.
    """
    note = noted_volumes(files.extra_config).get(volume)
    found = [disk for disk in files.disks if disk.first_class_id == volume]
    found = found or [disk for disk in files.disks if note and note == disk.identity]
    folder = vm_folder(files)
    elsewhere = [disk for disk in found if not is_below(disk.file_name, folder)]
    return next(iter(elsewhere or found), None)


def is_volume(files: VmFiles, disk: VmDisk) -> bool:
    """Whether a disk is a volume's, wherever it is: a first class disk, or noted as one.

    A copy of a volume has the volume's UUID where the server gives it no other one: of two such
    disks the one in the VM's own folder is the VM's.
    """
    if disk.first_class_id:
        return True
    known = {each.uuid for each in files.disks if each.first_class_id}
    if disk.identity not in known.union(noted_volumes(files.extra_config).values()):
        return False
    folder = vm_folder(files)
    twins = [each for each in files.disks if each.identity == disk.identity]
    has_elsewhere = any(not is_below(each.file_name, folder) for each in twins)
    return not (has_elsewhere and is_below(disk.file_name, folder))


def is_foreign(files: VmFiles, disk: VmDisk) -> bool:
    """Whether a disk is a volume's, or lies outside the VM's folder."""
    return is_volume(files, disk) or not is_below(disk.file_name, vm_folder(files))


def own_folder(hardware: VmHardware, called: str) -> DatastorePath:
    """The VM's own folder, which is never a volume's.

    Raises:
        NoRootDisk: it has none.
    """
    folder = vm_folder(hardware.files)
    if folder is None:
        raise NoRootDisk(f"{called} has no folder of its own on a datastore.")
    return folder


def vm_folder(files: VmFiles) -> DatastorePath | None:
    """The VM's folder; None where there is none of its own (a .vmx in the datastore's root)."""
    try:
        folder = DatastorePath.parse(files.vmx).parent
    except InvalidName:
        return None
    return folder if folder.path else None


def is_below(file_name: str, folder: DatastorePath | None) -> bool:
    """Whether a file lies in a VM's folder."""
    try:
        return folder is not None and DatastorePath.parse(file_name).is_below(folder)
    except InvalidName:
        return False


def loose_disks(files: VmFiles) -> frozenset[str]:
    """Disks in the VM's folder that are its own although it may not have them attached.

    Those are the parent that came with a linked clone that was moved to another datastore, the
    disk that a resize keeps or has replaced, a copy that was to grow, and the disk of a rescue that
    was interrupted.
    """
    folder, attached = vm_folder(files), {disk.file_name for disk in files.disks}
    return frozenset(
        disk for disk in _noted(files) if is_below(disk, folder) and disk not in attached
    )


def _noted(files: VmFiles) -> Iterator[str]:
    for disk in files.disks:
        if not is_volume(files, disk):
            yield from disk.parents
    yield from resize_note.replaced_disks(files.extra_config)
    if (rescue := rescue_note.find_note(files.extra_config)) is not None:
        yield rescue.disk
    if (resize := resize_note.find_note(files.extra_config)) is not None:
        yield from (*resize.kept_disks, *resize.new_disks)
        for disk in files.disks:
            yield str(resize_note.counterpart(DatastorePath.parse(disk.file_name)))
