"""The disks of a virtual machine with snapshots: which there are, and new layers on top of them."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pyVmomi import vim

from vmops.lab.inventory.file_faults import storage_faults
from vmops.lab.machine.devices.disks import backing_of, chain_of, disk_files
from vmops.lab.machine.devices.parts import file_of, flat_backing
from vmops.lab.storage.disks import DiskInfo, DiskStore
from vmops.lab.storage.errors import StorageError
from vmops.lab.storage.paths import DatastorePath

if TYPE_CHECKING:
    from pyVmomi.vim.vm import ConfigInfo
    from pyVmomi.vim.vm.device import VirtualDevice, VirtualDisk

    from vmops.lab.machine.machine import Machine
    from vmops.lab.machine.snapshot_tree import SnapshotTree

_Disk = vim.vm.device.VirtualDisk
_NUMBERED = re.compile(r"-\d{6}$")
_MOST_LAYERS = 999_999


def disks_of(devices: Iterable[VirtualDevice]) -> list[VirtualDisk]:
    """Return those of the devices that are disks."""
    return [device for device in devices if isinstance(device, _Disk)]


def path_of_disk(disk: VirtualDisk) -> DatastorePath:
    """Return the file a disk device is written to."""
    return DatastorePath.parse(file_of(disk))


def is_independent(disk: VirtualDisk) -> bool:
    """Say whether snapshots leave a disk alone."""
    return str(flat_backing(disk).diskMode).startswith("independent")


def snapshotted_disks(devices: Iterable[VirtualDevice]) -> list[VirtualDisk]:
    """Return the disks that a snapshot holds."""
    return [disk for disk in disks_of(devices) if not is_independent(disk)]


def held_disks(tree: SnapshotTree) -> set[DatastorePath]:
    """Return the disks that are some snapshot's, and so never change."""
    return {
        path_of_disk(disk)
        for snapshot in tree.snapshots
        for disk in snapshotted_disks(snapshot.config.hardware.device)
    }


def all_disk_files(vm: Machine) -> set[DatastorePath]:
    """Return every disk the machine or a snapshot of it has, or stands on."""
    devices = [*vm.devices]
    for snapshot in vm.snapshots.snapshots:
        devices += snapshot.config.hardware.device
    return {DatastorePath.parse(name) for disk in disks_of(devices) for name in disk_files(disk)}


def with_chains(
    devices: Sequence[VirtualDevice], chains: Mapping[DatastorePath, Sequence[DiskInfo]]
) -> list[VirtualDevice]:
    """Return the devices, disks whose file is a key with the backing that its files now say."""
    changed = list(devices)
    for index, device in enumerate(devices):
        if not isinstance(device, _Disk):
            continue
        chain = chains.get(path_of_disk(device))
        if chain is not None:
            changed[index] = copy.copy(device)
            changed[index].backing = backing_of(chain, flat_backing(device).diskMode)
    return changed


def config_with_chains(
    config: ConfigInfo, chains: Mapping[DatastorePath, Sequence[DiskInfo]]
) -> ConfigInfo:
    """Return a configuration whose devices are those of `with_chains`."""
    changed = copy.copy(config)
    changed.hardware = copy.copy(config.hardware)
    changed.hardware.device = with_chains(config.hardware.device, chains)
    return changed


@dataclass(slots=True)
class NewLayers:
    """New, empty layers over disks; ``made`` gives each one's chain by the disk below it."""

    store: DiskStore
    made: dict[DatastorePath, list[DiskInfo]] = field(default_factory=dict)

    def make(self, below: Iterable[DatastorePath], note: Callable[[DatastorePath], None]) -> None:
        """Make a layer over each disk, beside it, all or none, each noted before. Blocking.

        Raises:
            vim.fault.FileFault or one below it: a disk cannot have a layer.
        """
        try:
            for path in below:
                with storage_faults(path):
                    child = free_layer(self.store, path)
                    note(child)
                    self.store.create_child(child, path)
                    try:
                        self.made[path] = chain_of(self.store, child)
                    except BaseException:
                        self.store.delete(child)
                        raise
        except BaseException:
            self.undo()
            raise

    def undo(self) -> None:
        """Delete the layers made. Blocking."""
        for chain in self.made.values():
            with suppress(StorageError, OSError):
                self.store.delete(chain[0].path)
        self.made.clear()


def free_layer(store: DiskStore, below: DatastorePath) -> DatastorePath:
    """Return the name of a new layer over a disk: ``x-000002.vmdk`` over ``x-000001.vmdk``.

    Raises:
        StorageError: there is none left.
    """
    stem = _NUMBERED.sub("", below.name.removesuffix(".vmdk"))
    for number in range(1, _MOST_LAYERS):
        path = below.sibling(f"{stem}-{number:06}.vmdk")
        data = below.sibling(f"{stem}-{number:06}-delta.vmdk")
        if not any(store.volumes.resolve(each).exists() for each in (path, data)):
            return path
    raise StorageError(f"{below} has no free name for another layer")
