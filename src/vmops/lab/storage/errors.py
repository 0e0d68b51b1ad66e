"""What can go wrong with files on the lab's datastores.

StorageError
├── FileMissing            the file or its folder is not there
├── FileExists             something is at the target already
├── FileInUse              a running guest, or another operation, holds the file
├── DiskHasChildren        other disks stand on this one, which is therefore not changed
├── InvalidDisk            the content is not what a virtual disk must be; `reason` says why
├── NoSpace                the datastore, or its quota, is full
├── InvalidDatastorePath   the path is malformed or leaves its datastore (also a ValueError)
├── UnknownDatastore       there is no datastore of that name
└── CopyCancelled          the caller asked to stop; nothing was left behind
"""

from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence
from contextlib import contextmanager


class StorageError(Exception):
    """Any failure of the storage layer; the text is fit for a user and names no host path."""


class FileMissing(StorageError):
    """There is no file, or no folder, at ``path``."""

    def __init__(self, path: object) -> None:
        super().__init__(f"{path} does not exist")
        self.path = str(path)


class FileExists(StorageError):
    """There is a file at ``path`` already."""

    def __init__(self, path: object) -> None:
        super().__init__(f"{path} already exists")
        self.path = str(path)


class FileInUse(StorageError):
    """A running guest or another operation holds ``path``."""

    def __init__(self, path: object) -> None:
        super().__init__(f"{path} is in use")
        self.path = str(path)


class DiskHasChildren(StorageError):
    """``children`` stand on the disk at ``path``, so its content must stay as it is."""

    def __init__(self, path: object, children: Sequence[object]) -> None:
        names = ", ".join(map(str, children))
        super().__init__(f"{path} cannot change: {names} stands on it")
        self.path = str(path)
        self.children = tuple(map(str, children))


class InvalidDisk(StorageError):
    """``path`` is not a usable virtual disk, or cannot be made into what was asked."""

    def __init__(self, path: object, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = str(path)
        self.reason = reason


class NoSpace(StorageError):
    """``datastore`` has no room; ``needed_bytes`` and ``free_bytes`` are None where unknown."""

    def __init__(
        self, datastore: str, needed_bytes: int | None = None, free_bytes: int | None = None
    ) -> None:
        detail = ""
        if needed_bytes is not None and free_bytes is not None:
            detail = f": {needed_bytes} bytes are needed, {free_bytes} are free"
        super().__init__(f"datastore {datastore} is full{detail}")
        self.datastore = datastore
        self.needed_bytes = needed_bytes
        self.free_bytes = free_bytes


class InvalidDatastorePath(StorageError, ValueError):
    """``path`` is not a path on a datastore; ``reason`` says why."""

    def __init__(self, path: object, reason: str) -> None:
        # The path may hold anything at all, so it is shown escaped.
        super().__init__(f"{str(path)[:200]!a} is not a datastore path: {reason}")
        self.path = str(path)
        self.reason = reason


class UnknownDatastore(StorageError):
    """There is no datastore called ``datastore``."""

    def __init__(self, datastore: str) -> None:
        super().__init__(f"there is no datastore {datastore[:200]!a}")
        self.datastore = datastore


class CopyCancelled(StorageError):
    """The caller's ``cancelled`` said so; what had been written is gone again."""

    def __init__(self) -> None:
        super().__init__("the operation was cancelled")


_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NO_SUCH = {errno.ENOENT, errno.ENOTDIR}


@contextmanager
def host_errors(path: object, datastore: str) -> Iterator[None]:
    """Turn the operating system's errors into this module's, without the host's paths."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise NoSpace(datastore) from error
        if error.errno in _NO_SUCH:
            raise FileMissing(path) from error
        if error.errno == errno.EEXIST:
            raise FileExists(path) from error
        raise StorageError(f"{path}: {error.strerror}") from error
