"""The disks of a clone: copies, or layers over the disks of a snapshot."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vmops.lab.inventory.file_faults import storage_faults
from vmops.lab.machine.devices.disks import chain_of
from vmops.lab.storage.descriptor import fresh_uuid
from vmops.lab.storage.disks import DiskInfo, DiskStore, Provisioning
from vmops.lab.storage.errors import StorageError
from vmops.lab.storage.paths import DatastorePath
from vmops.lab.storage.relocating import Watched, bring_link

if TYPE_CHECKING:
    from pyVmomi.vim.vm.device import VirtualDisk

NEW_CHILD = "createNewChildDiskBacking"
CHILD_ONLY = "moveChildMostDiskBacking"
WHOLE = "moveAllDiskBackingsAndDisallowSharing"
MOVE_TYPES = (
    NEW_CHILD,
    CHILD_ONLY,
    WHOLE,
    "moveAllDiskBackingsAndAllowSharing",
    "moveAllDiskBackingsAndConsolidate",
)
"""The last three all give a clone a single flat file with all of the disk's content."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskClone:
    """One disk of a clone: of which device, from where, to where, and how."""

    key: int
    source: DatastorePath
    target: DatastorePath
    move_type: str
    provisioning: Provisioning | None


@dataclass(slots=True)
class ClonedDisks:
    """Disks being made for a clone; ``made`` gives the chain of each by device key."""

    store: DiskStore
    wanted: Sequence[DiskClone]
    made: dict[int, list[DiskInfo]] = field(default_factory=dict)
    _folders: list[DatastorePath] = field(default_factory=list)

    def make(self, progress: Callable[[int], None], cancelled: Callable[[], bool]) -> None:
        """Make all of them, or none. Blocking.

        Raises:
            vim.fault.FileFault or one below it: a disk could not be read or made.
            vmodl.fault.RequestCanceled: ``cancelled`` said so.
        """
        try:
            for number, disk in enumerate(self.wanted):

                def show(percent: int, before: int = number) -> None:
                    progress((before * 100 + percent) // len(self.wanted))

                with storage_faults(disk.source):
                    self._make_folder(disk.target.parent)
                    self._make(disk, Watched(progress=show, cancelled=cancelled))
        except BaseException:
            self.undo()
            raise

    def _make(self, disk: DiskClone, watched: Watched) -> None:
        store = self.store
        chain = chain_of(store, disk.source)
        if disk.move_type == NEW_CHILD:
            store.create_child(disk.target, disk.source, new_uuid=True)
        elif disk.move_type == CHILD_ONLY and len(chain) > 1:
            below = chain[1].path
            bring_link(
                store.volumes, disk.source, disk.target, parent=below, stays=True, watched=watched
            )
        else:
            store.copy(
                disk.source,
                disk.target,
                provisioning=disk.provisioning or chain[-1].provisioning,
                progress=watched.progress,
                cancelled=watched.cancelled,
            )
        try:
            if disk.move_type == CHILD_ONLY and len(chain) > 1:
                store.set_uuid(disk.target, fresh_uuid())  # it is another disk from here on
            self.made[disk.key] = chain_of(store, disk.target)
        except BaseException:
            store.delete(disk.target)
            raise

    def _make_folder(self, folder: DatastorePath) -> None:
        with suppress(FileExistsError):
            self.store.volumes.resolve(folder).mkdir()
            self._folders.append(folder)

    def undo(self) -> None:
        """Delete what was made. Blocking."""
        for chain in self.made.values():
            with suppress(StorageError, OSError):
                self.store.delete(chain[0].path)
        self.made.clear()
        for folder in self._folders:
            with suppress(OSError):
                self.store.volumes.resolve(folder).rmdir()
        self._folders.clear()


def disk_targets(
    vmx: DatastorePath, disks: Sequence[VirtualDisk], datastores: dict[int, str]
) -> dict[int, DatastorePath]:
    """Name the disks of a clone like the machine, ``web.vmdk``, ``web_1.vmdk``, by device key.

    ``datastores`` gives the datastore of each disk. One that is not the machine's has the disk in
    a folder of the same name there.
    """
    stem = vmx.name.rpartition(".")[0]
    targets = {}
    for number, disk in enumerate(disks):
        name = f"{stem}_{number}.vmdk" if number else f"{stem}.vmdk"
        targets[disk.key] = DatastorePath(datastores[disk.key], vmx.parent.path).joined(name)
    return targets
