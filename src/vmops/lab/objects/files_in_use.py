"""Which files running virtual machines hold: VMFS refuses to change them.

Guests may run on nothing (a lab without QEMU), so the inventory is asked, not the file system.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pyVmomi import vim

from vmops.lab.objects.virtual_machine import VirtualMachine
from vmops.lab.storage.errors import FileInUse, InvalidDatastorePath
from vmops.lab.storage.paths import DatastorePath

if TYPE_CHECKING:
    from vmops.lab.kernel.kernel import Kernel

_DATA_FILES = ("-flat.vmdk", "-delta.vmdk", "-sesparse.vmdk")


@dataclass(frozen=True, slots=True)
class FilesInUse:
    """Files held by running virtual machines; a disk stands with its data files."""

    exclusive: frozenset[DatastorePath]
    """Written to: cannot even be read by others."""
    shared: frozenset[DatastorePath]
    """Read: cannot be changed or deleted by others."""

    def check_changeable(self, path: DatastorePath) -> None:
        """Raise FileInUse if a file, or one in a folder, is held at all."""
        self._check(path, self.exclusive | self.shared)

    def check_readable(self, path: DatastorePath) -> None:
        """Raise FileInUse if a file, or one in a folder, is being written to."""
        self._check(path, self.exclusive)

    @staticmethod
    def _check(path: DatastorePath, held: frozenset[DatastorePath]) -> None:
        below = f"{path.path}/" if path.path else ""
        for file in held:
            if file == path or (file.datastore == path.datastore and file.path.startswith(below)):
                raise FileInUse(file)


def files_in_use(kernel: Kernel) -> FilesInUse:
    """List the files of all virtual machines that are on."""
    exclusive: set[DatastorePath] = set()
    shared: set[DatastorePath] = set()
    for vm in kernel.registry.all(VirtualMachine):
        config = vm.properties.get("config")
        if config is None or vm.properties["runtime"].powerState != "poweredOn":
            continue
        shared.update(_files(config.files.vmPathName))
        for device in config.hardware.device:
            backing = device.backing
            if isinstance(device, vim.vm.device.VirtualDisk):
                written, read = _disk_files(backing)
                exclusive.update(written)
                shared.update(read)
            elif isinstance(backing, vim.vm.device.VirtualCdrom.IsoBackingInfo):
                shared.update(_files(backing.fileName))
    return FilesInUse(frozenset(exclusive), frozenset(shared - exclusive))


def _disk_files(backing: Any) -> tuple[set[DatastorePath], set[DatastorePath]]:
    written = set(_files(getattr(backing, "fileName", None)))
    read: set[DatastorePath] = set()
    parent = getattr(backing, "parent", None)
    while parent is not None:
        read.update(_files(parent.fileName))
        parent = parent.parent
    mode = getattr(backing, "diskMode", None)
    if mode is not None and "nonpersistent" in mode:
        return set(), written | read
    return written, read


def _files(name: str | None) -> Iterator[DatastorePath]:
    try:
        path = DatastorePath.parse(name or "")
    except InvalidDatastorePath:
        return
    if not path.path:
        return
    yield path
    if path.name.endswith(".vmdk"):
        for ending in _DATA_FILES:
            yield path.sibling(path.name.removesuffix(".vmdk") + ending)
