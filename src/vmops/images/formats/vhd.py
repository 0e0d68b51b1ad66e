"""VHD, Microsoft's older format: fixed or dynamic, one file that stands alone.

See: Microsoft, Virtual Hard Disk Image Format Specification 1.0.
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

MAGIC = b"conectix"
_FOOTER = struct.Struct(">8sIIQI4sI4sQQIII16sB")
_HEADER = struct.Struct(">8sQQIIII16s")
_HEADER_MAGIC = b"cxsparse"
_HEADER_BYTES = 1024
_FIXED, _DYNAMIC, _DIFFERENCING = 2, 3, 4
_NOT_THERE = 0xFFFF_FFFF
_MIN_BLOCK, _MAX_BLOCK = 64 * 1024, 256 * 1024 * 1024
_CHECKSUM_AT = 64
_HEADER_CHECKSUM_AT = 36


@dataclass(frozen=True, slots=True)
class _Shape:
    table_at: int
    blocks: int
    block: int

    @property
    def bitmap(self) -> int:
        """The bytes of a block's bitmap, which lies before it."""
        bits = self.block // SECTOR
        return -(-bits // (8 * SECTOR)) * SECTOR


def read(reader: Reader) -> Layout | None:
    """What the footer says, None if there is none.

    A dynamic one has a copy of it at its beginning, a fixed one nothing but the footer.

    Raises:
        Broken: it is what differs from another file, or has what is not read here.
    """
    if reader.size < 2 * SECTOR:
        return None
    at_start = reader.bytes_at(0, len(MAGIC)) == MAGIC
    end = reader.size - SECTOR
    if not at_start and reader.bytes_at(end, len(MAGIC)) != MAGIC:
        return None
    content = reader.bytes_at(0 if at_start else end, SECTOR)
    _check_sum(content, _CHECKSUM_AT)
    footer = _FOOTER.unpack_from(content)
    header_at, capacity, kind = footer[3], footer[9], footer[11]
    checked_capacity(capacity)
    if kind == _DIFFERENCING:
        raise Broken("it is only what differs from another file; give an image that stands alone")
    if kind == _FIXED and not at_start:
        if capacity > end:
            raise Broken(f"it is cut off: it claims {capacity} bytes")
        whole = Extent(0, capacity, 0)
        return Layout("vhd", capacity, lambda _: iter([whole]))
    if kind != _DYNAMIC or not at_start:
        raise Broken(f"it claims to be a VHD of kind {kind}")
    shape = _shape(reader, header_at, capacity)
    return Layout("vhd", capacity, lambda again: joined(_walk(again, shape)))


def _shape(reader: Reader, header_at: int, capacity: int) -> _Shape:
    content = reader.bytes_at(header_at, _HEADER_BYTES)
    magic, _, table_at, _, entries, block, _, parent = _HEADER.unpack_from(content)
    if magic != _HEADER_MAGIC:
        raise Broken("its second header is missing")
    _check_sum(content, _HEADER_CHECKSUM_AT)
    if any(parent):
        raise Broken("it names a parent; give an image that stands alone")
    if not _MIN_BLOCK <= block <= _MAX_BLOCK or block & (block - 1):
        raise Broken(f"it claims blocks of {block} bytes")
    blocks = -(-capacity // block)
    if entries < blocks:
        raise Broken(f"it claims {entries} blocks for {capacity} bytes")
    return _Shape(table_at, blocks, block)


def _check_sum(content: bytes, at: int) -> None:
    (told,) = struct.unpack_from(">I", content, at)
    counted = ~(sum(content) - sum(content[at : at + 4])) & 0xFFFF_FFFF
    if told != counted:
        raise Broken("its header is damaged (its checksum is wrong)")


def _walk(reader: Reader, shape: _Shape) -> Iterator[Extent]:
    """Whole blocks: sectors that a bitmap does not count are zeros in what writers leave."""
    for number, sector in enumerate(reader.numbers(shape.table_at, shape.blocks, 4, big=True)):
        if sector != _NOT_THERE:
            offset = sector * SECTOR + shape.bitmap
            yield Extent(number * shape.block, shape.block, offset)
