"""Who holds a disk's file: QEMU's locks, asked for and taken in QEMU's own terms.

QEMU marks the images it has open with open-file-description locks: a read lock on byte 100 + n
for each permission n it uses, on byte 200 + n for each it does not let others have. Taking the
same locks keeps a guest from starting on a disk in the middle of a copy.

See: QEMU, block/file-posix.c (RAW_LOCK_PERM_BASE, RAW_LOCK_SHARED_BASE) and
include/block/block-common.h (the permissions' order).
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from vmops.lab.storage.errors import FileInUse, FileMissing, host_errors

_PERMISSIONS_FROM = 100
_UNSHARED_FROM = 200
_LAST = 299
_CONSISTENT_READ, _WRITE, _RESIZE = 0, 1, 3
_FLOCK = "hhqqi0q"  # struct flock: type, whence, start, length, pid
_QUICKLY = os.O_CLOEXEC | os.O_NONBLOCK  # a named pipe would make the opening wait
_HELD = {errno.EAGAIN, errno.EACCES}


def _lock(descriptor: int, kind: int, first: int, length: int = 1) -> bool:
    request = struct.pack(_FLOCK, kind, os.SEEK_SET, first, length, 0)
    try:
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, request)
    except OSError as error:
        if error.errno in _HELD:
            return False
        raise
    return True


def _is_locked(descriptor: int, first: int, length: int = 1) -> bool:
    """Whether someone else has any lock, read or write, in the range."""
    request = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, first, length, 0)
    answer = fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, request)
    kind: int = struct.unpack(_FLOCK, answer)[0]
    return kind != fcntl.F_UNLCK


def is_in_use(file: Path) -> bool:
    """Whether anyone, reading or writing, has the image open under QEMU's locks."""
    try:
        with host_errors(file.name, ""):
            descriptor = os.open(file, os.O_RDONLY | _QUICKLY)
    except FileMissing:
        return False
    try:
        return _is_locked(descriptor, _PERMISSIONS_FROM, _LAST - _PERMISSIONS_FROM + 1)
    finally:
        os.close(descriptor)


def refuse_if_in_use(file: Path, name: object) -> None:
    """Check a file that is to be replaced as a whole.

    Raises:
        FileInUse: anyone has it open under QEMU's locks.
    """
    if is_in_use(file):
        raise FileInUse(name)


def lock_for_reading(descriptor: int, name: object) -> None:
    """Read an open image while nobody may write it; the lock goes with the descriptor.

    Others may read it too, a guest for which it is a parent for instance.

    Raises:
        FileInUse: a guest writes to it.
    """
    wanted = (
        _PERMISSIONS_FROM + _CONSISTENT_READ,
        _UNSHARED_FROM + _WRITE,
        _UNSHARED_FROM + _RESIZE,
    )
    in_conflict = (
        _UNSHARED_FROM + _CONSISTENT_READ,
        _PERMISSIONS_FROM + _WRITE,
        _PERMISSIONS_FROM + _RESIZE,
    )
    # First taken, then looked, as QEMU does it: of two that come at once, at least one gives way.
    if not all(_lock(descriptor, fcntl.F_RDLCK, byte) for byte in wanted) or any(
        _is_locked(descriptor, byte) for byte in in_conflict
    ):
        raise FileInUse(name)


@contextmanager
def exclusive(files: Iterable[tuple[Path, object]]) -> Iterator[None]:
    """Have the files, given with their names for messages, to oneself; absent ones are skipped.

    Raises:
        FileInUse: anyone has one of them open, if only for reading.
    """
    with ExitStack() as stack:
        for file, name in files:
            try:
                with host_errors(name, ""):
                    descriptor = os.open(file, os.O_RDWR | _QUICKLY)
            except FileMissing:
                continue
            stack.callback(os.close, descriptor)
            if not _lock(
                descriptor, fcntl.F_WRLCK, _PERMISSIONS_FROM, _LAST - _PERMISSIONS_FROM + 1
            ):
                raise FileInUse(name)
        yield
