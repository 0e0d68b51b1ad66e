"""What calls do to files and disks on datastores, as far as later steps can see it."""

from __future__ import annotations

from pyVmomi import vim

from vmops.model.datastore_path import DatastorePath
from vmops.vsphere.planning.site import Arguments, Effect, Site
from vmops.vsphere.wire.moref import Moref


def _make_directory(site: Site, moref: Moref, arguments: Arguments) -> None:
    _make(site, DatastorePath.parse(arguments["name"]))


def _delete_file(site: Site, moref: Moref, arguments: Arguments) -> None:
    path = DatastorePath.parse(arguments["name"])
    _require(site, path)
    site.world.files.gone(path)


def _move_file(site: Site, moref: Moref, arguments: Arguments) -> None:
    source, target = _between(site, arguments, "destinationName")
    site.world.files.moved(source, target)


def _copy_file(site: Site, moref: Moref, arguments: Arguments) -> None:
    site.world.files.made(_between(site, arguments, "destinationName")[1])


def _create_disk(site: Site, moref: Moref, arguments: Arguments) -> None:
    path = DatastorePath.parse(arguments["name"])
    _make(site, path)
    site.world.files.made(path.flat)


def _copy_disk(site: Site, moref: Moref, arguments: Arguments) -> None:
    _, target = _between(site, arguments, "destName")
    site.world.files.made(target)
    site.world.files.made(target.flat)


def _move_disk(site: Site, moref: Moref, arguments: Arguments) -> None:
    source, target = _between(site, arguments, "destName")
    site.world.files.moved(source, target)
    site.world.files.moved(source.flat, target.flat)


def _extend_disk(site: Site, moref: Moref, arguments: Arguments) -> None:
    _require(site, DatastorePath.parse(arguments["name"]))


def _delete_disk(site: Site, moref: Moref, arguments: Arguments) -> None:
    path = DatastorePath.parse(arguments["name"])
    _require(site, path)
    site.world.files.disk_gone(path)


EFFECTS: dict[str, Effect] = {
    "MakeDirectory": _make_directory,
    "DeleteDatastoreFile_Task": _delete_file,
    "MoveDatastoreFile_Task": _move_file,
    "CopyDatastoreFile_Task": _copy_file,
    "CreateVirtualDisk_Task": _create_disk,
    "CopyVirtualDisk_Task": _copy_disk,
    "MoveVirtualDisk_Task": _move_disk,
    "ExtendVirtualDisk_Task": _extend_disk,
    "DeleteVirtualDisk_Task": _delete_disk,
}


def _between(site: Site, arguments: Arguments, to: str) -> tuple[DatastorePath, DatastorePath]:
    """Source and target of a copy or a move that can be.

    Raises:
        FileNotFound: the source is not there.
        FileAlreadyExists: the target is, and is not to be replaced.
    """
    source = DatastorePath.parse(arguments["sourceName"])
    target = DatastorePath.parse(arguments[to])
    _require(site, source)
    if not arguments.get("force"):
        _refuse_taken(site, target)
    return source, target


def _make(site: Site, path: DatastorePath) -> None:
    _refuse_taken(site, path)
    site.world.files.made(path)


def _require(site: Site, path: DatastorePath) -> None:
    if not site.exists(path):
        site.refuse(_fault(vim.fault.FileNotFound, path))


def _refuse_taken(site: Site, path: DatastorePath) -> None:
    if site.exists(path):
        site.refuse(_fault(vim.fault.FileAlreadyExists, path))


def _fault(kind: type[vim.fault.FileFault], path: DatastorePath) -> vim.fault.FileFault:
    return kind(file=str(path))
