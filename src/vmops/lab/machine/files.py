"""The files of a virtual machine."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from pyVmomi import vim

from vmops.lab import listing
from vmops.lab.machine.devices.disks import chain_of
from vmops.lab.machine.devices.parts import file_of
from vmops.lab.machine.devices.serial_lines import is_network
from vmops.lab.storage.disks import DiskStore
from vmops.lab.storage.errors import FileMissing, StorageError
from vmops.lab.storage.paths import DatastorePath

_device = vim.vm.device
_BLOCK = 512
_ENDINGS = {
    ".nvram": "nvram",
    ".vmsd": "snapshotList",
    ".vmxf": "extendedConfig",
    ".vmss": "suspend",
    ".vmem": "suspendMemory",
    ".vswp": "swap",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class VmFile:
    """A file: its type as ``layoutEx`` names it, sizes in bytes, and of which disk it is."""

    path: DatastorePath
    type: str
    size: int
    allocated: int
    disk_key: int | None = None
    level: int = 0
    """0 for a disk's own files, 1 for its parent's and so on."""


def own_file_type(vmx: DatastorePath, name: str) -> str | None:
    """Say what a file in the machine's folder is to it; None for a file that is not its own.

    Disks are not known by their names but by the devices that have them.
    """
    base = vmx.name.rpartition(".")[0]
    if name == vmx.name:
        return "config"
    if re.fullmatch(r"vmware(-[0-9]{1,9})?\.log", name):
        return "log"
    if re.fullmatch(re.escape(base) + r"-\d+\.png", name):
        return "screenshot"
    if re.fullmatch(re.escape(base) + r"-Snapshot\d+\.vmsn", name):
        return "snapshotData"
    if re.fullmatch(re.escape(base) + r"-Snapshot\d+\.vmem", name):
        return "snapshotMemory"
    stem, dot, ending = name.rpartition(".")
    return _ENDINGS.get(dot + ending) if stem == base else None


def scan(
    store: DiskStore,
    vmx: DatastorePath,
    devices: Sequence[_device.VirtualDevice],
    disks_beside: Sequence[_device.VirtualDisk] = (),
) -> tuple[VmFile, ...]:
    """List the machine's files as they are now. Blocking; what cannot be read is left out.

    ``disks_beside`` are disks that only snapshots have.
    """
    found = list(_beside(store, vmx))
    for disk in disks_beside:
        found += [replace(file, disk_key=None) for file in _of_disk(store, disk)]
    for device in devices:
        if isinstance(device, _device.VirtualDisk):
            found += _of_disk(store, device)
        elif isinstance(device, _device.VirtualSerialPort) and not is_network(device):
            path = DatastorePath.parse(file_of(device))
            if path.parent == vmx.parent:
                found += _sized(store, path, "serial")
    return tuple(found)


def _beside(store: DiskStore, vmx: DatastorePath) -> Iterator[VmFile]:
    try:
        for file in listing.files(store.volumes.resolve(vmx.parent)):
            kind = own_file_type(vmx, file.name)
            if kind is not None:
                yield from _sized(store, vmx.sibling(file.name), kind)
    except (StorageError, OSError):
        return


def _of_disk(store: DiskStore, disk: _device.VirtualDisk) -> Iterator[VmFile]:
    try:
        chain = chain_of(store, DatastorePath.parse(file_of(disk)))
    except (StorageError, OSError):
        return
    for level, info in enumerate(chain):
        for path in info.files:
            kind = "diskDescriptor" if path == info.path else "diskExtent"
            yield from _sized(store, path, kind, disk.key, level)


def _sized(
    store: DiskStore, path: DatastorePath, kind: str, key: int | None = None, level: int = 0
) -> Iterator[VmFile]:
    try:
        status = store.volumes.resolve(path).stat()
    except (StorageError, OSError):
        return
    yield VmFile(
        path=path,
        type=kind,
        size=status.st_size,
        allocated=status.st_blocks * _BLOCK,
        disk_key=key,
        level=level,
    )


def delete_own_files(
    store: DiskStore,
    vmx: DatastorePath,
    devices: Sequence[_device.VirtualDevice],
    disks: Sequence[DatastorePath],
    kept: frozenset[DatastorePath],
) -> list[DatastorePath]:
    """Delete the machine's disks and own files, and its folder if that is empty then. Blocking.

    ``disks`` are all its own, those of its snapshots among them, children before parents. Those in
    ``kept`` (others need them), images of CD-ROM drives and files that are not
    the machine's stay. Returns what is the machine's and could not be deleted.
    """
    left = []
    for path in disks:
        if path in kept:
            continue
        try:
            store.delete(path)
        except FileMissing:
            continue
        except (StorageError, OSError):
            left.append(path)
    for file in scan(store, vmx, [d for d in devices if not isinstance(d, _device.VirtualDisk)]):
        if file.path in kept:
            continue
        try:
            store.volumes.resolve(file.path).unlink(missing_ok=True)
        except OSError:
            left.append(file.path)
    if vmx.parent.path:
        with suppress(OSError):  # somebody else's files are in it, or it is gone already
            store.volumes.resolve(vmx.parent).rmdir()
    return left
