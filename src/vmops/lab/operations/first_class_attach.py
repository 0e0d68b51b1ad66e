"""First class disks that come to a virtual machine and leave it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyVmomi import vim

from vmops.lab.inventory.argument_faults import invalid_argument
from vmops.lab.inventory.managed_entity import ManagedEntity
from vmops.lab.machine.devices.disks import disk_files
from vmops.lab.machine.devices.slots import kind_of
from vmops.lab.machine.first_class_disks import FirstClassDisk, FirstClassDisks, NoSuchDisk
from vmops.lab.operations.reconfigure import reconfigure
from vmops.lab.storage.paths import DatastorePath

if TYPE_CHECKING:
    from pyVmomi.vim.vm.device import VirtualDevice
    from pyVmomi.VmomiSupport import ManagedObject as Reference

    from vmops.lab.machine.machine import Machine

_device = vim.vm.device


async def attach(
    vm: Machine,
    disk_id: vim.vslm.ID,
    datastore: Reference,
    controller: int | None,
    unit: int | None,
) -> None:
    """Attach a first class disk to the machine, whose lock the caller has.

    Raises:
        vim.fault.NotFound: there is none of that id on the datastore.
        vim.fault.ResourceInUse: a machine has it, on or off.
        vmodl.fault.InvalidArgument: no controller is named, and the machine has no SCSI controller.
        As `reconfigure` does.
    """
    name = vm.kernel.registry.find(datastore, ManagedEntity).name
    disks = FirstClassDisks(vm.store)
    try:
        found = await vm.kernel.blocking(disks.get, disk_id.id, name)
    except NoSuchDisk as error:
        raise _missing(disk_id) from error
    for holder in vm.kernel.registry.all(type(vm)):
        if any(_has(device, found.path) for device in holder.devices):
            raise vim.fault.ResourceInUse(
                type=vim.VirtualMachine,
                name=holder.name,
                msg=f"The disk '{found.name}' is attached to '{holder.name}'.",
            )
    device = _device.VirtualDisk(
        key=-1,
        controllerKey=_controller(vm) if controller is None else controller,
        unitNumber=unit,
        capacityInKB=0,
        vDiskId=vim.vslm.ID(id=found.id),
        backing=_device.VirtualDisk.FlatVer2BackingInfo(
            fileName=str(found.path), diskMode="independent_persistent"
        ),
    )
    change = _device.VirtualDeviceSpec(operation="add", device=device)
    await reconfigure(vm, vim.vm.ConfigSpec(deviceChange=[change]))


async def detach(vm: Machine, disk_id: vim.vslm.ID) -> None:
    """Detach a first class disk from the machine, whose lock the caller has.

    Raises:
        vim.fault.NotFound: the machine does not have it.
        As `reconfigure` does.
    """
    disks = FirstClassDisks(vm.store)
    for device in vm.devices:
        if not isinstance(device, _device.VirtualDisk):
            continue
        # Under a snapshot's layer the disk is still the same one.
        for path in map(DatastorePath.parse, disk_files(device)):
            found: FirstClassDisk | None = await vm.kernel.blocking(disks.of_path, path)
            if found is not None and found.id == str(disk_id.id).lower():
                change = _device.VirtualDeviceSpec(operation="remove", device=device)
                await reconfigure(vm, vim.vm.ConfigSpec(deviceChange=[change]))
                return
    raise _missing(disk_id)


def _has(device: VirtualDevice, path: DatastorePath) -> bool:
    return isinstance(device, _device.VirtualDisk) and str(path) in disk_files(device)


def _controller(vm: Machine) -> int:
    for device in vm.devices:
        kind = kind_of(device)
        if kind is not None and kind.name == "scsi":
            return int(device.key)
    raise invalid_argument("controllerKey", "The machine has no SCSI controller.")


def _missing(disk_id: vim.vslm.ID) -> vim.fault.NotFound:
    return vim.fault.NotFound(msg=f"There is no first class disk '{disk_id.id}'.")
