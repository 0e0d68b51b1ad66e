"""Sparse extents of VMDKs, with compressed grains or without, as where their bytes are.

`vmops.images.vmdk` says whether a VMDK is to be trusted; this reads one.

See: Virtual Disk Format 5.0 (VMware technical note).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from vmops.images.formats.layout import (
    SECTOR,
    Broken,
    Extent,
    Layout,
    Reader,
    checked_capacity,
    joined,
)  # fmt: skip

_HEADER = struct.Struct("<4sIIQQQQIQQQ")
_MARKER = struct.Struct("<QI")
_MAGIC = b"KDMV"
_ENTRIES = 512
_GRAINS = {1 << bits for bits in range(3, 12)}
_ZERO_TABLE = 1
_COMPRESSED = 1 << 16
_AT_END = 0xFFFF_FFFF_FFFF_FFFF
_ZLIB_HEAD, _ZLIB = 2, 0x78
_FOOTER_BACK = 1024


def read(reader: Reader, wanted: int | None = None) -> Layout:
    """An extent of ``wanted`` bytes; None: of as many as its header says.

    Raises:
        Broken: it is none, or a smaller one.
    """
    head = _header(reader, 0)
    if head[9] == _AT_END:
        head = _header(reader, reader.size - _FOOTER_BACK)
    _, version, flags, sectors, grain, _, _, entries, _, directory_at, _ = head
    capacity = checked_capacity(sectors * SECTOR)
    size = capacity if wanted is None else wanted
    if version not in {1, 2, 3} or capacity < size or grain not in _GRAINS or entries != _ENTRIES:
        raise Broken("a part of it is of another size than it should be, or of other tables")
    bytes_, packed = grain * SECTOR, bool(flags & _COMPRESSED)
    return Layout(
        "vmdk", size, lambda again: joined(_walk(again, directory_at, bytes_, size, packed=packed))
    )


def _header(reader: Reader, at: int) -> tuple[int, ...]:
    head = _HEADER.unpack(reader.bytes_at(at, _HEADER.size))
    if head[0] != _MAGIC:
        raise Broken("a part of it is not a sparse extent")
    return head


def _walk(
    reader: Reader, directory_at: int, grain: int, wanted: int, *, packed: bool
) -> Iterator[Extent]:
    covered = grain * _ENTRIES
    count = -(-wanted // covered)
    for number, table in enumerate(reader.numbers(directory_at * SECTOR, count, 4, big=False)):
        if table <= _ZERO_TABLE:
            continue
        begin = number * covered
        grains = min(_ENTRIES, -(-(wanted - begin) // grain))
        for index, place in enumerate(reader.numbers(table * SECTOR, grains, 4, big=False)):
            if place <= _ZERO_TABLE:
                continue
            at = begin + index * grain
            if packed:
                yield _packed(reader, at, grain, place * SECTOR)
            else:
                yield Extent(at, min(grain, wanted - at), place * SECTOR)


def _packed(reader: Reader, at: int, grain: int, offset: int) -> Extent:
    """A compressed grain: behind its marker is a zlib stream, which is deflate in a frame."""
    content = reader.bytes_at(offset, _MARKER.size + 1)
    _, length = _MARKER.unpack_from(content)
    if content[_MARKER.size] != _ZLIB or length <= _ZLIB_HEAD:
        raise Broken("a compressed part of it is damaged")
    return Extent(at, grain, offset + _MARKER.size + _ZLIB_HEAD, length - _ZLIB_HEAD)
