"""The layers of a virtual machine's disks that are its own.

From each disk that the machine or a snapshot of it has, its own layers go down as long as the UUID
stays the same: a snapshot's layer keeps that of its disk. A linked clone's first layer has a UUID
of its own, so what is below it belongs to another machine.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from vmops.lab.machine.devices.disks import chain_of
from vmops.lab.machine.machine import Machine
from vmops.lab.machine.snapshots.disks import disks_of, held_disks, path_of_disk
from vmops.lab.storage.disks import DiskInfo, DiskStore
from vmops.lab.storage.errors import StorageError
from vmops.lab.storage.paths import DatastorePath


@dataclass(frozen=True, slots=True)
class OwnDisks:
    """The layers that are a machine's own: ``parents`` of each, and those in use as they are."""

    parents: Mapping[DatastorePath, DatastorePath | None]
    """Children come before their parents; None for the lowest layer and for a linked clone's."""
    needed: frozenset[DatastorePath]

    def children(self, path: DatastorePath) -> list[DatastorePath]:
        """Return the layers right above one."""
        return [child for child, parent in self.parents.items() if parent == path]

    def mergeable(self) -> Iterator[tuple[DatastorePath, DatastorePath]]:
        """Yield pairs of layers ``top`` and ``into``: all from the one to the other become one."""
        for into, below in self.parents.items():
            if not self._is_passing(into) or (below is not None and self._is_passing(below)):
                continue
            (top,) = self.children(into)
            while self._is_passing(top):
                (top,) = self.children(top)
            yield top, into

    def between(self, top: DatastorePath, into: DatastorePath) -> list[DatastorePath]:
        """Return the layers from ``top`` down to ``into``, both included."""
        found = [top]
        while found[-1] != into and (below := self.parents[found[-1]]) is not None:
            found.append(below)
        return found

    def _is_passing(self, path: DatastorePath) -> bool:
        return path not in self.needed and len(self.children(path)) == 1


async def own_disks(vm: Machine) -> OwnDisks:
    """Look at the files of all disks that the machine and its snapshots have."""
    needed = held_disks(vm.snapshots) | set(map(path_of_disk, disks_of(vm.devices)))
    parents = await vm.kernel.blocking(_parents, vm.store, needed)
    return OwnDisks(parents, frozenset(needed))


def _parents(
    store: DiskStore, tops: Iterable[DatastorePath]
) -> dict[DatastorePath, DatastorePath | None]:
    chains: list[list[DiskInfo]] = []
    found: dict[DatastorePath, DatastorePath | None] = {}
    by_depth: dict[DatastorePath, int] = {}
    for path in sorted(tops):
        try:
            chain = chain_of(store, path)
        except (StorageError, OSError):
            found[path], by_depth[path] = None, 0  # it is there in name, and left alone
            continue
        end = next((at for at, each in enumerate(chain) if each.uuid != chain[0].uuid), None)
        chains.append(chain[:end])
    # The longest first, so that no parent comes before a child.
    for chain in chains:
        for depth, info in enumerate(reversed(chain)):
            by_depth[info.path] = depth
            found[info.path] = info.parent if depth else None
    return {path: found[path] for path in sorted(found, key=lambda each: -by_depth[each])}
