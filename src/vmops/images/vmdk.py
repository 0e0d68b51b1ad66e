"""What the header and the tables of a hosted sparse VMDK say, read without trusting them.

References:
    Virtual Disk Format 5.0 (VMware technical note): SparseExtentHeader, grain directory and tables,
    stream-optimized extents. Offsets in a VMDK count sectors of 512 bytes.
"""

from __future__ import annotations

import contextlib
import struct
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from vmops.errors import ImageNotAcceptable
from vmops.model.image import DiskType

MAGIC = b"KDMV"
DESCRIPTOR_START = b"# disk descriptorfile"
"""Compared in lower case."""
SECTOR = 512
_HEADER = struct.Struct("<4sIIQQQQIQQQ")
_GRAIN_MARKER = struct.Struct("<QI")
_FLAG_COMPRESSED = 1 << 16
_FLAG_MARKERS = 1 << 17
_GD_AT_END = 0xFFFF_FFFF_FFFF_FFFF
_MAX_CAPACITY = 62 * 1024**4 // SECTOR  # vSphere's largest disk
_MAX_DESCRIPTOR = 2048
_MAX_GRAIN = 2048
_FOOTER_SEARCH = 130
"""Writers may pad behind the end; a footer is looked for in this many last sectors."""


class _Broken(Exception):
    """What is wrong, without the file's name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SparseHeader:
    """A sparse extent's header."""

    version: int
    flags: int
    capacity: int
    grain: int
    descriptor_at: int
    descriptor_size: int
    tables_size: int
    directory_at: int
    overhead: int

    @property
    def is_streamed(self) -> bool:
        """Whether its grains are compressed and carry markers: streamOptimized."""
        return bool(self.flags & _FLAG_COMPRESSED) and bool(self.flags & _FLAG_MARKERS)

    @property
    def disk_type(self) -> DiskType:
        """What Glance calls it."""
        return DiskType.STREAM_OPTIMIZED if self.is_streamed else DiskType.SPARSE

    @property
    def capacity_bytes(self) -> int:
        """The size of the disk in it."""
        return self.capacity * SECTOR


def read_header(file: Path) -> SparseHeader:
    """The header of a monolithicSparse or streamOptimized VMDK that holds all it claims to hold.

    Raises:
        ImageNotAcceptable: the file is empty, has another format, is cut off, makes claims that
            its size cannot hold, or is only a descriptor.
    """
    with file.open("rb") as stream:
        return check_whole(stream, file.stat().st_size, file.name)


def check_whole(stream: BinaryIO, size: int, name: str) -> SparseHeader:
    """The same for a stream that can seek and has ``size`` bytes; ``name`` is for the error."""
    with _telling(name):
        stream.seek(0)
        header = _parse(stream.read(SECTOR))
        _check_claims(header, size)
        directory_at = header.directory_at
        if directory_at == _GD_AT_END:
            directory_at = _footer(stream, size).directory_at
        _check_grains(stream, size, header, directory_at)
        return header


def peek_header(head: bytes, size: int, name: str) -> SparseHeader:
    """The header in the first sector of a VMDK of ``size`` bytes, as far as that can be checked.

    Raises:
        ImageNotAcceptable: there is none, or it makes claims that the size cannot hold.
    """
    with _telling(name):
        header = _parse(head[:SECTOR])
        _check_claims(header, size)
        return header


@contextlib.contextmanager
def _telling(name: str) -> Iterator[None]:
    try:
        yield
    except (_Broken, struct.error) as broken:
        raise ImageNotAcceptable(f"{name} is not a usable VMDK: {broken}.") from None


def _parse(head: bytes) -> SparseHeader:
    if not head:
        raise _Broken("the file is empty")
    if head.lstrip().lower().startswith(DESCRIPTOR_START):
        raise _Broken(
            "it is only a descriptor, which names other files;"
            " give one that holds its data (qemu-img's subformat=streamOptimized)"
        )
    if head[:4] != MAGIC:
        raise _Broken("it does not start like one (no 'KDMV')")
    if len(head) < SECTOR:
        raise _Broken("it ends within its header")
    (
        _,
        version,
        flags,
        capacity,
        grain,
        descriptor_at,
        descriptor_size,
        tables_size,
        _,
        directory_at,
        overhead,
    ) = _HEADER.unpack_from(head)
    return SparseHeader(
        version=version,
        flags=flags,
        capacity=capacity,
        grain=grain,
        descriptor_at=descriptor_at,
        descriptor_size=descriptor_size,
        tables_size=tables_size,
        directory_at=directory_at,
        overhead=overhead,
    )


def _check_claims(header: SparseHeader, size: int) -> None:
    sound = {
        f"it has version {header.version}": header.version in {1, 2, 3},
        f"it claims a capacity of {header.capacity} sectors": 0 < header.capacity <= _MAX_CAPACITY,
        f"it claims grains of {header.grain} sectors": 0 < header.grain <= _MAX_GRAIN
        and header.grain & (header.grain - 1) == 0,
        f"it claims grain tables of {header.tables_size} entries": 0 < header.tables_size <= 4096,
        "it has no descriptor within": header.descriptor_at > 0
        and 0 < header.descriptor_size <= _MAX_DESCRIPTOR,
        "it is cut off before its descriptor ends": (
            (header.descriptor_at + header.descriptor_size) * SECTOR <= size
        ),
        "it is cut off: its metadata is longer than the file": header.overhead * SECTOR <= size,
    }
    for complaint, holds in sound.items():
        if not holds:
            raise _Broken(complaint)


def _footer(stream: BinaryIO, size: int) -> SparseHeader:
    """The copy of the header at the end of a stream, which knows where the directory is."""
    sectors = size // SECTOR
    for back in range(2, min(_FOOTER_SEARCH, sectors)):
        stream.seek((sectors - back) * SECTOR)
        head = stream.read(SECTOR)
        if head[:4] == MAGIC:
            return _parse(head)
    raise _Broken("it is cut off: the footer at its end is missing")


def _table(stream: BinaryIO, size: int, sector: int, entries: int) -> array[int]:
    if sector * SECTOR + entries * 4 > size:
        raise _Broken("it is cut off: a grain table lies behind its end")
    stream.seek(sector * SECTOR)
    return array("I", stream.read(entries * 4))


def _check_grains(stream: BinaryIO, size: int, header: SparseHeader, directory_at: int) -> None:
    """Every grain that the tables name lies in the file; the last one is looked into."""
    covered = header.grain * header.tables_size
    directory = _table(stream, size, directory_at, -(-header.capacity // covered))
    last = 0
    for table_at in directory:
        if table_at > 1:  # 0: no table; 1: a table of zeros
            last = max(last, *_table(stream, size, table_at, header.tables_size))
    if last <= 1:
        return
    end = last * SECTOR
    if header.is_streamed:
        stream.seek(end)
        _, compressed = _GRAIN_MARKER.unpack(stream.read(_GRAIN_MARKER.size).ljust(12, b"\xff"))
        end += _GRAIN_MARKER.size + compressed
    else:
        end += header.grain * SECTOR
    if end > size:
        raise _Broken("it is cut off: grains that its tables name lie behind its end")
