"""The files of a virtual machine's snapshots, as ``layoutEx`` shows them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pyVmomi import vim

from vmops.lab.machine.devices.disks import disk_files
from vmops.lab.machine.devices.parts import file_of
from vmops.lab.machine.snapshots.disks import disks_of, snapshotted_disks
from vmops.lab.machine.snapshots.shown_tree import snapshot_ref

if TYPE_CHECKING:
    from pyVmomi.vim.vm.device import VirtualDisk

    from vmops.lab.machine.machine import Machine

_Layout = vim.vm.FileLayoutEx
_NO_FILE = -1


def disks_beside(vm: Machine) -> list[VirtualDisk]:
    """Return the disks of snapshots that are not below a present disk, each once."""
    seen = {name for disk in disks_of(vm.devices) for name in disk_files(disk)}
    found = []
    for snapshot in vm.snapshots.snapshots:
        for disk in snapshotted_disks(snapshot.config.hardware.device):
            if file_of(disk) not in seen:
                seen.add(file_of(disk))
                found.append(disk)
    return found


def snapshot_layouts(vm: Machine, keys: Mapping[str, int]) -> list[_Layout.SnapshotLayout]:
    """Build the entries of all snapshots; ``keys`` gives the key of each file by its path."""
    return [
        _Layout.SnapshotLayout(
            key=snapshot_ref(vm, snapshot.uid),
            dataKey=keys.get(str(snapshot.data), _NO_FILE),
            memoryKey=keys.get(str(snapshot.memory), _NO_FILE),
            disk=[
                _Layout.DiskLayout(key=disk.key, chain=_chain(disk, keys))
                for disk in snapshotted_disks(snapshot.config.hardware.device)
            ],
        )
        for snapshot in vm.snapshots.snapshots
    ]


def _chain(disk: VirtualDisk, keys: Mapping[str, int]) -> list[_Layout.DiskUnit]:
    units = []
    for name in reversed(disk_files(disk)):
        stem = name.removesuffix(".vmdk")
        files = (name, f"{stem}-flat.vmdk", f"{stem}-delta.vmdk")
        units.append(_Layout.DiskUnit(fileKey=[keys[file] for file in files if file in keys]))
    return units
