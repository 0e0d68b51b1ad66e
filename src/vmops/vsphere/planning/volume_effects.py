"""What calls do to first class disks, as far as later steps can see it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from pyVmomi import vim

from vmops.model.datastore_path import DatastorePath
from vmops.units import kib_to_bytes
from vmops.vsphere.planning import machine
from vmops.vsphere.planning.machine import DEVICES
from vmops.vsphere.planning.site import Arguments, Effect, Site, datastore_path
from vmops.vsphere.wire.moref import Moref, moid

_MIB_IN_KIB = 1024
_device = vim.vm.device


def _create(site: Site, manager: Moref, arguments: Arguments) -> vim.vslm.VStorageObject:
    spec = arguments["spec"]
    identity = spec.id.id if spec.id is not None else f"planned-{site.world.next_number('disk')}"
    datastore = spec.backingSpec.datastore
    name = site.session.inventory.datastore_of(moid(datastore)).name
    path = DatastorePath(name, f"fcd/{identity}.vmdk")
    site.world.files.made(path)
    made = vim.vslm.VStorageObject(
        config=vim.vslm.VStorageObject.ConfigInfo(
            id=vim.vslm.ID(id=identity),
            name=spec.name,
            createTime=datetime.now(UTC),
            capacityInMB=spec.capacityInMB,
            backing=vim.vslm.BaseConfigInfo.DiskFileBackingInfo(
                datastore=datastore, filePath=str(path), provisioningType="thin"
            ),
        )
    )
    site.world.disks[made.config.id.id] = made
    return made


def _delete(site: Site, manager: Moref, arguments: Arguments) -> None:
    found = _look(site, arguments["id"], arguments["datastore"])
    path = datastore_path(found.config.backing.filePath)
    if path is not None:
        site.world.files.gone(path)
    site.world.disks[found.config.id.id] = None


def _attach(site: Site, vm: Moref, arguments: Arguments) -> None:
    found = _look(site, arguments["diskId"], arguments["datastore"])
    if found.config.consumerId:
        name = found.config.name
        site.refuse(vim.fault.ResourceInUse(name=name, msg=f"The disk {name!r} is attached."))
    disk = _device.VirtualDisk(
        key=-1,
        controllerKey=arguments.get("controllerKey"),
        unitNumber=arguments.get("unitNumber"),
        capacityInKB=found.config.capacityInMB * _MIB_IN_KIB,
        capacityInBytes=kib_to_bytes(found.config.capacityInMB * _MIB_IN_KIB),
        vDiskId=found.config.id,
        backing=_device.VirtualDisk.FlatVer2BackingInfo(
            fileName=found.config.backing.filePath, diskMode="persistent"
        ),
    )
    _change(site, vm, _device.VirtualDeviceSpec(operation="add", device=disk))


def _detach(site: Site, vm: Moref, arguments: Arguments) -> None:
    wanted = arguments["diskId"].id
    for disk in machine.disks_of(site.read(vm, DEVICES).get(DEVICES) or ()):
        if getattr(disk.vDiskId, "id", None) == wanted:
            _change(site, vm, _device.VirtualDeviceSpec(operation="remove", device=disk))
            return
    site.refuse(vim.fault.NotFound(msg=f"The disk {wanted} is not attached."))


def _change(site: Site, vm: Moref, change: vim.vm.device.VirtualDeviceSpec) -> None:
    now = site.read(vm, *machine.READ)
    spec = vim.vm.ConfigSpec(deviceChange=[change])
    site.world.change(vm, machine.changed(now, spec))


def _look(site: Site, identity: vim.vslm.ID, datastore: Moref) -> Any:
    """The first class disk, from the plan or from the server.

    Raises:
        NotFound: there is none.
    """
    if identity.id in site.world.disks:
        if (planned := site.world.disks[identity.id]) is None:
            site.refuse(vim.fault.NotFound(msg=f"There is no disk {identity.id}."))
        return planned
    manager = site.session.content.vStorageObjectManager
    of_host = isinstance(manager, vim.vslm.host.VStorageObjectManager)
    method = "HostRetrieveVStorageObject" if of_host else "RetrieveVStorageObject"
    return site.session.call(manager, method, id=identity, datastore=datastore)


EFFECTS: dict[str, Effect] = {
    "CreateDisk_Task": _create,
    "HostCreateDisk_Task": _create,
    "DeleteVStorageObject_Task": _delete,
    "HostDeleteVStorageObject_Task": _delete,
    "AttachDisk_Task": _attach,
    "DetachDisk_Task": _detach,
}
