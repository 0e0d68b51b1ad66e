"""VDI, VirtualBox's: dynamic or of full size, one file that stands alone.

See: VirtualBox, VDICore.h (the header's fields); QEMU, block/vdi.c.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from vmops.images.formats.layout import (
    Broken,
    Extent,
    Layout,
    Reader,
    checked_capacity,
    joined,
)  # fmt: skip

MAGIC = 0xBEDA107F
_MAGIC_AT = 64
_VERSION = 0x0001_0001
_KINDS = {1, 2}
"""Dynamic, of full size."""
_HEADER = struct.Struct("<III I I 256s II 4I I Q I I I I 16s 16s 16s 16s")
_NOT_THERE = 0xFFFF_FFFE
"""This and the next: a block of zeros."""
_BLOCK = 1024 * 1024
_LINKS = slice(-2, None)


@dataclass(frozen=True, slots=True)
class _Shape:
    map_at: int
    data_at: int
    blocks: int


def read(reader: Reader) -> Layout | None:
    """What the header says, None if it is another format.

    Raises:
        Broken: it is what differs from another file, or has what is not read here.
    """
    if reader.size < _MAGIC_AT + _HEADER.size:
        return None
    head = _HEADER.unpack(reader.bytes_at(_MAGIC_AT, _HEADER.size))
    if head[0] != MAGIC:
        return None
    version, kind, map_at, data_at = head[1], head[3], head[6], head[7]
    capacity, block, extra, blocks = head[13], head[14], head[15], head[16]
    if version != _VERSION:
        raise Broken(f"it has version {version >> 16}.{version & 0xFFFF} of VDI")
    if kind not in _KINDS or any(any(link) for link in head[_LINKS]):
        raise Broken("it is only what differs from another file; give an image that stands alone")
    if block != _BLOCK or extra:
        raise Broken(f"it claims blocks of {block} and {extra} bytes")
    checked_capacity(capacity)
    if blocks < -(-capacity // block):
        raise Broken(f"it claims {blocks} blocks for {capacity} bytes")
    shape = _Shape(map_at, data_at, -(-capacity // block))
    return Layout("vdi", capacity, lambda again: joined(_walk(again, shape)))


def _walk(reader: Reader, shape: _Shape) -> Iterator[Extent]:
    for number, block in enumerate(reader.numbers(shape.map_at, shape.blocks, 4, big=False)):
        if block < _NOT_THERE:
            yield Extent(number * _BLOCK, _BLOCK, shape.data_at + block * _BLOCK)
