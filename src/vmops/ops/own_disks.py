"""Which disks and which folder are a virtual machine's own."""

from __future__ import annotations

from collections.abc import Iterator

from vmops.errors import InvalidName, NoRootDisk
from vmops.model.datastore_path import DatastorePath
from vmops.ops import rescue_note, resize_note
from vmops.specs import extra_config
from vmops.vsphere.vm_files import VmDisk, VmFiles
from vmops.vsphere.vm_hardware import VmHardware


def root_disk(hardware: VmHardware, instance_uuid: str) -> VmDisk:
    """The disk that an instance boots from.

    It is the one with the lowest place: of its own disks, or of its volumes if it has only those.

    Raises:
        NoRootDisk: it has none.
    """
    disks = sorted(hardware.files.disks, key=lambda d: (d.controller_key, d.unit_number))
    own = [d for d in disks if d.uuid not in hardware.files.volume_disk_uuids]
    if not disks:
        raise NoRootDisk(f"Instance {instance_uuid} has no disk.")
    return (own or disks)[0]


def own_folder(hardware: VmHardware, instance_uuid: str) -> DatastorePath:
    """The VM's own folder, which is never a volume's.

    Raises:
        NoRootDisk: it has none.
    """
    folder = vm_folder(hardware.files)
    if folder is None:
        raise NoRootDisk(f"Instance {instance_uuid} has no folder of its own on a datastore.")
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
        if disk.uuid not in files.volume_disk_uuids:
            yield from disk.parents
    yield files.extra_config.get(extra_config.REPLACED_DISK, "")
    if (rescue := rescue_note.find_note(files.extra_config)) is not None:
        yield rescue.disk
    if (resize := resize_note.find_note(files.extra_config)) is not None:
        yield resize.original
        for disk in files.disks:
            yield str(resize_note.counterpart(DatastorePath.parse(disk.file_name)))
