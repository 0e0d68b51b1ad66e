"""Disks that tasks are about to stand on, or to move, merge or delete: never both at once.

What the inventory says of a machine's disks is true between tasks. While one runs that makes a
disk over another, the inventory does not know of it yet; and one that takes a disk away may have
looked before. So each says here what it is at. All of it happens on the lab's event loop.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from vmops.lab.kernel.kernel import Kernel
from vmops.lab.storage.errors import FileInUse
from vmops.lab.storage.paths import DatastorePath


class DiskHolds:
    """Who is at what; see the module's text."""

    def __init__(self) -> None:
        self._stood_on: Counter[DatastorePath] = Counter()
        self._changing: Counter[DatastorePath] = Counter()

    @property
    def stood_on(self) -> frozenset[DatastorePath]:
        """Disks that a task is about to attach, or to make others over."""
        return frozenset(self._stood_on)

    @contextmanager
    def changing(self, disks: Iterable[DatastorePath]) -> Iterator[None]:
        """Move, merge or delete disks while the block lasts.

        Raises:
            FileInUse: somebody is about to stand on one.
        """
        held = tuple(disks)
        for path in held:
            if path in self._stood_on:
                raise FileInUse(path)
        self._changing.update(held)
        try:
            yield
        finally:
            _let_go(self._changing, held)


class Standing:
    """Disks that one task is about to stand on, until it is released."""

    def __init__(self, holds: DiskHolds) -> None:
        self._holds = holds
        self._held: list[DatastorePath] = []

    def add(self, disks: Iterable[DatastorePath]) -> None:
        """Hold disks too.

        Raises:
            FileInUse: one is being moved, merged or deleted.
        """
        wanted = list(disks)
        for path in wanted:
            if path in self._holds._changing:
                raise FileInUse(path)
        self._holds._stood_on.update(wanted)
        self._held += wanted

    def release(self) -> None:
        """Let go of all: they are in the inventory now, or nothing stands on them."""
        _let_go(self._holds._stood_on, self._held)
        self._held = []


def disk_holds(kernel: Kernel) -> DiskHolds:
    """Return the lab's one record, making it when it is first asked for."""
    try:
        return kernel.service(DiskHolds)
    except KeyError:
        kernel.provide(DiskHolds())
        return kernel.service(DiskHolds)


def _let_go(counts: Counter[DatastorePath], held: Iterable[DatastorePath]) -> None:
    counts.subtract(held)
    for path in [path for path, count in counts.items() if count <= 0]:
        del counts[path]
