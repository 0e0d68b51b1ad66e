"""The disks of a virtual machine as a lease names them, and what arrives for them."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING

from pyVmomi import vim

from vmops.lab.machine.devices.disks import chain_of, fill_from_files
from vmops.lab.machine.devices.parts import flat_backing
from vmops.lab.machine.nfc_lease import LeaseDisk
from vmops.lab.storage.disks import DiskStore
from vmops.lab.storage.errors import InvalidDisk
from vmops.lab.storage.paths import DatastorePath

if TYPE_CHECKING:
    from pyVmomi.vim.vm import ConfigInfo
    from pyVmomi.vim.vm.device import VirtualDevice

    from vmops.lab.kernel.kernel import Kernel
    from vmops.lab.machine.machine import Machine

_SPARSE_MAGIC = b"KDMV"  # a hosted sparse extent, stream-optimized among them


def lease_disks(vm: Machine, config: ConfigInfo | None = None) -> list[LeaseDisk]:
    """List the disks of a virtual machine, keyed ``/vm-12/VirtualLsiLogicController0:0``.

    They are those of its present configuration, or of another one it had.
    """
    devices: list[VirtualDevice] = (config or vm.properties["config"]).hardware.device
    controllers = {device.key: device for device in devices}
    disks: list[LeaseDisk] = []
    for device in devices:
        if not isinstance(device, vim.vm.device.VirtualDisk):
            continue
        backing = flat_backing(device)
        controller = controllers.get(device.controllerKey or 0)
        place = "VirtualDisk"
        if isinstance(controller, vim.vm.device.VirtualController):
            place = type(controller).__name__.rpartition(".")[2] + str(controller.busNumber)
        place += f":{device.unitNumber}"
        disks.append(
            LeaseDisk(
                key=f"/{vm.moid}/{place}",
                import_key=f"/{vm.name}/{place}",
                device_key=device.key,
                file_name=f"disk-{len(disks)}.vmdk",
                path=DatastorePath.parse(backing.fileName),
                capacity_bytes=device.capacityInBytes or device.capacityInKB * 1024,
            )
        )
    return disks


def fill_disk(store: DiskStore, path: DatastorePath, content: Path) -> None:
    """Put what was uploaded into an empty disk; ``content`` may be gone afterwards. Blocking.

    A stream-optimized or sparse VMDK brings its own capacity, as on vSphere; flat bytes must be
    as many as the disk has.

    Raises:
        InvalidDisk: it is neither.
        StorageError: it could not be written.
    """
    with content.open("rb") as stream:
        is_sparse = stream.read(len(_SPARSE_MAGIC)) == _SPARSE_MAGIC
    disk = store.inspect(path)
    if is_sparse:
        # The empty disk goes first, lest a thick one needs its space twice. Nothing is lost with
        # it: if the import fails, the whole machine goes.
        store.delete(path)
        store.import_file(content, path, provisioning=disk.provisioning, adapter=disk.adapter)
        store.set_uuid(path, disk.uuid)
        return
    size = content.stat().st_size
    if size != disk.capacity_bytes:
        raise InvalidDisk(
            path,
            f"{size} bytes came, neither a stream-optimized VMDK nor the "
            f"{disk.capacity_bytes} bytes of a flat disk",
        )
    content.replace(disk.layers[0].file)


async def show_disk(kernel: Kernel, vm: Machine, disk: LeaseDisk) -> int:
    """Read the disk's files into the virtual machine's device; return the capacity in bytes."""
    chain = await kernel.blocking(chain_of, kernel.service(DiskStore), disk.path)
    devices: list[VirtualDevice] = list(vm.properties["config"].hardware.device)
    for index, device in enumerate(devices):
        if device.key == disk.device_key and isinstance(device, vim.vm.device.VirtualDisk):
            devices[index] = shown = copy.deepcopy(device)
            fill_from_files(shown, chain)
    kernel.update(vm, {"config.hardware.device": devices})
    disk.capacity_bytes = chain[0].capacity_bytes
    return disk.capacity_bytes
