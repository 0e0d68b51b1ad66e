"""The snapshots of one virtual machine: values, changed only by making a new tree."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from vmops.lab.storage.paths import DatastorePath

if TYPE_CHECKING:
    from pyVmomi.vim.vm import ConfigInfo

DEEPEST = 32
"""Snapshots that may stand on each other; vSphere 8 Configuration Maximums, snapshots per chain."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """One snapshot, named by its ``uid``, which no later snapshot of its machine gets again."""

    uid: int
    parent: int | None
    name: str
    description: str
    created: datetime
    power_state: str
    """What the machine is after a revert; off for a snapshot without memory."""
    quiesced: bool
    config: ConfigInfo
    """The machine's ConfigInfo at that moment; its disks are read-only from then on."""
    data: DatastorePath
    """The .vmsn file, which holds that configuration."""
    memory: DatastorePath | None
    """The file of the guest's memory."""


@dataclass(frozen=True, slots=True)
class SnapshotTree:
    """All of them, oldest first; ``current`` is the one the machine now stands on."""

    snapshots: tuple[Snapshot, ...] = ()
    current: int | None = None
    last_uid: int = 0

    def get(self, uid: int) -> Snapshot:
        """Return the snapshot of that uid.

        Raises:
            KeyError: there is none.
        """
        for snapshot in self.snapshots:
            if snapshot.uid == uid:
                return snapshot
        raise KeyError(uid)

    def children(self, uid: int | None) -> tuple[Snapshot, ...]:
        """Return the snapshots that stand on another; on none for None."""
        return tuple(each for each in self.snapshots if each.parent == uid)

    def with_all_below(self, uid: int) -> frozenset[int]:
        """Return the uids of a snapshot and of all that stand on it."""
        found = {uid}
        for child in self.children(uid):
            found |= self.with_all_below(child.uid)
        return frozenset(found)

    def depth(self, uid: int | None) -> int:
        """Return how many snapshots a state on this one stands on."""
        depth = 0
        while uid is not None:
            depth, uid = depth + 1, self.get(uid).parent
        return depth

    def added(self, snapshot: Snapshot) -> SnapshotTree:
        """Return the tree after a snapshot was taken, which is the current one then."""
        uid = max(snapshot.uid, self.last_uid)
        return SnapshotTree((*self.snapshots, snapshot), snapshot.uid, uid)

    def without(self, uids: frozenset[int]) -> SnapshotTree:
        """Return the tree without some snapshots; what stood on them stands on what is left."""

        def kept_above(uid: int | None) -> int | None:
            while uid in uids:
                uid = self.get(uid).parent
            return uid

        left = tuple(
            replace(each, parent=kept_above(each.parent))
            for each in self.snapshots
            if each.uid not in uids
        )
        return SnapshotTree(left, kept_above(self.current), self.last_uid)

    def replaced(self, snapshot: Snapshot) -> SnapshotTree:
        """Return the tree with another snapshot of the same uid."""
        changed = tuple(snapshot if each.uid == snapshot.uid else each for each in self.snapshots)
        return replace(self, snapshots=changed)

    def standing_on(self, uid: int) -> SnapshotTree:
        """Return the tree after a revert."""
        return replace(self, current=uid)
