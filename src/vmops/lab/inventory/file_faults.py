"""The one table from a storage error to the fault a vSphere client expects for it.

The faults are those that the API reference names for FileManager, VirtualDiskManager and
HostDatastoreBrowser.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from pyVmomi import vim, vmodl

from vmops.lab.storage.datastore_files import CannotDelete
from vmops.lab.storage.errors import (
    CopyCancelled,
    FileExists,
    FileInUse,
    FileMissing,
    InvalidDatastorePath,
    InvalidDisk,
    NoSpace,
    StorageError,
    UnknownDatastore,
)

_FILE_FAULTS: tuple[tuple[type[StorageError], type[vim.fault.FileFault]], ...] = (
    (FileMissing, vim.fault.FileNotFound),
    (FileExists, vim.fault.FileAlreadyExists),
    (FileInUse, vim.fault.FileLocked),
    (CannotDelete, vim.fault.CannotDeleteFile),
    (StorageError, vim.fault.FileFault),
)
"""Faults that have nothing but the file's name; the first that fits counts."""

# What the operating system says when a file operation itself fails.
_ERRNO_FAULTS: dict[int, type[vim.fault.FileFault]] = {
    errno.ENOENT: vim.fault.FileNotFound,
    errno.ENOTDIR: vim.fault.FileNotFound,
    errno.EEXIST: vim.fault.FileAlreadyExists,
    errno.ENOTEMPTY: vim.fault.FileAlreadyExists,
    errno.EBUSY: vim.fault.FileLocked,
    errno.ETXTBSY: vim.fault.FileLocked,
    errno.EACCES: vim.fault.CannotAccessFile,
    errno.EPERM: vim.fault.CannotAccessFile,
    errno.ENAMETOOLONG: vim.fault.FileNameTooLong,
}
_FULL = (errno.ENOSPC, errno.EDQUOT)


def fault_of(error: StorageError | OSError, path: str) -> vmodl.MethodFault:
    """Return the fault for an error.

    The fault names the file that the error is about, ``path`` where the error does not say.
    """
    if isinstance(error, OSError):
        return _fault_of_os_error(error, path)
    path = getattr(error, "path", path)
    fault: type[vmodl.MethodFault]
    fields = {"file": path}
    match error:
        case NoSpace():
            fault, fields = vim.fault.NoDiskSpace, {"file": path, "datastore": error.datastore}
        case InvalidDatastorePath():
            fault, fields = vim.fault.InvalidDatastorePath, {"datastorePath": path}
        case UnknownDatastore():
            # The reference says so: "also thrown if a datastore ... is not found".
            fault = vim.fault.InvalidDatastorePath
            fields = {"datastorePath": path, "name": error.datastore}
        case InvalidDisk():
            fault, fields = vim.fault.InvalidDiskFormat, {}
        case CopyCancelled():
            fault, fields = vmodl.fault.RequestCanceled, {}
        case _:
            fault = next(fault for kind, fault in _FILE_FAULTS if isinstance(error, kind))
    return fault(**fields, msg=str(error))


def _fault_of_os_error(error: OSError, path: str) -> vmodl.MethodFault:
    text = f"{path}: {error.strerror or 'input/output error'}"
    if error.errno in _FULL:
        return vim.fault.NoDiskSpace(file=path, datastore=datastore_of(path), msg=text)
    fault = _ERRNO_FAULTS.get(error.errno or 0, vim.fault.FileFault)
    return fault(file=path, msg=text)


def datastore_of(path: str) -> str:
    """Return the datastore's name in a path that may be malformed; "" if there is none."""
    name, bracket, _ = path.removeprefix("[").partition("]")
    return name if bracket and path.startswith("[") else ""


@contextmanager
def storage_faults(path: object) -> Iterator[None]:
    """Raise storage errors of the block as faults that name ``path``."""
    try:
        yield
    except (StorageError, OSError) as error:
        raise fault_of(error, str(path)) from error
