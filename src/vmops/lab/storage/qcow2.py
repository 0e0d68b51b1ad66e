"""Snapshot deltas: files in QEMU's qcow2 format, version 3, without any file name in their header.

What lies below a delta says the VMDK descriptor beside it, and QEMU is told so on its command
line. A header that names a backing or a data file was not written by this lab and is refused: the
named file could be any of this machine (CVE-2024-32498).

See: QEMU, docs/interop/qcow2.txt.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator

from vmops.lab.storage.descriptor import LARGEST_CAPACITY, SECTOR
from vmops.lab.storage.errors import InvalidDisk
from vmops.lab.storage.layers import DiskFile, Run, RunKind
from vmops.lab.storage.writing import write_all

MAGIC = b"QFI\xfb"
_HEADER = struct.Struct(">4sIQIIQIIQQIIQQQQII")
"""magic, version, backing offset and length, cluster bits, size, encryption, L1 entries and
offset, refcount table offset and clusters, snapshots and their offset, three feature sets,
refcount order, header length."""
_CLUSTER_BITS = 16
CLUSTER_BYTES = 1 << _CLUSTER_BITS
"""Of the files written here."""
_REFCOUNT_ORDER = 4  # 16 bits
_SMALLEST_CLUSTER_BITS, _LARGEST_CLUSTER_BITS = 9, 21
_LARGEST_L1_BYTES = 32 * 1024**2  # QEMU's own limit
_DIRTY, _KNOWN_COMPRESSION = 1 << 0, 1 << 3
_OFFSET_MASK = 0x00FF_FFFF_FFFF_FE00
_COMPRESSED = 1 << 62
_ZERO = 1
_TOO_MUCH = "its tables refer to more data than the file holds"


def create_empty(descriptor: int, capacity_bytes: int) -> None:
    """Write a qcow2 file in which nothing is allocated into an empty, open file.

    Its layout: header, refcount table, refcount block, L1 table, one cluster for each but the
    last, which has as many as the size needs (at 62 TiB sixteen).
    """
    l1_entries = max(1, -(-capacity_bytes // (CLUSTER_BYTES * (CLUSTER_BYTES // 8))))
    l1_clusters = -(-l1_entries * 8 // CLUSTER_BYTES)
    clusters = 3 + l1_clusters
    write_all(descriptor, 0, header(capacity_bytes, l1_entries, 3 * CLUSTER_BYTES, 1))
    write_all(descriptor, CLUSTER_BYTES, struct.pack(">Q", 2 * CLUSTER_BYTES))
    write_all(descriptor, 2 * CLUSTER_BYTES, struct.pack(">H", 1) * clusters)
    os.ftruncate(descriptor, clusters * CLUSTER_BYTES)


def header(
    capacity_bytes: int, l1_entries: int, l1_offset: int, refcount_table_clusters: int
) -> bytes:
    """Return the header of a delta whose refcount table is at the second cluster."""
    return _HEADER.pack(
        MAGIC, 3, 0, 0, _CLUSTER_BITS, capacity_bytes, 0, l1_entries, l1_offset,
        CLUSTER_BYTES, refcount_table_clusters, 0, 0, 0, 0, 0, _REFCOUNT_ORDER, _HEADER.size,
    )  # fmt: skip


class Qcow2Layer:
    """A delta, open for reading: what is not allocated in it lies below."""

    def __init__(self, file: DiskFile) -> None:
        """Take over ``file`` and check its header.

        Raises:
            InvalidDisk: it is no qcow2 file this lab would have written or a guest grown.
        """
        self._file = file
        try:
            self._read_header()
        except BaseException:
            file.close()
            raise
        # No cluster is used twice, so there is no more data than the file has; the last cluster
        # need not be there to its end. That holds for each time the disk is read.
        self._most_data = file.size_bytes + self._cluster
        self._data_left = self._most_data
        self._read_to = 0
        self._l2_index = -1
        self._l2: tuple[int, ...] = ()

    def _read_header(self) -> None:
        raw = self._file.read_exactly(0, _HEADER.size, "its header")
        fields = _HEADER.unpack(raw)
        magic, version, _, name_length, bits, size, encryption, l1_entries, l1_offset = fields[:9]
        incompatible = fields[13]
        if magic != MAGIC or version != 3:
            self._refuse("it is not a snapshot delta of this lab")
        # A name of no length is what QEMU writes where it is told to write none.
        if name_length or incompatible & ~(_DIRTY | _KNOWN_COMPRESSION) or encryption:
            self._refuse("it refers to another file or uses features a delta must not use")
        if not 0 < size <= LARGEST_CAPACITY or size % SECTOR:
            self._refuse(f"it claims {size} bytes; a disk has whole sectors, up to 62 TiB")
        if not _SMALLEST_CLUSTER_BITS <= bits <= _LARGEST_CLUSTER_BITS:
            self._refuse("its cluster size is not usable")
        self.capacity_bytes: int = size
        self._cluster: int = 1 << bits
        self._l2_entries = self._cluster // 8
        self._l2_span = self._cluster * self._l2_entries
        self._l1_offset = l1_offset
        if l1_entries * 8 > _LARGEST_L1_BYTES or l1_entries * self._l2_span < size:
            self._refuse("its tables do not fit its size")
        if l1_offset + l1_entries * 8 > self._file.size_bytes:
            self._refuse("it is truncated: its tables are missing")

    def _refuse(self, reason: str) -> None:
        raise InvalidDisk(self._file.name, reason)

    def runs(self, start: int, end: int) -> Iterator[Run]:
        """See `layers.Layer`; neighbours of a kind are joined.

        Who asks for what lies before the last end begins to read the disk anew.

        Raises:
            InvalidDisk: the tables are damaged, or tell of more data than the file has.
        """
        if start < self._read_to:
            self._data_left = self._most_data
        self._read_to = end
        held: Run | None = None
        for run in self._cluster_runs(start, min(end, self.capacity_bytes)):
            if held is not None and held.kind is run.kind:
                held = Run(held.start, run.end, run.kind)
                continue
            if held is not None:
                yield held
            held = run
        if held is not None:
            yield held

    def _cluster_runs(self, start: int, end: int) -> Iterator[Run]:
        position = start
        for l2_index in self._used_l2(start, end):
            base = l2_index * self._l2_span
            if base > position:
                yield Run(position, base, RunKind.BELOW)
                position = base
            stop = min(end, base + self._l2_span)
            self._load_l2(l2_index)
            table = self._l2
            while position < stop:
                index = (position - base) // self._cluster
                cluster_end = min(stop, base + (index + 1) * self._cluster)
                kind = self._kind(table[index])
                if kind is RunKind.DATA:
                    self._data_left -= cluster_end - position
                    if self._data_left < 0:
                        self._refuse(_TOO_MUCH)
                yield Run(position, cluster_end, kind)
                position = cluster_end
        if position < end:
            yield Run(position, end, RunKind.BELOW)

    def _kind(self, entry: int) -> RunKind:
        if entry & _COMPRESSED:
            self._refuse("it holds compressed clusters, which a delta never does")
        if entry & _ZERO:
            return RunKind.ZERO
        return RunKind.DATA if entry & _OFFSET_MASK else RunKind.BELOW

    def _used_l2(self, start: int, end: int) -> Iterator[int]:
        first, last = start // self._l2_span, -(-end // self._l2_span)
        tables_left = self._file.size_bytes // self._cluster + 1
        for index in range(first, last):
            if self._l1_entry(index):
                tables_left -= 1
                if tables_left < 0:
                    self._refuse(_TOO_MUCH)
                yield index

    def _l1_entry(self, index: int) -> int:
        raw = self._file.read_exactly(self._l1_offset + index * 8, 8, "its L1 table")
        return int.from_bytes(raw, "big") & _OFFSET_MASK

    def _load_l2(self, index: int) -> None:
        if index != self._l2_index:
            raw = self._file.read_exactly(self._l1_entry(index), self._cluster, "an L2 table")
            self._l2 = struct.unpack(f">{self._l2_entries}Q", raw)
            self._l2_index = index

    def read(self, start: int, end: int) -> bytes:
        """See `layers.Layer`; clusters that follow each other in the file are read at once.

        What a cluster has beyond the file's end is zero, as for QEMU.
        """
        parts = []
        while start < end:
            offset = self._host_offset(start)
            stop = min(end, (start // self._cluster + 1) * self._cluster)
            while stop < end and self._host_offset(stop) == offset + stop - start:
                stop = min(end, stop + self._cluster)
            beyond = max(0, offset + stop - start - self._file.size_bytes)
            if beyond >= self._cluster:
                self._refuse("it is truncated: a part of its data is missing")
            length = stop - start - beyond
            data = self._file.read_exactly(offset, length, "a part of its data")
            parts.append(data + bytes(beyond))
            start = stop
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _host_offset(self, position: int) -> int:
        self._load_l2(position // self._l2_span)
        entry: int = self._l2[position % self._l2_span // self._cluster]
        return (entry & _OFFSET_MASK) + position % self._cluster

    def close(self) -> None:
        """See `layers.Layer`."""
        self._file.close()
