"""Writing a file on a datastore: under a temporary name until it is whole, within the quota.

Runs of zeros become holes, so a disk uploaded or copied occupies what its content needs.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Self

from vmops.lab.storage.errors import FileExists, FileMissing, host_errors
from vmops.lab.storage.locks import refuse_if_in_use
from vmops.lab.storage.paths import DatastorePath
from vmops.lab.whole_files import partial_beside

Spend = Callable[[str, int], None]
"""``spend(datastore, count)`` accounts for bytes about to be written, or raises NoSpace."""

_HOLE_UNIT = 64 * 1024
_ZEROS = bytes(_HOLE_UNIT)


def publish(partial: Path, file: Path, *, replace: bool) -> None:
    """Give a finished file its name.

    Raises:
        FileExistsError: ``replace`` is false and the name is taken, even since a moment ago.
    """
    if replace:
        partial.replace(file)
    else:
        os.link(partial, file, follow_symlinks=False)
        partial.unlink()


def write_sparsely(
    descriptor: int, offset: int, data: bytes | memoryview, spend: Callable[[int], None]
) -> None:
    """Write ``data`` at ``offset`` of a file that is a hole there, leaving zeros as holes."""
    view = memoryview(data)
    start = 0
    while start < len(view):
        end = start
        # The units are those of the file, so that holes come out aligned.
        while end < len(view):
            next_end = min(len(view), end + _HOLE_UNIT - (offset + end) % _HOLE_UNIT)
            if bytes(view[end:next_end]) == _ZEROS[: next_end - end]:
                break
            end = next_end
        if end > start:
            spend(end - start)
            write_all(descriptor, offset + start, view[start:end])
        start = end
        if start < len(view):
            start = min(len(view), start + _HOLE_UNIT - (offset + start) % _HOLE_UNIT)


def write_all(descriptor: int, offset: int, data: bytes | memoryview) -> None:
    """Write all of ``data`` at ``offset``; a full disk takes a part first and then fails."""
    view = memoryview(data)
    while view:
        count = os.pwrite(descriptor, view, offset)
        view, offset = view[count:], offset + count


class FileWriter:
    """A file being written from its start; see `Volumes.open_for_write`.

    As a context manager it commits at the end and aborts on an exception. Not for two threads.
    """

    def __init__(
        self, path: DatastorePath, file: Path, *, spend: Spend, atomic: bool, replace: bool
    ) -> None:
        self.path = path
        self.written_bytes = 0
        self._file = file
        self._spend = spend
        self._atomic = atomic
        self._replace = replace
        if file.is_dir() or (not replace and file.exists()):
            raise FileExists(path)
        refuse_if_in_use(file, path)
        if not file.parent.is_dir():
            raise FileMissing(path.parent)
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        flags |= os.O_EXCL if atomic or not replace else os.O_TRUNC
        self._target = partial_beside(file) if atomic else file
        with host_errors(path, path.datastore):
            self._descriptor = os.open(self._target, flags, 0o600)

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Append ``data``; returns its length.

        Raises:
            NoSpace: the datastore, or its quota, is full.
        """
        view = memoryview(data)
        with host_errors(self.path, self.path.datastore):
            write_sparsely(
                self._descriptor,
                self.written_bytes,
                view,
                lambda count: self._spend(self.path.datastore, count),
            )
        self.written_bytes += len(view)
        return len(view)

    def commit(self) -> None:
        """Finish: the file is whole and has its name from here on.

        Raises:
            FileExists: someone else made it meanwhile, and it was not to be replaced.
            FileInUse: a guest was started on the old file meanwhile.
        """
        try:
            with host_errors(self.path, self.path.datastore):
                os.ftruncate(self._descriptor, self.written_bytes)  # zeros at the end are a hole
                if self._atomic:
                    refuse_if_in_use(self._file, self.path)
                    publish(self._target, self._file, replace=self._replace)
        except BaseException:
            self.abort()
            raise
        self._close()

    def abort(self) -> None:
        """Give up: an atomic write leaves what was there, the other kind what it wrote so far."""
        self._close()
        if self._atomic:
            self._target.unlink(missing_ok=True)

    def _close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.commit()
        else:
            self.abort()
