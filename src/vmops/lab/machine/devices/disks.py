"""Disks of a virtual machine: what happens to their files when devices change.

Files are made before the virtual machine's configuration changes and removed after it, so that a
failure on the way can take back what was made.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from uuid import uuid4

from pyVmomi import vim

from vmops.lab.inventory.file_faults import storage_faults
from vmops.lab.machine.devices.parts import flat_backing
from vmops.lab.storage.disks import Adapter, DiskInfo, DiskStore, Provisioning
from vmops.lab.storage.errors import StorageError
from vmops.lab.storage.paths import DatastorePath
from vmops.lab.storage.uuids import dashed_uuid

_FlatBacking = vim.vm.device.VirtualDisk.FlatVer2BackingInfo


@dataclass(slots=True, kw_only=True)
class DiskCreation:
    """A disk to be made: from nothing, over a parent, or in the place of an old one."""

    device: vim.vm.device.VirtualDisk
    path: DatastorePath
    capacity_bytes: int
    adapter: Adapter
    parent: DatastorePath | None
    replaces: bool
    makes_folder: bool
    aside: DatastorePath | None = None


@dataclass(slots=True, kw_only=True)
class DiskExtension:
    """A disk to be made larger."""

    device: vim.vm.device.VirtualDisk
    path: DatastorePath
    capacity_bytes: int


@dataclass(slots=True)
class DiskChanges:
    """All that happens to files in one reconfiguration."""

    creations: list[DiskCreation] = field(default_factory=list)
    extensions: list[DiskExtension] = field(default_factory=list)
    deletions: list[DatastorePath] = field(default_factory=list)
    made: list[DiskCreation] = field(default_factory=list)
    """Those of the creations that `apply` has done."""

    def apply(self, store: DiskStore) -> None:
        """Make and extend the files, all or none of those made; fill in the devices.

        Blocking. An extension cannot be taken back, so extensions come last.
        """
        try:
            for creation in self.creations:
                with storage_faults(creation.path):
                    _create(store, creation)
                    self.made.append(creation)
                    fill_from_files(creation.device, chain_of(store, creation.path))
            for extension in self.extensions:
                with storage_faults(extension.path):
                    eager = bool(flat_backing(extension.device).eagerlyScrub)
                    store.extend(extension.path, extension.capacity_bytes, eager=eager)
        except BaseException:
            self.undo(store)
            raise

    def undo(self, store: DiskStore) -> None:
        """Take back what `apply` made. Blocking."""
        while self.made:
            creation = self.made.pop()
            with suppress(StorageError, OSError):
                store.delete(creation.path)
            if creation.aside is not None:
                with suppress(StorageError, OSError):
                    store.move(creation.aside, creation.path)

    def unwanted(self) -> list[DatastorePath]:
        """List what is to be deleted when all has been done."""
        gone = [creation.aside for creation in self.creations if creation.aside is not None]
        return [*self.deletions, *gone]


def _create(store: DiskStore, creation: DiskCreation) -> None:
    if creation.makes_folder:
        store.volumes.resolve(creation.path.parent).mkdir(exist_ok=True)
    if creation.replaces:
        aside = creation.path.sibling(f"{uuid4().hex}.vmdk")
        with suppress(StorageError):
            store.move(creation.path, aside)
            creation.aside = aside
    try:
        if creation.parent is not None:
            store.create_child(creation.path, creation.parent, new_uuid=True)
            return
        store.create(
            creation.path,
            creation.capacity_bytes,
            provisioning=_provisioning(flat_backing(creation.device)),
            adapter=creation.adapter,
        )
    except BaseException:
        if creation.aside is not None:
            store.move(creation.aside, creation.path)
        raise


def _provisioning(backing: _FlatBacking) -> Provisioning:
    if backing.thinProvisioned:
        return "thin"
    return "eagerZeroedThick" if backing.eagerlyScrub else "thick"


def chain_of(store: DiskStore, path: DatastorePath) -> list[DiskInfo]:
    """Inspect a disk and its parents, the disk first. Blocking.

    Raises:
        StorageError: one of them is missing or no disk.
    """
    return list(store.inspect_chain(path))


def fill_from_files(device: vim.vm.device.VirtualDisk, chain: Sequence[DiskInfo]) -> None:
    """Show in a disk device what its files say: capacity, UUID, provisioning, parents."""
    top = chain[0]
    device.capacityInBytes = top.capacity_bytes
    device.capacityInKB = top.capacity_bytes // 1024
    device.backing = backing_of(chain, flat_backing(device).diskMode)


def backing_of(chain: Sequence[DiskInfo], disk_mode: str | None) -> _FlatBacking:
    """Build the backing of a disk from its files, the disk first."""
    top = chain[0]
    backing = _FlatBacking(
        fileName=str(top.path),
        diskMode=disk_mode or "persistent",
        split=False,
        writeThrough=False,
        thinProvisioned=top.provisioning == "thin",
        eagerlyScrub=top.provisioning == "eagerZeroedThick",
        uuid=dashed_uuid(top.uuid) or top.uuid,
        contentId=top.cid,
        digestEnabled=False,
    )
    if len(chain) > 1:
        backing.parent = backing_of(chain[1:], disk_mode)
    return backing


def disk_files(disk: vim.vm.device.VirtualDisk) -> list[str]:
    """Return the datastore paths of a disk's descriptors, its parents' after it."""
    paths = []
    backing: _FlatBacking | None = flat_backing(disk)
    while backing is not None:
        paths.append(str(backing.fileName))
        backing = backing.parent
    return paths
