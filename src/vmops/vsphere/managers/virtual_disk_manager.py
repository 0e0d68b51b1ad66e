"""Virtual disks as files on datastores. Every path is that of the disk's descriptor, the .vmdk."""

from __future__ import annotations

from typing import Any

from pyVmomi import vim

from vmops.errors import FileNotFound
from vmops.model.controllers import KINDS
from vmops.model.datastore_path import DatastorePath
from vmops.model.image import AdapterType
from vmops.units import bytes_to_kib
from vmops.vsphere.live.tasks import Tasks
from vmops.vsphere.managers.datacenters import Datacenters


class VirtualDiskManager:
    """Creates, copies, moves, grows and deletes virtual disks; each is one call.

    All raise DatastoreNotFound for a path on a datastore that does not exist, and NoDiskSpace where
    it is full.
    """

    def __init__(self, tasks: Tasks, datacenters: Datacenters) -> None:
        self._tasks = tasks
        self._datacenters = datacenters

    def within(self, datacenter: str) -> VirtualDiskManager:
        """The same for datastores of one datacenter, given by its moid."""
        inventory = self._datacenters.inventory
        return VirtualDiskManager(self._tasks, Datacenters(inventory, datacenter))

    def create(
        self,
        path: DatastorePath,
        capacity_bytes: int,
        disk_type: str = "thin",
        adapter_type: str = AdapterType.LSI_LOGIC,
    ) -> None:
        """Create an empty disk; the capacity is rounded up to whole KiB.

        Raises:
            FileAlreadyExists: the file is there already.
            FileNotFound: the folder is not there.
        """
        spec = vim.VirtualDiskManager.FileBackedVirtualDiskSpec(
            diskType=str(disk_type),
            adapterType=_descriptor_adapter(adapter_type),
            capacityKb=bytes_to_kib(capacity_bytes),
        )
        self._run(
            "CreateVirtualDisk_Task",
            name=str(path),
            datacenter=self._datacenters.moref(path),
            spec=spec,
        )

    def copy(
        self,
        source: DatastorePath,
        destination: DatastorePath,
        disk_type: str | None = None,
        adapter_type: str | None = None,
    ) -> None:
        """Copy a disk, converting it if a type is given.

        vCenter ignores the wanted types and keeps the source's; an ESXi converts.

        Raises:
            FileAlreadyExists: the destination is there already.
            FileNotFound: the source, or the destination's folder, is not there.
        """
        spec = None
        if disk_type is not None or adapter_type is not None:
            spec = vim.VirtualDiskManager.VirtualDiskSpec(
                diskType=str(disk_type or "thin"),
                adapterType=_descriptor_adapter(adapter_type or AdapterType.LSI_LOGIC),
            )
        self._run(
            "CopyVirtualDisk_Task",
            sourceName=str(source),
            sourceDatacenter=self._datacenters.moref(source),
            destName=str(destination),
            destDatacenter=self._datacenters.moref(destination),
            destSpec=spec,
            force=False,
        )

    def move(self, source: DatastorePath, destination: DatastorePath) -> None:
        """Move or rename a disk; raises as `copy`."""
        self._run(
            "MoveVirtualDisk_Task",
            sourceName=str(source),
            sourceDatacenter=self._datacenters.moref(source),
            destName=str(destination),
            destDatacenter=self._datacenters.moref(destination),
            force=False,
        )

    def extend(self, path: DatastorePath, capacity_bytes: int, *, eager: bool = False) -> None:
        """Grow a disk to this capacity; ``eager`` writes zeros over the new part at once.

        Raises:
            InvalidArgument: the disk is larger than that already.
            FileLocked: a running virtual machine uses it.
        """
        self._run(
            "ExtendVirtualDisk_Task",
            name=str(path),
            datacenter=self._datacenters.moref(path),
            newCapacityKb=bytes_to_kib(capacity_bytes),
            eagerZero=eager,
        )

    def delete(self, path: DatastorePath, *, missing_ok: bool = False) -> None:
        """Delete a disk with its data.

        Raises:
            FileNotFound: it is not there, and ``missing_ok`` was not given.
            FileLocked: a virtual machine uses it.
        """
        try:
            self._run(
                "DeleteVirtualDisk_Task", name=str(path), datacenter=self._datacenters.moref(path)
            )
        except FileNotFound:
            if not missing_ok:
                raise

    def _run(self, method: str, **arguments: Any) -> None:
        manager = self._tasks.client.content.virtualDiskManager
        self._tasks.run(manager, method, **arguments)


def _descriptor_adapter(adapter_type: str) -> str:
    known = {str(adapter): kind.descriptor for adapter, kind in KINDS.items()}
    return known.get(str(adapter_type), str(adapter_type))
