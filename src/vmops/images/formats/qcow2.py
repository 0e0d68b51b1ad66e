"""qcow2, versions 2 and 3, compressed or not: one file, which stands alone.

See: QEMU, docs/interop/qcow2.txt.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from vmops.images.formats.layout import (
    SECTOR,
    Broken,
    Extent,
    Layout,
    Reader,
    checked_capacity,
    joined,
)  # fmt: skip

MAGIC = b"QFI\xfb"
_HEADER = struct.Struct(">4sIQIIQIIQQIIQ")
_FEATURES = struct.Struct(">QQQII")
_V2_LENGTH, _V3_LENGTH = 72, 104
_CLUSTER_BITS = range(9, 22)
_DIRTY, _CORRUPT, _DATA_FILE, _COMPRESSION = 1, 2, 4, 8
_OFFSET = 0x00FF_FFFF_FFFF_FE00
_COMPRESSED = 1 << 62
_ZERO = 1
_DEFLATE, _ZSTD = 0, 1
_MAX_HEADER = 64 * 1024
_MAX_L1 = 32 * 1024 * 1024 // 8
"""QEMU's own limit."""


@dataclass(frozen=True, slots=True)
class _Shape:
    capacity: int
    cluster_bits: int
    l1_at: int
    l1_entries: int

    @property
    def cluster(self) -> int:
        return 1 << self.cluster_bits


def read(reader: Reader) -> Layout | None:
    """What the header says, None if it is another format.

    Raises:
        Broken: it names another file, or has what is not read here.
    """
    if reader.size < _V2_LENGTH or reader.bytes_at(0, 4) != MAGIC:
        return None
    head = _HEADER.unpack(reader.bytes_at(0, _HEADER.size))
    _, version, backing_at, backing_size, bits, capacity, crypt, l1_entries, l1_at, *_ = head
    if version not in {2, 3}:
        raise Broken(f"it has version {version} of qcow2")
    if backing_at or backing_size:
        raise Broken("it names a backing file; give an image that stands alone")
    if crypt:
        raise Broken("it is encrypted")
    if bits not in _CLUSTER_BITS:
        raise Broken(f"it claims clusters of 2^{bits} bytes")
    needs_tool = version == 3 and _is_zstd(reader)
    shape = _Shape(checked_capacity(capacity), bits, l1_at, l1_entries)
    covered = shape.cluster * (shape.cluster // 8)
    needed = -(-capacity // covered)
    if l1_entries > _MAX_L1 or l1_entries < needed:
        raise Broken(f"it claims a table of {l1_entries} entries for {capacity} bytes")
    if l1_at % shape.cluster:
        raise Broken("its first table begins within a cluster")
    return Layout("qcow2", capacity, lambda again: joined(_walk(again, shape)), needs_tool)


def _is_zstd(reader: Reader) -> bool:
    """Whether compressed clusters are zstd's; refuses what is not known."""
    incompatible, _, _, _, length = reader.fields(_FEATURES, _V2_LENGTH)
    if not _V3_LENGTH <= length <= _MAX_HEADER:
        raise Broken(f"it claims a header of {length} bytes")
    if incompatible & _DATA_FILE:
        raise Broken("it names an external data file; give an image that stands alone")
    if incompatible & _CORRUPT:
        raise Broken("it is marked as corrupt; qemu-img check -r all may repair it")
    if rest := incompatible & ~(_DIRTY | _COMPRESSION):
        raise Broken(f"it has features that are not known ({rest:#x})")
    if not incompatible & _COMPRESSION:
        return False
    kind = reader.bytes_at(_V3_LENGTH, 1)[0] if length > _V3_LENGTH else _DEFLATE
    if kind not in {_DEFLATE, _ZSTD}:
        raise Broken(f"it is compressed in a way that is not known ({kind})")
    return kind == _ZSTD


def _walk(reader: Reader, shape: _Shape) -> Iterator[Extent]:
    """Extents in the disk's order. A compressed cluster's size is told in sectors, from its own."""
    cluster, per_table = shape.cluster, shape.cluster // 8
    covered = cluster * per_table
    count = -(-shape.capacity // covered)
    sector_bits = shape.cluster_bits - 8
    place = (1 << (62 - sector_bits)) - 1
    for number, l1 in enumerate(reader.numbers(shape.l1_at, count, 8, big=True)):
        if not (table_at := l1 & _OFFSET):
            continue
        if table_at % cluster:
            raise Broken("a table of it begins within a cluster")
        begin = number * covered
        clusters = min(per_table, -(-(shape.capacity - begin) // cluster))
        for index, entry in enumerate(reader.numbers(table_at, clusters, 8, big=True)):
            at = begin + index * cluster
            if entry & _COMPRESSED:
                offset = entry & place
                sectors = (entry >> (62 - sector_bits) & (1 << sector_bits) - 1) + 1
                yield Extent(at, cluster, offset, sectors * SECTOR - offset % SECTOR)
            elif entry & _ZERO or not (offset := entry & _OFFSET):
                continue
            elif offset % cluster:
                raise Broken("a cluster of it begins within another")
            else:
                yield Extent(at, cluster, offset)
