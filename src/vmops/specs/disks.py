"""Disks and their controllers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pyVmomi import vim

from vmops import units
from vmops.model.datastore_path import DatastorePath
from vmops.model.image import AdapterType, DiskType

DISK_KEY = -100
CONTROLLER_KEY = -101
FIRST_IDE_CONTROLLER = 200  # every VM has it; see VirtualHardware.device in the API reference

_CONTROLLERS: dict[AdapterType, Any] = {
    AdapterType.BUS_LOGIC: vim.vm.device.VirtualBusLogicController,
    AdapterType.LSI_LOGIC: vim.vm.device.VirtualLsiLogicController,
    AdapterType.LSI_LOGIC_SAS: vim.vm.device.VirtualLsiLogicSASController,
    AdapterType.PARA_VIRTUAL: vim.vm.device.ParaVirtualSCSIController,
}

# A VMDK descriptor knows fewer adapters than a VM has controllers (VirtualDiskAdapterType).
DESCRIPTOR_ADAPTERS: dict[AdapterType, str] = {
    AdapterType.IDE: "ide",
    AdapterType.BUS_LOGIC: "busLogic",
    AdapterType.LSI_LOGIC: "lsiLogic",
    AdapterType.LSI_LOGIC_SAS: "lsiLogic",
    AdapterType.PARA_VIRTUAL: "lsiLogic",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RootDisk:
    """A root disk to be attached.

    With ``parent`` the disk at ``path`` is created as a linked clone of it; without, a disk that is
    there already is attached.
    """

    path: DatastorePath
    capacity_bytes: int
    adapter: AdapterType
    disk_type: DiskType = DiskType.THIN
    parent: DatastorePath | None = None


def provisioning(disk_type: DiskType) -> str:
    """`VirtualDiskType` of a disk made for an image of this type."""
    return {
        DiskType.SPARSE: "thin",
        DiskType.STREAM_OPTIMIZED: "thin",
        DiskType.THIN: "thin",
        DiskType.THICK: "thick",
        DiskType.EAGER_ZEROED_THICK: "eagerZeroedThick",
        DiskType.PREALLOCATED: "preallocated",
    }[disk_type]


def _flat_backing(disk: RootDisk) -> Any:
    backing = vim.vm.device.VirtualDisk.FlatVer2BackingInfo(
        fileName=str(disk.path), diskMode="persistent"
    )
    if disk.parent is not None:
        backing.parent = vim.vm.device.VirtualDisk.FlatVer2BackingInfo(
            fileName=str(disk.parent), diskMode="persistent"
        )
    elif disk.disk_type is DiskType.EAGER_ZEROED_THICK:
        backing.eagerlyScrub = True
    elif provisioning(disk.disk_type) == "thin":
        backing.thinProvisioned = True
    return backing


def attach_root_disk(disk: RootDisk) -> list[Any]:
    """The device changes that add a root disk, with a controller of its own unless it is IDE."""
    changes = []
    controller_key = FIRST_IDE_CONTROLLER
    if disk.adapter is not AdapterType.IDE:
        controller_key = CONTROLLER_KEY
        controller = _CONTROLLERS[disk.adapter](
            key=CONTROLLER_KEY, busNumber=0, sharedBus="noSharing"
        )
        changes.append(vim.vm.device.VirtualDeviceSpec(operation="add", device=controller))
    device = vim.vm.device.VirtualDisk(
        key=DISK_KEY,
        controllerKey=controller_key,
        unitNumber=0,
        capacityInKB=units.bytes_to_kib(disk.capacity_bytes),
        backing=_flat_backing(disk),
    )
    change = vim.vm.device.VirtualDeviceSpec(operation="add", device=device)
    if disk.parent is not None:
        change.fileOperation = vim.vm.device.VirtualDeviceSpec.FileOperation.create
    changes.append(change)
    return changes


def new_disk(capacity_bytes: int, adapter: AdapterType) -> list[Any]:
    """The device changes of an imported VM: one empty disk that a lease fills."""
    controller_key = FIRST_IDE_CONTROLLER
    changes = []
    if adapter is not AdapterType.IDE:
        controller_key = CONTROLLER_KEY
        controller = _CONTROLLERS[adapter](key=CONTROLLER_KEY, busNumber=0, sharedBus="noSharing")
        changes.append(vim.vm.device.VirtualDeviceSpec(operation="add", device=controller))
    disk = vim.vm.device.VirtualDisk(
        key=DISK_KEY,
        controllerKey=controller_key,
        unitNumber=0,
        capacityInKB=units.bytes_to_kib(capacity_bytes),
        backing=vim.vm.device.VirtualDisk.FlatVer2BackingInfo(
            fileName="", diskMode="persistent", thinProvisioned=True
        ),
    )
    changes.append(
        vim.vm.device.VirtualDeviceSpec(operation="add", fileOperation="create", device=disk)
    )
    return changes
