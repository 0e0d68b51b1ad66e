"""Reading hosted sparse VMDKs: monolithicSparse, and streamOptimized with compressed grains.

The file is not trusted. All offsets must lie inside it, a grain decompresses to a grain and no
more, and the tables cannot refer to more grains than the file has room for: so the work is bound
by the file's size, whatever capacity it claims.

See: VMware, Virtual Disk Format 5.0, "Hosted Sparse Extents", "Stream-Optimized Compressed Sparse
Extents".
"""

from __future__ import annotations

import struct
import zlib
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, replace

from vmops.lab.storage.descriptor import (
    LARGEST_CAPACITY,
    LARGEST_DESCRIPTOR,
    NO_PARENT_CID,
    SECTOR,
    Descriptor,
    DescriptorError,
)
from vmops.lab.storage.errors import InvalidDisk
from vmops.lab.storage.layers import CHUNK_BYTES, DiskFile, Run, RunKind

MAGIC = b"KDMV"
HEADER = struct.Struct("<4sIIQQQQIQQQBccccH")
"""magic, version, flags, capacity, grain size, descriptor offset and size, entries per grain table,
redundant and real grain directory offset, overhead, unclean shutdown, four line ends, compression;
offsets and sizes in sectors."""
GRAIN_MARKER = struct.Struct("<QI")
"""First sector of the grain on the disk, bytes of compressed data that follow."""
LINE_ENDS = (b"\n", b" ", b"\r", b"\n")
ENTRIES_PER_TABLE = 512
DIRECTORY_AT_END = 0xFFFFFFFFFFFFFFFF
FLAG_LINE_ENDS, FLAG_ZERO_GRAINS = 1 << 0, 1 << 2
FLAG_COMPRESSED, FLAG_MARKERS = 1 << 16, 1 << 17
DEFLATE = 1
_KNOWN_FLAGS = FLAG_LINE_ENDS | 1 << 1 | FLAG_ZERO_GRAINS | FLAG_COMPRESSED | FLAG_MARKERS
_SMALLEST_GRAIN, _LARGEST_GRAIN = 8, CHUNK_BYTES // SECTOR
_TABLE_BYTES = ENTRIES_PER_TABLE * 4
_DIRECTORY_PIECE = 4096  # entries read at a time


@dataclass(frozen=True, slots=True, kw_only=True)
class SparseHeader:
    """What a sparse extent's header says; sizes and offsets in sectors."""

    flags: int
    capacity: int
    grain_size: int
    descriptor_offset: int
    descriptor_size: int
    directory_offset: int
    compression: int

    @property
    def is_compressed(self) -> bool:
        """Whether its grains are compressed, which makes it streamOptimized."""
        return bool(self.flags & FLAG_COMPRESSED)


def parse_header(raw: bytes) -> SparseHeader:
    """Read a header, or a footer, which is a copy of it.

    Raises:
        DescriptorError: it is none, or claims something that cannot be.
    """
    fields = HEADER.unpack(raw[: HEADER.size])
    magic, version, flags, capacity, grain_size, desc_offset, desc_size, entries = fields[:8]
    directory_offset, line_ends, compression = fields[9], fields[12:16], fields[16]
    if magic != MAGIC:
        raise DescriptorError("it is not a VMDK file")
    if version not in {1, 2, 3} or flags & ~_KNOWN_FLAGS & 0xFFFF0000:
        raise DescriptorError(f"its format version {version} with flags {flags:#x} is not known")
    if flags & FLAG_LINE_ENDS and line_ends != LINE_ENDS:
        raise DescriptorError("it was damaged by a transfer that changed line ends")
    if not 0 < capacity <= LARGEST_CAPACITY // SECTOR:
        raise DescriptorError(f"it claims {capacity} sectors; a disk has 1 sector to 62 TiB")
    if not _SMALLEST_GRAIN <= grain_size <= _LARGEST_GRAIN or grain_size & (grain_size - 1):
        raise DescriptorError(f"its grain size of {grain_size} sectors is not usable")
    if entries != ENTRIES_PER_TABLE:
        raise DescriptorError(f"its grain tables have {entries} entries instead of 512")
    if flags & FLAG_COMPRESSED and compression != DEFLATE:
        raise DescriptorError(f"its compression {compression} is not known")
    return SparseHeader(
        flags=flags,
        capacity=capacity,
        grain_size=grain_size,
        descriptor_offset=desc_offset,
        descriptor_size=desc_size,
        directory_offset=directory_offset,
        compression=compression,
    )


class SparseLayer:
    """A hosted sparse file, open for reading; it has nothing below it."""

    def __init__(self, file: DiskFile) -> None:
        """Take over ``file`` and check its header and descriptor.

        Raises:
            InvalidDisk: it is truncated, damaged, not a VMDK, or a part of a split or child disk.
        """
        self._file = file
        try:
            self._header = self._read_header()
            self.descriptor = self._read_descriptor()
            self._check_directory()
        except DescriptorError as error:
            file.close()
            raise InvalidDisk(file.name, str(error)) from error
        except BaseException:
            file.close()
            raise
        self.capacity_bytes = self._header.capacity * SECTOR
        self._grain_bytes = self._header.grain_size * SECTOR
        self._table_span = self._grain_bytes * ENTRIES_PER_TABLE
        self._table_index = -1
        self._table: array[int] = array("I")

    @property
    def is_compressed(self) -> bool:
        """Whether this is a streamOptimized file."""
        return self._header.is_compressed

    def _read_header(self) -> SparseHeader:
        header = parse_header(self._file.read_exactly(0, SECTOR, "its header"))
        if header.directory_offset != DIRECTORY_AT_END:
            return header
        # The footer, a corrected copy of the header, is the last sector but one.
        offset = self._file.size_bytes - 2 * SECTOR
        if offset < SECTOR or self._file.read_exactly(offset, 4, "its footer") != MAGIC:
            raise DescriptorError("it is truncated: its footer is missing")
        footer = parse_header(self._file.read_exactly(offset, SECTOR, "its footer"))
        if replace(footer, directory_offset=DIRECTORY_AT_END) != header:
            raise DescriptorError("its footer contradicts its header")
        return footer

    def _read_descriptor(self) -> Descriptor:
        size = self._header.descriptor_size * SECTOR
        if self._header.descriptor_offset == 0 or size == 0:
            raise DescriptorError("it is one part of a split disk: it has no descriptor")
        if size > LARGEST_DESCRIPTOR:
            raise DescriptorError("its descriptor is longer than 64 KiB")
        offset = self._header.descriptor_offset * SECTOR
        self._require_inside(offset, size, "its descriptor")
        raw = self._file.read_exactly(offset, size, "its descriptor")
        descriptor = Descriptor.parse(raw)
        if descriptor.create_type not in {"monolithicSparse", "streamOptimized"}:
            raise DescriptorError(f"its type {descriptor.create_type[:40]!a} is not supported")
        if descriptor.parent_hint is not None or descriptor.parent_cid != NO_PARENT_CID:
            raise DescriptorError("it is the child of another disk")
        if len(descriptor.extents) != 1 or descriptor.extents[0].kind != "SPARSE":
            raise DescriptorError("its descriptor must list one sparse extent, itself")
        return descriptor

    def _check_directory(self) -> None:
        span = self._header.grain_size * ENTRIES_PER_TABLE
        tables = -(-self._header.capacity // span)
        offset = self._header.directory_offset * SECTOR
        if offset == 0:
            raise DescriptorError("it has no grain directory")
        self._require_inside(offset, tables * 4, "its grain directory")

    def _require_inside(self, offset: int, length: int, what: str) -> None:
        if offset + length > self._file.size_bytes:
            raise DescriptorError(f"it is truncated: {what} lies beyond its end")

    def runs(self, start: int, end: int) -> Iterator[Run]:
        """See `layers.Layer`; nothing is below, so all that is not data is zero."""
        position = start
        grains_left = self._file.size_bytes // self._smallest_stored_grain()
        tables_left = self._file.size_bytes // _TABLE_BYTES
        for table_index in self._used_tables(start, end):
            tables_left -= 1
            self._load_table(table_index)
            base = table_index * self._table_span
            for index, entry in enumerate(self._table):
                grain_start = base + index * self._grain_bytes
                grain_end = min(end, grain_start + self._grain_bytes)
                if self._is_zero(entry) or grain_end <= position or grain_start >= end:
                    continue
                grains_left -= 1
                if grains_left < 0 or tables_left < 0:
                    raise InvalidDisk(
                        self._file.name, "its tables refer to more data than the file holds"
                    )
                if grain_start > position:
                    yield Run(position, grain_start, RunKind.ZERO)
                    position = grain_start
                yield Run(position, grain_end, RunKind.DATA)
                position = grain_end
        if position < end:
            yield Run(position, end, RunKind.ZERO)

    def _smallest_stored_grain(self) -> int:
        # A compressed grain takes a sector at the least. The last grain may be cut, hence the -1.
        return SECTOR if self.is_compressed else max(SECTOR, self._grain_bytes // 2)

    def _used_tables(self, start: int, end: int) -> Iterator[int]:
        first, last = start // self._table_span, -(-end // self._table_span)
        offset = self._header.directory_offset * SECTOR
        for piece in range(first, last, _DIRECTORY_PIECE):
            count = min(_DIRECTORY_PIECE, last - piece)
            raw = self._file.read_exactly(offset + piece * 4, count * 4, "its grain directory")
            if raw.strip(b"\0"):
                for index, sector in enumerate(_words(raw), piece):
                    if sector:
                        yield index

    def _load_table(self, table_index: int) -> None:
        if table_index == self._table_index:
            return
        at = self._header.directory_offset * SECTOR + table_index * 4
        sector = _words(self._file.read_exactly(at, 4, "its grain directory"))[0]
        raw = self._file.read_exactly(sector * SECTOR, _TABLE_BYTES, "a grain table")
        self._table, self._table_index = _words(raw), table_index

    def _is_zero(self, entry: int) -> bool:
        return entry == 0 or (entry == 1 and bool(self._header.flags & FLAG_ZERO_GRAINS))

    def read(self, start: int, end: int) -> bytes:
        """See `layers.Layer`."""
        parts = []
        while start < end:
            grain = start // self._grain_bytes
            within = start - grain * self._grain_bytes
            stop = min(end, (grain + 1) * self._grain_bytes)
            parts.append(self._grain(grain)[within : within + stop - start])
            start = stop
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _grain(self, grain: int) -> bytes:
        self._load_table(grain // ENTRIES_PER_TABLE)
        offset = self._table[grain % ENTRIES_PER_TABLE] * SECTOR
        size = min(self._grain_bytes, self.capacity_bytes - grain * self._grain_bytes)
        if not self.is_compressed:
            return self._file.read_exactly(offset, size, "a part of its data")
        return self._decompressed(grain, offset, size)

    def _decompressed(self, grain: int, offset: int, size: int) -> bytes:
        # Incompressible data grows by deflate's framing, never by more than this.
        longest = self._grain_bytes + self._grain_bytes // 64 + 64
        if self._header.flags & FLAG_MARKERS:
            marker = self._file.read_exactly(offset, GRAIN_MARKER.size, "a part of its data")
            sector, length = GRAIN_MARKER.unpack(marker)
            if sector != grain * self._header.grain_size or not 0 < length <= longest:
                raise InvalidDisk(
                    self._file.name, "it is damaged: a grain is not where it should be"
                )
            offset += GRAIN_MARKER.size
        else:
            length = min(longest, self._file.size_bytes - offset)
        packed = self._file.read_exactly(offset, length, "a part of its data")
        inflater = zlib.decompressobj()
        try:
            data = inflater.decompress(packed, self._grain_bytes + 1)
        except zlib.error as error:
            raise InvalidDisk(
                self._file.name, "it is damaged: a grain cannot be unpacked"
            ) from error
        if not size <= len(data) <= self._grain_bytes or not inflater.eof:
            raise InvalidDisk(self._file.name, "it is damaged: a grain has the wrong size")
        return data[:size]

    def close(self) -> None:
        """See `layers.Layer`."""
        self._file.close()


def _words(raw: bytes) -> array[int]:
    """Little-endian 32-bit numbers."""
    words = array("I", raw)
    if struct.pack("=I", 1) != struct.pack("<I", 1):
        words.byteswap()
    return words
