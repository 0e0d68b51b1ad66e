"""A disk's content as layers of runs, so that holes are never read and never written.

A `Layer` says for each stretch of the disk whether it holds data, zeros, or leaves it to the layer
below; `flattened` puts a chain of them together and yields nothing but data. Memory use does not
depend on the disk's size.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Protocol

from vmops.lab.storage.errors import CopyCancelled, InvalidDisk, host_errors
from vmops.lab.storage.locks import lock_for_reading
from vmops.lab.storage.paths import DatastorePath

CHUNK_BYTES = 1024 * 1024

Progress = Callable[[int], None]
"""Called with the percentage done, 0 to 100, when it has changed."""
Cancelled = Callable[[], bool]
"""Asked about once a MiB; true makes the operation raise CopyCancelled."""


class RunKind(Enum):
    """What a layer has at a place."""

    DATA = "data"
    ZERO = "zero"
    BELOW = "below"
    """Nothing: the layer below counts, or zeros where there is none."""


@dataclass(frozen=True, slots=True)
class Run:
    """Bytes ``start`` to ``end`` (exclusive) of the disk."""

    start: int
    end: int
    kind: RunKind


class Layer(Protocol):
    """One file of a chain, open for reading."""

    @property
    def capacity_bytes(self) -> int:
        """The size of the disk this layer describes."""

    def runs(self, start: int, end: int) -> Iterator[Run]:
        """The runs from ``start`` to ``end``, in order and without gaps."""

    def read(self, start: int, end: int) -> bytes:
        """The bytes ``start`` to ``end``, which lie in one DATA run."""

    def close(self) -> None:
        """Let go of the file and of its lock."""


class Watch:
    """Tells how far a transfer is, and stops it when its caller wants so."""

    def __init__(self, total: int, progress: Progress | None, cancelled: Cancelled | None) -> None:
        self._total = max(1, total)
        self._progress = progress
        self._cancelled = cancelled
        self._last = -1

    def at(self, position: int) -> None:
        """Note the position reached.

        Raises:
            CopyCancelled: the caller wants to stop.
        """
        if self._cancelled is not None and self._cancelled():
            raise CopyCancelled
        percent = min(100, position * 100 // self._total)
        if self._progress is not None and percent != self._last:
            self._last = percent
            self._progress(percent)


class DiskFile:
    """A file of a disk, open for reading; its errors name the datastore path.

    With ``locked`` nobody may write to it meanwhile; without, only what never changes, the
    header, may be read.
    """

    def __init__(self, file: Path, name: DatastorePath | str, *, locked: bool = True) -> None:
        """Open ``file``.

        Raises:
            FileMissing: it is not there.
            FileInUse: it is to be locked and a guest writes to it.
            InvalidDisk: it is no ordinary file.
        """
        self.name = name
        self._datastore = name.datastore if isinstance(name, DatastorePath) else ""
        # O_NONBLOCK: a named pipe must not make the opening wait for its other end.
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
        with host_errors(name, self._datastore):
            self.descriptor = os.open(file, flags)
        try:
            self.size_bytes = self._regular_size()
            if locked:
                lock_for_reading(self.descriptor, name)
        except BaseException:
            self.close()
            raise

    def _regular_size(self) -> int:
        status = os.fstat(self.descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise InvalidDisk(self.name, "it is not an ordinary file")
        return status.st_size

    def read_exactly(self, offset: int, length: int, what: str) -> bytes:
        """``length`` bytes from ``offset``.

        Raises:
            InvalidDisk: the file ends before that; ``what`` says what is missing.
        """
        parts = []
        while length > 0:
            with host_errors(self.name, self._datastore):
                data = os.pread(self.descriptor, length, offset)
            if not data:
                raise InvalidDisk(self.name, f"it is truncated: {what} is missing")
            parts.append(data)
            offset, length = offset + len(data), length - len(data)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def close(self) -> None:
        """Let go of the file and of its lock."""
        os.close(self.descriptor)


class RawLayer:
    """A flat file: all data but for the file's holes."""

    def __init__(self, file: DiskFile, capacity_bytes: int) -> None:
        """Take over ``file``.

        Raises:
            InvalidDisk: the file is shorter than the disk.
        """
        self.capacity_bytes = capacity_bytes
        self._file = file
        if file.size_bytes < capacity_bytes:
            file.close()
            raise InvalidDisk(
                file.name,
                f"it has {file.size_bytes} bytes, but the disk's size is {capacity_bytes}",
            )

    def runs(self, start: int, end: int) -> Iterator[Run]:
        """See `Layer`."""
        end = min(end, self.capacity_bytes)
        while start < end:
            data = min(end, self._seek(start, os.SEEK_DATA, end))
            if data > start:
                yield Run(start, data, RunKind.ZERO)
            if data < end:
                start = min(end, self._seek(data, os.SEEK_HOLE, end))
                yield Run(data, start, RunKind.DATA)
            else:
                start = end

    def _seek(self, position: int, whence: int, if_none: int) -> int:
        try:
            return os.lseek(self._file.descriptor, position, whence)
        except OSError as error:
            if error.errno == errno.ENXIO:  # only a hole from here to the file's end
                return if_none
            raise

    def read(self, start: int, end: int) -> bytes:
        """See `Layer`."""
        return self._file.read_exactly(start, end - start, "a part of its data")

    def close(self) -> None:
        """See `Layer`."""
        self._file.close()


def data_runs(layers: Sequence[Layer], start: int, end: int) -> Iterator[tuple[Run, Layer]]:
    """The stretches of a chain, top layer first, that hold data, with the layer to read from."""
    if not layers:
        return
    top, *below = layers
    for run in top.runs(start, min(end, top.capacity_bytes)):
        if run.kind is RunKind.DATA:
            yield run, top
        elif run.kind is RunKind.BELOW:
            yield from data_runs(below, run.start, run.end)


def flattened(
    layers: Sequence[Layer], progress: Progress | None = None, cancelled: Cancelled | None = None
) -> Iterator[tuple[int, bytes]]:
    """The data of a chain, as (offset, up to a MiB of bytes) in ascending order.

    Raises:
        InvalidDisk: a layer turns out to be damaged.
        CopyCancelled: ``cancelled`` said so.
    """
    capacity_bytes = layers[0].capacity_bytes
    watch = Watch(capacity_bytes, progress, cancelled)
    watch.at(0)
    for run, layer in data_runs(layers, 0, capacity_bytes):
        for start in range(run.start, run.end, CHUNK_BYTES):
            end = min(run.end, start + CHUNK_BYTES)
            yield start, layer.read(start, end)
            watch.at(end)
    watch.at(capacity_bytes)
