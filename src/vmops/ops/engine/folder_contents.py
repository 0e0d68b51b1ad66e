"""Whose the files in a folder are, where that must be known before they are deleted."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Iterable, Iterator

from vmops.errors import InvalidName, LeaseLost, NotFound, Preempted, Unavailable, VMOpsError
from vmops.model.datastore_path import DatastorePath
from vmops.vsphere.objects import vm_files
from vmops.vsphere.objects.first_class_disks import FirstClassDisks
from vmops.vsphere.session import Session

log = logging.getLogger(__name__)

_LAYOUT = "layoutEx"
_EXTENT = re.compile(r"-(?:flat|delta|sesparse|ctk|rdmp?|[fs]\d{3})\.vmdk$")
_OWNED = (".vmdk", ".vmx", ".vmtx", ".iso")


def files_of_others(
    session: Session, folder: DatastorePath, names: Collection[str]
) -> frozenset[str]:
    """Which of the names in a folder are machines' files, or first class disks'.

    A machine has what its configuration names, with all that its disks are based on, and what the
    server lists as its files. Costs one read of all machines, and one call for each first class
    disk of the datastore; nothing where no name is that of a disk, an image or a machine.
    """
    if not any(name.endswith(_OWNED) for name in names):
        return frozenset()
    found: set[str] = set()
    for path in (*_of_machines(session), *_first_class(session, folder, names)):
        if (inside := _name_in(folder, path)) is not None:
            found.update(name for name in names if is_of(name, inside))
    return frozenset(found)


def is_of(name: str, file: str) -> bool:
    """Whether a name is the file's; of a disk "x.vmdk" also "x-flat.vmdk" and the like."""
    return file in {name, _EXTENT.sub(".vmdk", name)}


def names_in(folder: DatastorePath, paths: Iterable[str]) -> frozenset[str]:
    """The names in a folder that lead to these paths."""
    return frozenset(name for path in paths if (name := _name_in(folder, path)) is not None)


def delete_disks(session: Session, folder: DatastorePath, names: Iterable[str]) -> None:
    """Delete those of the names that are disks, each with its data, deltas before what is below.

    What cannot be deleted as a disk is left to who deletes the folder's files.
    """
    for name in sorted(names, reverse=True):
        if name.endswith(".vmdk") and not _EXTENT.search(name):
            try:
                session.virtual_disk_manager.delete(folder.joined(name), missing_ok=True)
            except (LeaseLost, Preempted, Unavailable):
                raise
            except VMOpsError as failure:  # such as half of a disk, which is none
                log.info("%s is deleted as a file: %s", folder.joined(name), failure)


def _of_machines(session: Session) -> Iterator[str]:
    there = session.properties.read_container("VirtualMachine", (*vm_files.PATHS, _LAYOUT))
    for values in there.values():
        files = vm_files.files_from(values)
        yield from (files.vmx, *files.iso_files, *files.serial_files)
        for disk in files.disks:
            yield from (disk.file_name, *disk.parents)
        layout = values.get(_LAYOUT)
        yield from (str(file.name) for file in (layout.file if layout is not None else None) or ())


def _first_class(session: Session, folder: DatastorePath, names: Collection[str]) -> Iterator[str]:
    disks = FirstClassDisks(session)
    if not disks.is_there or not any(name.endswith(".vmdk") for name in names):
        return
    datastore = session.inventory.datastore(folder.datastore)
    for disk_id in disks.ids(datastore.moref):
        try:
            yield disks.get(disk_id, datastore.moref).path
        except NotFound:
            continue  # it was deleted just now


def _name_in(folder: DatastorePath, path: str) -> str | None:
    """The first name on the way from a folder to a path below it."""
    try:
        parsed = DatastorePath.parse(path)
    except InvalidName:
        return None
    if not parsed.is_below(folder):
        return None
    return parsed.path[len(folder.path) :].lstrip("/").partition("/")[0]
