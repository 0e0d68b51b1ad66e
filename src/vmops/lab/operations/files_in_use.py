"""Which files running virtual machines hold: VMFS refuses to change them.

Guests may run on nothing (a lab without QEMU), so the inventory is asked, not the file system.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pyVmomi import vim

from vmops.lab.kernel.kernel import Kernel
from vmops.lab.machine.machine import Machine
from vmops.lab.operations.disk_holds import disk_holds
from vmops.lab.storage.errors import FileInUse
from vmops.lab.storage.paths import DatastorePath

_DATA_FILES = ("-flat.vmdk", "-delta.vmdk", "-sesparse.vmdk")


@dataclass(frozen=True, slots=True)
class FilesInUse:
    """Files held by running virtual machines, as text; a disk stands with its data files."""

    exclusive: frozenset[str]
    """Written to: cannot even be read by others."""
    shared: frozenset[str]
    """Read: cannot be changed or deleted by others."""

    def check_changeable(self, path: DatastorePath) -> None:
        """Raise FileInUse if a file, or one in a folder, is held at all."""
        self._check(path, self.exclusive | self.shared)

    def check_readable(self, path: DatastorePath) -> None:
        """Raise FileInUse if a file, or one in a folder, is being written to."""
        self._check(path, self.exclusive)

    @staticmethod
    def _check(path: DatastorePath, held: frozenset[str]) -> None:
        text = str(path)
        below = f"{text}/" if path.path else text
        for file in held:
            if file == text or file.startswith(below):
                raise FileInUse(file)


def files_in_use(kernel: Kernel) -> FilesInUse:
    """List the files of all virtual machines that are on, and what one is about to be given."""
    exclusive: set[str] = set()
    shared: set[str] = set()
    for vm in kernel.registry.all(Machine):
        if vm.power_state != "poweredOn":
            continue
        shared.update(_files(vm.vmx_path))
        for device in (*vm.devices, *vm.coming_devices):
            backing = device.backing
            if isinstance(device, vim.vm.device.VirtualDisk):
                written, read = _disk_files(backing)
                exclusive.update(written)
                shared.update(read)
            elif isinstance(backing, vim.vm.device.VirtualCdrom.IsoBackingInfo):
                shared.update(_files(backing.fileName))
    for path in disk_holds(kernel).stood_on:
        shared.update(_files(str(path)))
    return FilesInUse(frozenset(exclusive), frozenset(shared - exclusive))


def _disk_files(backing: object) -> tuple[set[str], set[str]]:
    written = set(_files(getattr(backing, "fileName", None)))
    read: set[str] = set()
    parent = getattr(backing, "parent", None)
    while parent is not None:
        read.update(_files(parent.fileName))
        parent = parent.parent
    return written, read


def _files(name: str | None) -> Iterator[str]:
    # Text, not DatastorePath: this is asked at every file operation, over all machines.
    if not name or name.endswith("] "):
        return
    yield name
    if name.endswith(".vmdk"):
        for ending in _DATA_FILES:
            yield name.removesuffix(".vmdk") + ending
