"""VHDX, Microsoft's present format: fixed or dynamic, one file that stands alone.

One whose log has to be replayed first is refused: what the file has is not what the disk was.

See: Microsoft, [MS-VHDX].
"""

from __future__ import annotations

import struct
import uuid
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

MAGIC = b"vhdxfile"
_KIB, _MIB = 1024, 1024 * 1024
_HEADERS_AT = (64 * _KIB, 128 * _KIB)
_REGIONS_AT = (192 * _KIB, 256 * _KIB)
_HEADER = struct.Struct("<4sIQ16s16s16sHHIQ")
_REGIONS = struct.Struct("<4sIII")
_REGION = struct.Struct("<16sQII")
_METADATA = struct.Struct("<8sHH20s")
_ITEM = struct.Struct("<16sIII4s")
_MAX_ENTRIES = 2047
_BAT = uuid.UUID("2DC27766-F623-4200-9D64-115E9BFD4A08").bytes_le
_METADATA_REGION = uuid.UUID("8B7CA206-4790-4B9A-B8FE-575F050F886E").bytes_le
_FILE_PARAMETERS = uuid.UUID("CAA16737-FA36-4D43-B3B6-33F0AA44E76B").bytes_le
_SIZE = uuid.UUID("2FA54224-CD1B-4876-B211-5DBED83BF4B8").bytes_le
_SECTOR_SIZE = uuid.UUID("8141BF1D-A96F-4709-BA47-F233A8FAAB5F").bytes_le
_ITEM_BYTES = {_FILE_PARAMETERS: 8, _SIZE: 8, _SECTOR_SIZE: 4}
_HAS_PARENT = 2
_SECTORS = {512, 4096}
_CHUNK_SECTORS = 1 << 23
_FULL, _PARTLY = 6, 7


@dataclass(frozen=True, slots=True)
class _Shape:
    table_at: int
    blocks: int
    block: int
    ratio: int
    """After so many blocks the table has an entry that is about a bitmap."""


def read(reader: Reader) -> Layout | None:
    """What the headers say, None if it is another format.

    Raises:
        Broken: it is what differs from another file, or has what is not read here.
    """
    if reader.size < _MIB or reader.bytes_at(0, len(MAGIC)) != MAGIC:
        return None
    _check_log(reader)
    regions = _regions(reader)
    items = _items(reader, regions[_METADATA_REGION][0])
    block, flags = struct.unpack("<II", items[_FILE_PARAMETERS])
    capacity = checked_capacity(int.from_bytes(items[_SIZE], "little"))
    sector = int.from_bytes(items[_SECTOR_SIZE], "little")
    if flags & _HAS_PARENT:
        raise Broken("it is only what differs from another file; give an image that stands alone")
    if not _MIB <= block <= 256 * _MIB or block & (block - 1) or sector not in _SECTORS:
        raise Broken(f"it claims blocks of {block} bytes in sectors of {sector}")
    blocks, ratio = -(-capacity // block), _CHUNK_SECTORS * sector // block
    table_at, length = regions[_BAT]
    if (blocks + (blocks - 1) // ratio) * 8 > length:
        raise Broken(f"it has no room for {blocks} blocks in its table")
    shape = _Shape(table_at, blocks, block, ratio)
    return Layout("vhdx", capacity, lambda again: joined(_walk(again, shape)))


def _check_log(reader: Reader) -> None:
    """The header with the higher number counts; its log must be empty."""
    heads = [_HEADER.unpack(reader.bytes_at(at, _HEADER.size)) for at in _HEADERS_AT]
    sound = [head for head in heads if head[0] == b"head"]
    if not sound:
        raise Broken("its header is missing")
    _, _, _, _, _, log, _, version, *_ = max(sound, key=lambda head: int(head[2]))
    if any(log):
        raise Broken("it was not closed: its log has to be replayed first")
    if version != 1:
        raise Broken(f"it has version {version} of VHDX")


def _regions(reader: Reader) -> dict[bytes, tuple[int, int]]:
    found: dict[bytes, tuple[int, int]] = {}
    magic, _, count, _ = struct.unpack("<4sIII", reader.bytes_at(_REGIONS_AT[0], _REGIONS.size))
    if magic != b"regi" or count > _MAX_ENTRIES:
        raise Broken("its table of regions is damaged")
    content = reader.bytes_at(_REGIONS_AT[0] + _REGIONS.size, count * _REGION.size)
    for kind, offset, length, required in _REGION.iter_unpack(content):
        if kind in found or (required & 1 and kind not in {_BAT, _METADATA_REGION}):
            raise Broken("it has a region that is not known, or one twice")
        found[kind] = (offset, length)
    if not {_BAT, _METADATA_REGION} <= found.keys():
        raise Broken("it has no table of blocks")
    return found


def _items(reader: Reader, begin: int) -> dict[bytes, bytes]:
    magic, _, count, _ = _METADATA.unpack(reader.bytes_at(begin, _METADATA.size))
    if magic != b"metadata" or count > _MAX_ENTRIES:
        raise Broken("its metadata are damaged")
    found: dict[bytes, bytes] = {}
    content = reader.bytes_at(begin + _METADATA.size, count * _ITEM.size)
    for kind, offset, length, _, _ in _ITEM.iter_unpack(content):
        if kind not in _ITEM_BYTES:
            continue
        if kind in found or length != _ITEM_BYTES[kind]:
            raise Broken("its metadata say something twice, or not as they should")
        found[kind] = reader.bytes_at(begin + offset, length)
    if found.keys() != _ITEM_BYTES.keys():
        raise Broken("its metadata are not complete")
    return found


def _walk(reader: Reader, shape: _Shape) -> Iterator[Extent]:
    entries = shape.blocks + (shape.blocks - 1) // shape.ratio
    number = 0
    for index, entry in enumerate(reader.numbers(shape.table_at, entries, 8, big=False)):
        if index % (shape.ratio + 1) == shape.ratio:
            continue
        state = entry & 7
        if state == _PARTLY:
            raise Broken("it is only what differs from another file")
        if state == _FULL:
            yield Extent(number * shape.block, shape.block, (entry >> 20) * _MIB)
        number += 1
