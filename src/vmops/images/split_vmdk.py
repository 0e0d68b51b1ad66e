"""VMDKs whose descriptor is a file of its own: flat ones, and those in parts of two gigabytes.

The names in the descriptor are those of files beside it: no path, no link, no file twice. All are
open before any of them is read, and what was opened is what is used.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from vmops.errors import ImageNotAcceptable
from vmops.images.formats import Extent, Layout, vmdk_sparse
from vmops.images.formats.layout import SECTOR, Broken, Reader, checked_capacity
from vmops.images.formats.raw import data_in
from vmops.images.reading import reading
from vmops.images.vmdk_descriptor import Part, read_parts

_MAX_DESCRIPTOR = 1024 * 1024
_START = b"# disk descriptorfile"


@dataclass(frozen=True, slots=True)
class SplitVmdk:
    """A disk in several files, which are open."""

    capacity_bytes: int
    size_bytes: int
    parts: tuple[tuple[int, Layout, BinaryIO, int], ...]
    """Where each begins on the disk, how it is laid out, its file and that file's size."""

    def check(self) -> None:
        """Walk the tables of all parts; raises `Broken` where they are not sound."""
        for _, layout, stream, size in self.parts:
            layout.check(stream, size)

    def blocks(self) -> Iterator[tuple[int, bytes]]:
        """The disk's bytes, each block with where it goes; raises as `check`."""
        for begin, layout, stream, size in self.parts:
            for at, block in layout.blocks(stream, size):
                yield begin + at, block


@contextlib.contextmanager
def opened_parts(file: Path, stream: BinaryIO) -> Iterator[SplitVmdk | None]:
    """The disk that a descriptor file describes; None if the file is no such descriptor.

    Raises:
        ImageNotAcceptable: a file that it names is missing, a link, or not as it says.
    """
    stream.seek(0)
    content = stream.read(_MAX_DESCRIPTOR + 1)
    with contextlib.ExitStack() as held:
        with reading(file.name):
            is_one = content.lstrip()[: len(_START)].lower() == _START
            is_one = is_one and len(content) <= _MAX_DESCRIPTOR
            parts = read_parts(content) if is_one else None
            found = _open_all(held, file, parts) if parts else None
            if found is not None:
                found.check()
        yield found


def _open_all(held: contextlib.ExitStack, file: Path, parts: tuple[Part, ...]) -> SplitVmdk:
    folder = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    held.callback(os.close, folder)
    capacity = checked_capacity(sum(part.sectors for part in parts) * SECTOR)
    at, whole, found = 0, 0, []
    for part in parts:
        stream = held.enter_context(_opened(folder, part.name))
        size = os.fstat(stream.fileno()).st_size
        wanted = part.sectors * SECTOR
        make = _sparse if part.kind == "SPARSE" else _flat
        found.append((at, make(stream, size, wanted), stream, size))
        at, whole = at + wanted, whole + size
    return SplitVmdk(capacity, whole, tuple(found))


@contextlib.contextmanager
def _opened(folder: int, name: str) -> Iterator[BinaryIO]:
    try:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(name, flags, dir_fd=folder)
    except OSError as failure:
        why = "is not beside it" if isinstance(failure, FileNotFoundError) else failure.strerror
        raise ImageNotAcceptable(f"{name!r}, which the descriptor names, {why}.") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ImageNotAcceptable(f"{name!r}, which the descriptor names, is not a file.")
    with open(descriptor, "rb") as stream:  # noqa: PTH123 - it is a descriptor
        yield stream


def _flat(stream: BinaryIO, size: int, wanted: int) -> Layout:
    if size < wanted:
        raise Broken(f"it is cut off: a part of it has {size} bytes, not {wanted}")
    descriptor = stream.fileno()
    return Layout(
        "raw", wanted, lambda _: (Extent(at, e - at, at) for at, e in data_in(descriptor, wanted))
    )


def _sparse(stream: BinaryIO, size: int, wanted: int) -> Layout:
    return vmdk_sparse.read(Reader(stream, size), wanted)
