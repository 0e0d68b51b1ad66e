"""A delta written as a whole, from what lies in several: front to back, nothing twice.

Its layout: header, refcount table, refcount blocks, L1 table, L2 tables, data.

See: QEMU, docs/interop/qcow2.txt.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from vmops.lab.storage.layers import Layer, Run, RunKind
from vmops.lab.storage.qcow2 import CLUSTER_BYTES, header
from vmops.lab.storage.writing import write_all

_L2_ENTRIES = CLUSTER_BYTES // 8
_REFCOUNTS_PER_BLOCK = CLUSTER_BYTES // 2
_COPIED = 1 << 63  # referred to once, so it may be written in place
_ZERO = 1
_AT_ONCE = 16 * CLUSTER_BYTES


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where each part begins, in clusters."""

    refcount_clusters: int
    block_clusters: int
    l1_entries: int
    l1_clusters: int
    l2_clusters: int
    data_clusters: int

    @property
    def first_block(self) -> int:
        return 1 + self.refcount_clusters

    @property
    def first_l1(self) -> int:
        return self.first_block + self.block_clusters

    @property
    def first_l2(self) -> int:
        return self.first_l1 + self.l1_clusters

    @property
    def first_data(self) -> int:
        return self.first_l2 + self.l2_clusters

    @property
    def clusters(self) -> int:
        return self.first_data + self.data_clusters


def write_delta(
    descriptor: int,
    capacity_bytes: int,
    runs: Callable[[], Iterable[tuple[Run, Layer]]],
    spend: Callable[[int], None],
) -> None:
    """Write a qcow2 file that holds the runs, DATA and ZERO, into an empty, open file.

    ``runs`` is called twice and gives them in ascending order, from cluster to cluster or to the
    disk's end.

    Raises:
        ValueError: a run does not begin or end with a cluster.
    """
    tables = _tables(runs(), capacity_bytes)
    data_clusters = sum(1 for table in tables.values() for entry in table.values() if not entry)
    layout = _lay_out(capacity_bytes, len(tables), data_clusters)
    spend(layout.clusters * CLUSTER_BYTES)
    position = layout.first_data
    for place, (index, table) in enumerate(tables.items()):
        entries = [0] * _L2_ENTRIES
        for cluster, entry in table.items():
            entries[cluster] = entry or (position * CLUSTER_BYTES | _COPIED)
            position += not entry
        offset = (layout.first_l2 + place) * CLUSTER_BYTES
        write_all(descriptor, offset, struct.pack(f">{_L2_ENTRIES}Q", *entries))
        entry_at = layout.first_l1 * CLUSTER_BYTES + index * 8
        write_all(descriptor, entry_at, struct.pack(">Q", offset | _COPIED))
    offset = layout.first_data * CLUSTER_BYTES
    for data in _data(runs()):
        write_all(descriptor, offset, data)
        offset += len(data)
    _write_refcounts(descriptor, layout)
    os.ftruncate(descriptor, layout.clusters * CLUSTER_BYTES)
    first_l1 = layout.first_l1 * CLUSTER_BYTES
    write_all(
        descriptor, 0, header(capacity_bytes, layout.l1_entries, first_l1, layout.refcount_clusters)
    )


def _tables(runs: Iterable[tuple[Run, Layer]], capacity_bytes: int) -> dict[int, dict[int, int]]:
    """The L2 tables by index: each cluster's entry, 0 for data that is yet to be placed."""
    tables: dict[int, dict[int, int]] = {}
    for run, _ in runs:
        if run.start % CLUSTER_BYTES or (run.end % CLUSTER_BYTES and run.end != capacity_bytes):
            raise ValueError("a run is not of whole clusters")
        for cluster in range(run.start // CLUSTER_BYTES, -(-run.end // CLUSTER_BYTES)):
            table = tables.setdefault(cluster // _L2_ENTRIES, {})
            table[cluster % _L2_ENTRIES] = _ZERO if run.kind is RunKind.ZERO else 0
    return tables


def _lay_out(capacity_bytes: int, l2_clusters: int, data_clusters: int) -> _Layout:
    l1_entries = max(1, -(-capacity_bytes // (CLUSTER_BYTES * _L2_ENTRIES)))
    l1_clusters = -(-l1_entries * 8 // CLUSTER_BYTES)
    blocks = refcounts = 1
    while True:
        layout = _Layout(refcounts, blocks, l1_entries, l1_clusters, l2_clusters, data_clusters)
        needed = -(-layout.clusters // _REFCOUNTS_PER_BLOCK)
        if needed <= blocks <= refcounts * _L2_ENTRIES:
            return layout
        blocks = max(blocks, needed)
        refcounts = -(-blocks // _L2_ENTRIES)


def _data(runs: Iterable[tuple[Run, Layer]]) -> Iterator[bytes]:
    for run, layer in runs:
        if run.kind is RunKind.DATA:
            for start in range(run.start, run.end, _AT_ONCE):
                data = layer.read(start, min(run.end, start + _AT_ONCE))
                yield data.ljust(-(-len(data) // CLUSTER_BYTES) * CLUSTER_BYTES, b"\0")


def _write_refcounts(descriptor: int, layout: _Layout) -> None:
    blocks = [(layout.first_block + n) * CLUSTER_BYTES for n in range(layout.block_clusters)]
    write_all(descriptor, CLUSTER_BYTES, struct.pack(f">{len(blocks)}Q", *blocks))
    ones = struct.pack(">H", 1) * layout.clusters
    write_all(descriptor, blocks[0], ones)
