"""Disks, CD-ROM drives and serial ports of a plan: their files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pyVmomi import vim

from vmops.lab.inventory.file_faults import storage_faults
from vmops.lab.machine.devices import serial_lines
from vmops.lab.machine.devices.disks import (
    DiskChanges,
    DiskCreation,
    DiskExtension,
    fill_from_files,
)
from vmops.lab.machine.devices.faults import (
    invalid_backing,
    invalid_device,
    invalid_operation,
    unsupported_device,
)
from vmops.lab.machine.devices.parts import file_of, flat_backing
from vmops.lab.machine.devices.slots import IDE, scsi_model
from vmops.lab.storage.disks import Adapter, DiskInfo
from vmops.lab.storage.errors import FileExists, FileMissing
from vmops.lab.storage.paths import DatastorePath
from vmops.lab.storage.volumes import Volumes

if TYPE_CHECKING:
    from pyVmomi.vim.vm.device import (
        VirtualDevice,
        VirtualDeviceSpec,
        VirtualDisk,
        VirtualSerialPort,
    )

_device = vim.vm.device
_Disk = _device.VirtualDisk
_Cdrom = _device.VirtualCdrom
_FileOperation = _device.VirtualDeviceSpec.FileOperation
_DISK_MODES = frozenset(
    {"persistent", "independent_persistent", "independent_nonpersistent", "nonpersistent"}
)
_REMOTE = (
    _Cdrom.RemotePassthroughBackingInfo,
    _Cdrom.RemoteAtapiBackingInfo,
    _Cdrom.AtapiBackingInfo,
    _Cdrom.PassthroughBackingInfo,
)
_LARGEST_DISK_BYTES = 62 * 1024**4  # vSphere 8 configuration maximums


@dataclass(slots=True, kw_only=True)
class DrivePlanner:
    """Checks devices that stand for files, and collects what must happen to the files."""

    volumes: Volumes
    directory: DatastorePath
    """The machine's own folder, where files without a name go."""
    base_name: str
    known: Mapping[DatastorePath, Sequence[DiskInfo]]
    """The chains of the disks that `disks_to_inspect` listed."""
    present: tuple[VirtualDisk, ...]
    """The machine's disks before the change."""
    changes: DiskChanges = field(default_factory=DiskChanges)

    def add_disk(
        self, index: int, change: VirtualDeviceSpec, disk: VirtualDisk, controller: VirtualDevice
    ) -> None:
        """Plan an added disk: a new one, a child of another, or one that exists."""
        backing = disk.backing
        if type(backing) is not _Disk.FlatVer2BackingInfo:
            raise unsupported_device(disk, "disks of the lab are flat files.")
        backing.diskMode = backing.diskMode or "persistent"
        if backing.diskMode not in _DISK_MODES:
            raise invalid_device(index, "backing.diskMode", "There is no such mode.")
        if change.fileOperation is None:
            self._attach(index, disk)
        elif change.fileOperation in (_FileOperation.create, _FileOperation.replace):
            self._create(index, change, disk, controller)
        else:
            raise invalid_operation(index, change, "A disk that is added cannot be destroyed.")

    def _attach(self, index: int, disk: VirtualDisk) -> None:
        path = self._file(index, file_of(disk))
        if any(path == self._path_of(each) for each in self.present):
            raise invalid_backing(index, f"{path} is a disk of this machine.")
        chain = self.known.get(path)
        if chain is None:
            with storage_faults(path):
                raise FileMissing(path)
        fill_from_files(disk, chain)

    def _create(
        self, index: int, change: VirtualDeviceSpec, disk: VirtualDisk, controller: VirtualDevice
    ) -> None:
        parent = None
        size = disk.capacityInBytes or (disk.capacityInKB or 0) * 1024
        backing = flat_backing(disk)
        if backing.parent is not None:
            parent = self._file(index, backing.parent.fileName)
            chain = self.known.get(parent)
            if chain is None:
                with storage_faults(parent):
                    raise FileMissing(parent)
            if size > chain[0].capacity_bytes:
                raise invalid_device(
                    index, "capacityInKB", "A linked disk is as large as its parent."
                )
            size = chain[0].capacity_bytes
        if not 0 < size <= _LARGEST_DISK_BYTES:
            raise invalid_device(index, "capacityInKB", "A new disk needs a size up to 62 TiB.")
        path = self._new_file(index, backing.fileName)
        replaces = change.fileOperation == _FileOperation.replace
        self._check_target(path, replaces=replaces)
        backing.fileName = str(path)
        disk.capacityInBytes, disk.capacityInKB = size, size // 1024
        self.changes.creations.append(
            DiskCreation(
                device=disk,
                path=path,
                capacity_bytes=size,
                adapter=_adapter(controller),
                parent=parent,
                replaces=replaces,
                makes_folder=path.parent.path == self.directory.path,
            )
        )

    def _check_target(self, path: DatastorePath, *, replaces: bool) -> None:
        with storage_faults(path):
            there = self.volumes.resolve(path).exists() and not replaces
            if there or path in self._planned():
                raise FileExists(path)

    def removed(self, index: int, change: VirtualDeviceSpec, disk: VirtualDisk) -> None:
        """Plan what happens to the file of a removed disk."""
        if change.fileOperation == _FileOperation.destroy:
            self.changes.deletions.append(self._file(index, file_of(disk)))
        elif change.fileOperation is not None:
            raise invalid_operation(index, change, "The file of a removed disk can only go.")

    def edit_disk(
        self, index: int, change: VirtualDeviceSpec, old: VirtualDisk, new: VirtualDisk
    ) -> None:
        """Plan an edited disk: its mode, and a larger size."""
        if change.fileOperation is not None:
            raise invalid_operation(index, change, "An edited disk keeps its file.")
        if file_of(new) != file_of(old):
            raise invalid_backing(index, "An edited disk keeps its file.")
        backing = flat_backing(old)
        mode = getattr(new.backing, "diskMode", None) or backing.diskMode
        if mode not in _DISK_MODES:
            raise invalid_device(index, "backing.diskMode", "There is no such mode.")
        size = _wanted_size(old, new)
        backing.diskMode = mode
        new.backing = backing
        new.capacityInBytes, new.capacityInKB = old.capacityInBytes, old.capacityInKB
        if size == old.capacityInBytes:
            return
        if size < (old.capacityInBytes or 0):
            raise invalid_operation(index, change, "A disk cannot shrink.")
        if backing.parent is not None:
            raise invalid_operation(index, change, "A disk with a parent cannot grow.")
        if size > _LARGEST_DISK_BYTES:
            raise invalid_device(index, "capacityInKB", "A disk is at most 62 TiB.")
        new.capacityInBytes, new.capacityInKB = size, size // 1024
        path = self._file(index, backing.fileName)
        self.changes.extensions.append(DiskExtension(device=new, path=path, capacity_bytes=size))

    def prepare_cdrom(self, index: int, drive: VirtualDevice) -> None:
        """Check a CD-ROM drive: an image that is there, or a client's or host's own drive."""
        if drive.connectable is None:
            drive.connectable = _device.VirtualDevice.ConnectInfo(
                startConnected=isinstance(drive.backing, _Cdrom.IsoBackingInfo),
                allowGuestControl=True,
                connected=False,
                status="untried",
            )
        if isinstance(drive.backing, _REMOTE):
            return
        if not isinstance(drive.backing, _Cdrom.IsoBackingInfo):
            raise invalid_backing(index, "A drive has an image or a remote drive behind it.")
        path = self._file(index, drive.backing.fileName)
        with storage_faults(path):
            if not self.volumes.resolve(path).is_file():
                raise FileMissing(path)
        drive.backing = _Cdrom.IsoBackingInfo(fileName=str(path))

    def prepare_serial_port(self, index: int, port: VirtualSerialPort) -> None:
        """Check a serial port: a connection, or a file whose folder must exist."""
        if serial_lines.is_network(port):
            try:
                serial_lines.line_of(serial_lines.uri_backing(port))
            except ValueError as error:
                raise unsupported_device(port, str(error)) from error
            _finish_serial_port(port)
            return
        if not isinstance(port.backing, _device.VirtualSerialPort.FileBackingInfo):
            raise unsupported_device(port, "serial ports are on files or connections here.")
        path = self._file(index, port.backing.fileName)
        with storage_faults(path):
            folder = self.volumes.resolve(path).parent
            if path.parent != self.directory and not folder.is_dir():
                raise FileMissing(path.parent)
        port.backing = _device.VirtualSerialPort.FileBackingInfo(fileName=str(path))
        _finish_serial_port(port)

    def _file(self, index: int, text: str | None) -> DatastorePath:
        """Parse the name of a file, in the machine's folder if it is a plain name."""
        name = text or ""
        with storage_faults(name):
            path = (
                DatastorePath.parse(name)
                if name.startswith("[") or not name
                else self.directory.joined(name)
            )
            self.volumes.root(path.datastore)
        if not path.path or name.endswith("/"):
            raise invalid_backing(index, "It needs the name of a file.")
        return path

    def _new_file(self, index: int, text: str | None) -> DatastorePath:
        name = (text or "").strip()
        if name and not name.endswith(("]", "/")):
            path = self._file(index, name)
            return path if path.name.endswith(".vmdk") else path.sibling(f"{path.name}.vmdk")
        directory = self.directory
        if name:
            with storage_faults(name):
                given = DatastorePath.parse(name)
                self.volumes.root(given.datastore)
            if given.path:
                directory = given
            elif given.datastore != directory.datastore:
                directory = DatastorePath(given.datastore, directory.path)
        taken = self._planned()
        for number in range(10_000):
            suffix = f"_{number}" if number else ""
            path = directory.joined(f"{self.base_name}{suffix}.vmdk")
            with storage_faults(path):
                if path not in taken and not self.volumes.resolve(path).exists():
                    return path
        raise invalid_backing(index, "There is no free name for the disk.")

    def _planned(self) -> set[DatastorePath]:
        return {creation.path for creation in self.changes.creations}

    @staticmethod
    def _path_of(disk: VirtualDisk) -> DatastorePath:
        return DatastorePath.parse(file_of(disk))


def _finish_serial_port(port: VirtualSerialPort) -> None:
    port.yieldOnPoll = True if port.yieldOnPoll is None else port.yieldOnPoll
    if port.connectable is None:
        port.connectable = _device.VirtualDevice.ConnectInfo(
            startConnected=True, allowGuestControl=True, connected=False, status="untried"
        )


def _adapter(controller: VirtualDevice) -> Adapter:
    if isinstance(controller, IDE.wire_type):
        return "ide"
    return "busLogic" if scsi_model(controller) == "buslogic" else "lsiLogic"


def _wanted_size(old: VirtualDisk, new: VirtualDisk) -> int:
    """Return the size an edit asks for: of two fields, the one that was changed counts."""
    if new.capacityInBytes and new.capacityInBytes != old.capacityInBytes:
        return int(new.capacityInBytes)
    if new.capacityInKB and new.capacityInKB != old.capacityInKB:
        return int(new.capacityInKB) * 1024
    return int(old.capacityInBytes or 0)
