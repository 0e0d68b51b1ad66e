"""Specs as clients write them: of machines, and of what is changed of their devices."""

from __future__ import annotations

from typing import Any

from pyVmomi import vim

device = vim.vm.device


def config_spec(name: str, *changes: Any, path: str = "[datastore1]", **fields: Any) -> Any:
    fields = {"memoryMB": 64, "numCPUs": 1, "guestId": "otherLinux64Guest", **fields}
    return vim.vm.ConfigSpec(
        name=name, files=vim.vm.FileInfo(vmPathName=path), deviceChange=list(changes), **fields
    )


def change(operation: str, of: Any, file_operation: str | None = None) -> Any:
    return device.VirtualDeviceSpec(operation=operation, fileOperation=file_operation, device=of)


def add(of: Any, file_operation: str | None = None) -> Any:
    return change("add", of, file_operation)


def scsi(
    key: int = -1, bus: int | None = None, model: Any = device.ParaVirtualSCSIController
) -> Any:
    return add(model(key=key, busNumber=bus or 0, sharedBus="noSharing"))


def disk(
    mib: int = 4,
    *,
    controller: int = -1,
    unit: int | None = None,
    name: str = "",
    parent: str | None = None,
    key: int = -2,
    **backing: Any,
) -> Any:
    flat = device.VirtualDisk.FlatVer2BackingInfo
    return device.VirtualDisk(
        key=key,
        controllerKey=controller,
        unitNumber=unit,
        capacityInKB=mib * 1024,
        backing=flat(
            fileName=name,
            parent=None if parent is None else flat(fileName=parent, diskMode="persistent"),
            **{"thinProvisioned": True, "diskMode": "persistent", **backing},
        ),
    )


def new_disk(mib: int = 4, **where: Any) -> Any:
    return add(disk(mib, **where), "create")


def disk_spec(name: str, mib: int | None, *, thin: bool = True) -> Any:
    """The ConfigSpec of a machine with a disk, if it is to have one."""
    if mib is None:
        return config_spec(name)
    return config_spec(name, scsi(), new_disk(mib, unit=0, thinProvisioned=thin))


def standard_nic(
    name: str = "VM Network", *, key: int = -10, model: Any = device.VirtualVmxnet3, **fields: Any
) -> Any:
    backing = device.VirtualEthernetCard.NetworkBackingInfo(deviceName=name)
    return add(model(key=key, backing=backing, **fields))


def distributed_nic(group: Any, *, key: int = -11, port: str | None = None, **fields: Any) -> Any:
    connection = vim.dvs.PortConnection(
        switchUuid=group.config.distributedVirtualSwitch.uuid, portgroupKey=group.key, portKey=port
    )
    backing = device.VirtualEthernetCard.DistributedVirtualPortBackingInfo(port=connection)
    return add(device.VirtualE1000(key=key, backing=backing, **fields))


def of_type(vm: Any, wire_type: Any) -> list[Any]:
    return [each for each in vm.config.hardware.device if isinstance(each, wire_type)]


def file_of(disk: Any) -> str:
    """The datastore path of the file that a disk is written to."""
    return str(disk.backing.fileName)


def extra(**options: str) -> list[Any]:
    return [vim.option.OptionValue(key=key, value=value) for key, value in options.items()]
