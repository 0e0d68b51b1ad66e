"""Writing streamOptimized VMDKs, front to back, as exports are.

The result has no directory in its header; that stands in the footer, behind the grains and the
tables, so nothing is ever written twice and the receiver may be a socket.

See: VMware, Virtual Disk Format 5.0, "Stream-Optimized Compressed Sparse Extents".
"""

from __future__ import annotations

import os
import sys
import zlib
from array import array
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Self, TypeAlias

from vmops.lab.storage import sparse
from vmops.lab.storage.descriptor import SECTOR
from vmops.lab.storage.layers import CHUNK_BYTES

GRAIN_SECTORS = 128
GRAIN_BYTES = GRAIN_SECTORS * SECTOR
_SPAN_GRAINS = sparse.ENTRIES_PER_TABLE
_DESCRIPTOR_SECTORS = 20
_OVERHEAD_SECTORS = 128
_END, _TABLE, _DIRECTORY, _FOOTER = 0, 1, 2, 3
_ZERO_GRAIN = bytes(GRAIN_BYTES)
_FASTEST = 1
_BATCH = 16  # grains that a thread compresses at a time, a MiB
_THREADS = min(os.cpu_count() or 1, 4)
_BATCHES_AHEAD = 2 * _THREADS

Grain: TypeAlias = tuple[int, bytes]


class StreamWriter:
    """Takes a disk's data in ascending order and hands on the file's bytes, about a MiB a time.

    Compressing is the work, so it is done in threads; use in a ``with``, which ends them. In memory
    are the grains they have and the grain directory: 4 bytes for each 32 MiB of the disk.
    """

    def __init__(
        self, write: Callable[[bytes], None], capacity_bytes: int, descriptor: str
    ) -> None:
        """Begin the file; ``capacity_bytes`` is a multiple of 512."""
        self._write = write
        self._sectors = capacity_bytes // SECTOR
        self._grains = -(-capacity_bytes // GRAIN_BYTES)
        self._directory = array("I", bytes(4 * -(-self._grains // _SPAN_GRAINS)))
        self._table = array("I", bytes(4 * _SPAN_GRAINS))
        self._table_index = 0
        self._table_used = False
        self._grain = -1
        self._grain_data = bytearray(GRAIN_BYTES)
        self._batch: list[Grain] = []
        self._packing: deque[Future[list[Grain]]] = deque()
        self._threads = ThreadPoolExecutor(_THREADS, "vmdk-grains")
        self._pending = bytearray()
        self._written = 0
        text = descriptor.encode()
        if len(text) > _DESCRIPTOR_SECTORS * SECTOR:
            raise ValueError("the descriptor is too long for a sparse extent")
        self._put(self._header(sparse.DIRECTORY_AT_END))
        self._put(text)
        self._put(bytes(_OVERHEAD_SECTORS * SECTOR - self._position))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._threads.shutdown(cancel_futures=True)

    @property
    def _position(self) -> int:
        return self._written + len(self._pending)

    def add(self, offset: int, data: bytes) -> None:
        """Add the bytes at ``offset`` of the disk; offsets never go back."""
        done = 0
        while done < len(data):
            grain, within = divmod(offset + done, GRAIN_BYTES)
            count = min(len(data) - done, GRAIN_BYTES - within)
            if count == GRAIN_BYTES:
                self._finish_grain()
                self._put_grain(grain, data[done : done + count])
            else:
                if grain != self._grain:
                    self._finish_grain()
                    self._grain = grain
                self._grain_data[within : within + count] = data[done : done + count]
            done += count

    def finish(self) -> int:
        """Write tables, directory and footer; returns the file's length in bytes."""
        self._finish_grain()
        self._pack()
        self._take_packed(0)
        self._finish_table()
        length = len(self._directory) * 4
        sectors = -(-length // SECTOR)
        self._put_marker(sectors, _DIRECTORY)
        directory_sector = self._position // SECTOR
        self._put(_little_endian(self._directory))
        self._pad()
        self._put_marker(1, _FOOTER)
        self._put(self._header(directory_sector))
        self._put_marker(0, _END)
        self._hand_on()
        return self._written

    def _finish_grain(self) -> None:
        if self._grain >= 0:
            self._put_grain(self._grain, bytes(self._grain_data))
            self._grain_data[:] = _ZERO_GRAIN
            self._grain = -1

    def _put_grain(self, grain: int, data: bytes) -> None:
        self._batch.append((grain, data))
        if len(self._batch) == _BATCH:
            self._pack()
            self._take_packed(_BATCHES_AHEAD)

    def _pack(self) -> None:
        batch, self._batch = self._batch, []
        self._packing.append(self._threads.submit(_packed, batch))

    def _take_packed(self, ahead: int) -> None:
        """Put what was compressed into the stream, in order, until so many batches are left."""
        while len(self._packing) > ahead:
            for grain, packed in self._packing.popleft().result():
                self._put_packed(grain, packed)

    def _put_packed(self, grain: int, packed: bytes) -> None:
        table_index, entry = divmod(grain, _SPAN_GRAINS)
        if table_index != self._table_index:
            self._finish_table()
            self._table_index = table_index
        sector = self._position // SECTOR
        if sector > 0xFFFFFFFF:
            raise ValueError("a sparse extent ends at 2 TiB")
        self._table[entry] = sector
        self._table_used = True
        self._put(sparse.GRAIN_MARKER.pack(grain * GRAIN_SECTORS, len(packed)))
        self._put(packed)
        self._pad()
        if len(self._pending) >= CHUNK_BYTES:
            self._hand_on()

    def _finish_table(self) -> None:
        if not self._table_used:
            return
        self._put_marker(len(self._table) * 4 // SECTOR, _TABLE)
        self._directory[self._table_index] = self._position // SECTOR
        self._put(_little_endian(self._table))
        self._table = array("I", bytes(4 * _SPAN_GRAINS))
        self._table_used = False

    def _put_marker(self, sectors: int, kind: int) -> None:
        marker = sectors.to_bytes(8, "little") + bytes(4) + kind.to_bytes(4, "little")
        self._put(marker.ljust(SECTOR, b"\0"))

    def _header(self, directory_sector: int) -> bytes:
        flags = sparse.FLAG_LINE_ENDS | sparse.FLAG_COMPRESSED | sparse.FLAG_MARKERS
        return sparse.HEADER.pack(
            sparse.MAGIC,
            3,
            flags,
            self._sectors,
            GRAIN_SECTORS,
            1,
            _DESCRIPTOR_SECTORS,
            sparse.ENTRIES_PER_TABLE,
            0,
            directory_sector,
            _OVERHEAD_SECTORS,
            0,
            *sparse.LINE_ENDS,
            sparse.DEFLATE,
        ).ljust(SECTOR, b"\0")

    def _put(self, data: bytes) -> None:
        self._pending += data

    def _pad(self) -> None:
        self._pending += bytes(-self._position % SECTOR)

    def _hand_on(self) -> None:
        data = bytes(self._pending)
        self._pending.clear()
        self._written += len(data)
        self._write(data)


def _packed(grains: Sequence[Grain]) -> list[Grain]:
    """Those that are not all zeros, compressed."""
    return [(grain, zlib.compress(data, _FASTEST)) for grain, data in grains if data != _ZERO_GRAIN]


def _little_endian(words: array[int]) -> bytes:
    if sys.byteorder == "big":
        words = array("I", words)
        words.byteswap()
    return words.tobytes()
