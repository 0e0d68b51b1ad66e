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
from dataclasses import dataclass, replace
from typing import BinaryIO

from vmops.errors import ImageNotAcceptable
from vmops.images.vmdk_descriptor import BadDescriptor, Descriptor, read_descriptor
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
_MIN_GRAIN = 8
_MAX_GRAIN = 2048
_TABLE_ENTRIES = 512
_TABLE_BYTES = 4 * _TABLE_ENTRIES
_DIRECTORY_BLOCK = 16 * 1024
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


@dataclass(frozen=True, slots=True)
class SparseVmdk:
    """A VMDK in one file: its header and its descriptor, which agree."""

    header: SparseHeader
    descriptor: Descriptor


def check_whole(stream: BinaryIO, size: int, name: str) -> SparseVmdk:
    """A monolithicSparse or streamOptimized VMDK that holds all it claims to hold.

    The stream can seek and has ``size`` bytes; ``name`` is for the error.

    Raises:
        ImageNotAcceptable: the file is empty, has another format, is cut off, makes claims that
            its size cannot hold, names another file, or is only a descriptor.
    """
    with _telling(name):
        stream.seek(0)
        head = stream.read(SECTOR)
        header = _parse(head)
        _check_claims(header, size)
        stream.seek(header.descriptor_at * SECTOR)
        found = _described(header, stream.read(header.descriptor_size * SECTOR))
        directory_at = header.directory_at
        if directory_at == _GD_AT_END:
            footer = _footer(stream, size)
            directory_at = footer.directory_at
            if replace(footer, directory_at=_GD_AT_END) != header:
                raise _Broken("the header at its end is another one than that at its beginning")
        _check_grains(stream, size, header, directory_at)
        return found


def peek(stream: BinaryIO, size: int, name: str) -> SparseVmdk:
    """What the first sectors of a VMDK of ``size`` bytes say, as far as that can be checked.

    The stream is read on from where it is, which must be the VMDK's beginning.

    Raises:
        ImageNotAcceptable: they are none, or make claims that the size cannot hold.
    """
    with _telling(name):
        header = _parse(_exactly(stream, SECTOR))
        _check_claims(header, size)
        _exactly(stream, (header.descriptor_at - 1) * SECTOR)
        return _described(header, _exactly(stream, header.descriptor_size * SECTOR))


def _exactly(stream: BinaryIO, size: int) -> bytes:
    """As many bytes as there are, up to this many: networks give them in pieces."""
    blocks = []
    while size and (block := stream.read(size)):
        blocks.append(block)
        size -= len(block)
    return b"".join(blocks)


def _described(header: SparseHeader, content: bytes) -> SparseVmdk:
    descriptor = read_descriptor(content)
    if descriptor.is_streamed != header.is_streamed:
        raise _Broken("its descriptor and its header say different kinds")
    if descriptor.capacity != header.capacity:
        raise _Broken("its descriptor and its header say different sizes")
    return SparseVmdk(header, descriptor)


@contextlib.contextmanager
def _telling(name: str) -> Iterator[None]:
    try:
        yield
    except (_Broken, BadDescriptor, struct.error) as broken:
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
        f"it claims grains of {header.grain} sectors": _MIN_GRAIN <= header.grain <= _MAX_GRAIN
        and header.grain & (header.grain - 1) == 0,
        f"it claims grain tables of {header.tables_size} entries": header.tables_size
        == _TABLE_ENTRIES,
        "it has no descriptor within": 0 < header.descriptor_at <= _MAX_DESCRIPTOR
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


def _read_at(stream: BinaryIO, size: int, at: int, length: int) -> array[int]:
    if at + length > size:
        raise _Broken("it is cut off: a grain table lies behind its end")
    stream.seek(at)
    return array("I", stream.read(length))


def _check_grains(stream: BinaryIO, size: int, header: SparseHeader, directory_at: int) -> None:
    """Every grain that the tables name lies in the file; the last one is looked into.

    No table is read twice, so that this takes no longer than reading the file does.
    """
    tables = -(-header.capacity // (header.grain * header.tables_size))
    begin, end = directory_at * SECTOR, directory_at * SECTOR + tables * 4
    seen = bytearray(size // SECTOR // 8 + 1)
    last = 0
    if end > size:
        raise _Broken("it is cut off: its grain directory lies behind its end")
    for at in range(begin, end, _DIRECTORY_BLOCK):
        for table_at in _read_at(stream, size, at, min(_DIRECTORY_BLOCK, end - at)):
            if table_at <= 1:  # 0: no table; 1: a table of zeros
                continue
            entries = _read_at(stream, size, table_at * SECTOR, _TABLE_BYTES)
            if seen[table_at // 8] >> table_at % 8 & 1:
                raise _Broken("its directory names one grain table twice")
            seen[table_at // 8] |= 1 << table_at % 8
            last = max(last, *entries)
    if last > 1:
        _check_last(stream, size, header, last)


def _check_last(stream: BinaryIO, size: int, header: SparseHeader, last: int) -> None:
    end = last * SECTOR
    if header.is_streamed and end < size:
        stream.seek(end)
        _, compressed = _GRAIN_MARKER.unpack(stream.read(_GRAIN_MARKER.size).ljust(12, b"\xff"))
        end += _GRAIN_MARKER.size + compressed
    else:
        end += header.grain * SECTOR
    if end > size:
        raise _Broken("it is cut off: grains that its tables name lie behind its end")
