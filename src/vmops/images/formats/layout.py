"""Where in a file the bytes of a disk are, and how much of it may be looked at for that."""

from __future__ import annotations

import struct
import zlib
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from vmops import units

SECTOR = 512
MAX_CAPACITY = 62 * 1024 * units.GIB
"""vSphere's largest disk."""
_RATIO = 1100
"""Deflate makes at most 1032 bytes of one."""
_TABLES_BESIDES = 64 * units.KIB
_BLOCK = units.MIB
_ITEMS = {8: "Q", 4: "I"}


class Broken(Exception):
    """What is wrong with an image, without the file's name."""


@dataclass(frozen=True, slots=True)
class Extent:
    """``length`` bytes of the disk from ``at`` on, which are in the file from ``offset`` on.

    ``packed`` bytes there are those of a raw deflate stream; 0: they are as they are. What no
    extent has is zeros.
    """

    at: int
    length: int
    offset: int
    packed: int = 0


class Budget:
    """What may be read of a file: its bytes once as tables, and once as data.

    An image that names the same bytes again and again makes no more work than one of its size.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.tables = size + _TABLES_BESIDES
        self.plain = size
        self.packed = size * _RATIO

    def table(self, length: int) -> None:
        """Count what is read to find the data.

        Raises:
            Broken: it is more than the file has.
        """
        self.tables -= length
        if self.tables < 0:
            raise Broken("its tables name one another again and again")

    def data(self, extent: Extent) -> None:
        """Count data; raises as `table`, or because it is not in the file."""
        if extent.packed:
            self.packed -= extent.length
            end = extent.offset + 1  # its length is told in sectors, of which the last may be short
        else:
            self.plain -= extent.length
            end = extent.offset + extent.length
        if end > self.size:
            raise Broken("it is cut off: data that its tables name lie behind its end")
        if self.plain < 0 or self.packed < 0:
            raise Broken("its tables name the same data again and again")


class Reader:
    """Reads headers and tables of one file, as far as the budget goes."""

    def __init__(self, stream: BinaryIO, size: int) -> None:
        self._stream = stream
        self.size = size
        self.budget = Budget(size)

    def bytes_at(self, offset: int, length: int) -> bytes:
        """Bytes of the file.

        Raises:
            Broken: they are not in it, or it was read too often.
        """
        if offset < 0 or offset + length > self.size:
            raise Broken("it is cut off: a table lies behind its end")
        self.budget.table(length)
        self._stream.seek(offset)
        content = self._stream.read(length)
        if len(content) != length:
            raise Broken("it became shorter while it was read")
        return content

    def fields(self, layout: struct.Struct, offset: int) -> tuple[int, ...]:
        """The numbers of a structure; raises as `bytes_at`."""
        return layout.unpack(self.bytes_at(offset, layout.size))

    def numbers(self, offset: int, count: int, width: int, *, big: bool) -> array[int]:
        """A table of numbers of ``width`` bytes; raises as `bytes_at`."""
        found = array(_ITEMS[width], self.bytes_at(offset, count * width))
        if big != (struct.pack("=H", 1) == b"\0\1"):
            found.byteswap()
        return found


@dataclass(frozen=True, slots=True)
class Layout:
    """What a reader found. ``walk`` gives the extents in the order of the disk, from the tables.

    Walking raises `Broken` where they are not sound.
    """

    disk_format: str
    capacity_bytes: int
    walk: Callable[[Reader], Iterator[Extent]]
    needs_tool: bool = False
    """Whether its data are packed in a way that is not read here."""

    def check(self, stream: BinaryIO, size: int) -> int:
        """Walk all of it, reading no data; how many bytes of the disk there are in the file."""
        reader = Reader(stream, size)
        return sum(extent.length for extent in self._counted(reader))

    def blocks(self, stream: BinaryIO, size: int) -> Iterator[tuple[int, bytes]]:
        """The disk's bytes that the file has, each block with where it goes.

        Raises:
            Broken: the file is not sound.
        """
        for extent in self._counted(Reader(stream, size)):
            if extent.packed:
                stream.seek(extent.offset)
                yield extent.at, inflated(stream.read(extent.packed), extent.length)
                continue
            for begin in range(0, extent.length, _BLOCK):
                length = min(_BLOCK, extent.length - begin)
                stream.seek(extent.offset + begin)
                block = stream.read(length)
                if len(block) != length:
                    raise Broken("it became shorter while it was read")
                yield extent.at + begin, block

    def _counted(self, reader: Reader) -> Iterator[Extent]:
        """The extents, cut at the disk's end."""
        for extent in self.walk(reader):
            reader.budget.data(extent)
            over = extent.at + extent.length - self.capacity_bytes
            if over <= 0 or extent.packed:
                yield extent
            elif extent.length > over:
                yield Extent(extent.at, extent.length - over, extent.offset)


def inflated(packed: bytes, length: int) -> bytes:
    """So many bytes of a raw deflate stream.

    Raises:
        Broken: there are not as many, or it is no such stream.
    """
    try:
        block = zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, length)
    except zlib.error as failure:
        raise Broken(f"a compressed part of it is damaged ({failure})") from None
    if len(block) != length:
        raise Broken("a compressed part of it is damaged (it is too short)")
    return block


def joined(extents: Iterator[Extent]) -> Iterator[Extent]:
    """The same with neighbours made one, so that they are read in one go."""
    last: Extent | None = None
    for each in extents:
        if last is None:
            last = each
        elif (
            not (last.packed or each.packed)
            and last.at + last.length == each.at
            and last.offset + last.length == each.offset
        ):
            last = Extent(last.at, last.length + each.length, last.offset)
        else:
            yield last
            last = each
    if last is not None:
        yield last


def checked_capacity(capacity: int) -> int:
    """The same.

    Raises:
        Broken: no disk has so many bytes.
    """
    if not 0 < capacity <= MAX_CAPACITY:
        raise Broken(f"it claims a disk of {capacity} bytes")
    return capacity
