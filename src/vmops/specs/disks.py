"""Disks: the root disk, and those that live and die with the instance beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from pyVmomi import vim

from vmops import units
from vmops.model.block_devices import BlockDevices
from vmops.model.controllers import KINDS
from vmops.model.datastore_path import DatastorePath
from vmops.model.image import AdapterType, DiskType
from vmops.model.size import Allocation
from vmops.specs.places import Place, Places
from vmops.specs.size import io_allocation

if TYPE_CHECKING:
    from pyVmomi.vim.vm.device import VirtualDeviceSpec

    FlatBacking: TypeAlias = vim.vm.device.VirtualDisk.FlatVer2BackingInfo

DISK_KEY = -100
EXTRA_DISK_KEY = -300
"""Of the first extra disk; the next ones count down."""

# A VMDK descriptor knows fewer adapters than a VM has controllers (VirtualDiskAdapterType).
DESCRIPTOR_ADAPTERS = {adapter: kind.descriptor for adapter, kind in KINDS.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class RootDisk:
    """A root disk to be attached.

    With ``parent`` the disk at ``path`` is created as a linked clone of it, with ``is_blank`` it is
    created empty; without, a disk that is there already is attached.
    """

    path: DatastorePath
    capacity_bytes: int
    adapter: AdapterType
    disk_type: DiskType = DiskType.THIN
    parent: DatastorePath | None = None
    is_blank: bool = False
    io: Allocation | None = None
    """Its allocation of input and output, in operations each second; None: the server's own."""

    @property
    def is_created(self) -> bool:
        """Whether it comes into being by being attached."""
        return self.is_blank or self.parent is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtraDisk:
    """A disk in the VM's folder beside the root disk: an ephemeral or swap disk, or an image's.

    It is created thin and empty; with ``parent`` as a linked clone of that, and with ``is_there`` a
    disk that is there already is attached.
    """

    path: DatastorePath
    capacity_bytes: int
    adapter: AdapterType
    parent: DatastorePath | None = None
    is_there: bool = False


def extra_disks(
    folder: DatastorePath, devices: BlockDevices, root_adapter: AdapterType
) -> tuple[ExtraDisk, ...]:
    """The ephemeral disks, then the swap disk, as files ``ephemeral_<n>.vmdk`` and ``swap.vmdk``.

    A disk that does not say its adapter has the root disk's.
    """
    found = [
        ExtraDisk(
            path=folder.joined(f"ephemeral_{number}.vmdk"),
            capacity_bytes=units.gib_to_bytes(disk.size_gib),
            adapter=disk.adapter or root_adapter,
        )
        for number, disk in enumerate(devices.ephemerals)
    ]
    if devices.swap_mib:
        found.append(
            ExtraDisk(
                path=folder.joined("swap.vmdk"),
                capacity_bytes=devices.swap_mib * units.MIB,
                adapter=root_adapter,
            )
        )
    return tuple(found)


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


def _root_backing(disk: RootDisk) -> FlatBacking:
    backing = flat_backing(disk.path)
    if disk.parent is not None:
        backing.parent = flat_backing(disk.parent)
    elif disk.disk_type is DiskType.EAGER_ZEROED_THICK:
        backing.eagerlyScrub = True
    elif provisioning(disk.disk_type) == "thin":
        backing.thinProvisioned = True
    return backing


def root_disk(disk: RootDisk, place: Place) -> VirtualDeviceSpec:
    """The device change that adds a root disk."""
    backing = _root_backing(disk)
    change = add_disk(DISK_KEY, disk.capacity_bytes, place, backing, create=disk.is_created)
    if disk.io is not None and isinstance(change.device, vim.vm.device.VirtualDisk):
        change.device.storageIOAllocation = io_allocation(disk.io)
    return change


def create_disks(disks: Sequence[ExtraDisk], places: Places) -> list[VirtualDeviceSpec]:
    """The device changes that add extra disks; ``places.changes()`` go before them.

    Raises:
        UnsupportedDevice: there is no place for so many.
    """
    return [
        add_disk(
            EXTRA_DISK_KEY - number,
            disk.capacity_bytes,
            places.take(disk.adapter),
            _extra_backing(disk),
            create=not disk.is_there,
        )
        for number, disk in enumerate(disks)
    ]


def _extra_backing(disk: ExtraDisk) -> FlatBacking:
    backing = flat_backing(disk.path, thin=True if disk.parent is None else None)
    if disk.parent is not None:
        backing.parent = flat_backing(disk.parent)
    return backing


def new_disk(capacity_bytes: int, adapter: AdapterType) -> list[VirtualDeviceSpec]:
    """The device changes of an imported VM: one empty disk that a lease fills."""
    places = Places()
    backing, place = flat_backing(None, thin=True), places.take(adapter)
    disk = add_disk(DISK_KEY, capacity_bytes, place, backing, create=True)
    return [*places.changes(), disk]


def flat_backing(path: DatastorePath | None, *, thin: bool | None = None) -> FlatBacking:
    """The backing of a disk; of a new one the server chooses the path if there is none."""
    return vim.vm.device.VirtualDisk.FlatVer2BackingInfo(
        fileName=str(path or ""), diskMode="persistent", thinProvisioned=thin
    )


def add_disk(
    key: int, capacity_bytes: int, place: Place, backing: FlatBacking, *, create: bool = False
) -> VirtualDeviceSpec:
    """The device change that adds a disk; without ``create`` its file is there."""
    device = vim.vm.device.VirtualDisk(
        key=key,
        controllerKey=place.controller_key,
        unitNumber=place.unit_number,
        capacityInKB=units.bytes_to_kib(capacity_bytes),
        backing=backing,
    )
    change = vim.vm.device.VirtualDeviceSpec(operation="add", device=device)
    if create:
        change.fileOperation = vim.vm.device.VirtualDeviceSpec.FileOperation.create
    return change


def remove_disk(key: int, *, destroy: bool = False) -> VirtualDeviceSpec:
    """The device change that takes a disk off, and with ``destroy`` deletes its file."""
    device = vim.vm.device.VirtualDisk(key=key, capacityInKB=0)
    change = vim.vm.device.VirtualDeviceSpec(operation="remove", device=device)
    if destroy:
        change.fileOperation = vim.vm.device.VirtualDeviceSpec.FileOperation.destroy
    return change
