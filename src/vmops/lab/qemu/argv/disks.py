"""Disks and CD-ROM drives: their chains of files, and their places on a bus."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from vmops.lab.hypervisor.errors import HypervisorError
from vmops.lab.hypervisor.port import Cdrom, Controller, Disk, DiskLayer, GuestDefinition
from vmops.lab.qemu.argv.boot_order import boot_indexes
from vmops.lab.qemu.argv.host import Host, structured

# Places on each kind of controller as QEMU has them. vSphere allows more on some: units 8 to 15 of
# the LSI controllers, ports 6 to 29 of AHCI, 64 of PVSCSI.
_UNITS = {
    "ParaVirtualSCSIController": 64,
    "VirtualLsiLogicController": 7,
    "VirtualBusLogicController": 7,
    "VirtualLsiLogicSASController": 8,
    "VirtualIDEController": 2,
    "VirtualAHCIController": 6,
    "VirtualNVMEController": 64,
}
_ATA = {"VirtualIDEController", "VirtualAHCIController"}
FILE_NODE_SUFFIX = "-file"
_LONGEST_ATA_SERIAL = 20
_LONGEST_SCSI_SERIAL = 36
_LONGEST_DEVICE_ID = 20
"""What QEMU made of a serial by itself, and since version 10 refuses to."""
# What QEMU says to a guest whose disk the host cannot write: an error the guest sees. The default
# would halt the whole guest without a word.
_ERRORS = {"werror": "report", "rerror": "report"}


def disks(machine: GuestDefinition, _host: Host) -> Sequence[str]:
    """Each disk's chain from its base up, then the disk itself."""
    order = boot_indexes(machine)
    namespaces = _namespaces(machine)
    arguments: list[str] = []
    for disk in sorted(machine.disks, key=lambda disk: disk.key):
        controller = _controller(machine, disk)
        if not disk.layers:
            raise HypervisorError(f"disk {disk.key} has no file")
        names = _node_names(disk)
        for node in chain_nodes(disk.layers, names, read_only=disk.read_only):
            arguments += structured("-blockdev", **node)
        device = disk_device(disk, controller, names[0])
        if disk.key in namespaces:
            device["nsid"] = namespaces[disk.key]
        arguments += structured("-device", **device, bootindex=order[disk.key])
    return arguments


def cdroms(machine: GuestDefinition, _host: Host) -> Sequence[str]:
    """Each drive, with its image if one is inserted."""
    order = boot_indexes(machine)
    arguments: list[str] = []
    for cdrom in sorted(machine.cdroms, key=lambda cdrom: cdrom.key):
        controller = _controller(machine, cdrom)
        if controller.model == "VirtualNVMEController":
            raise HypervisorError("a CD-ROM drive cannot be on an NVMe controller")
        medium: dict[str, object] = {}
        if cdrom.image is not None:
            node = medium_node(cdrom, cdrom.image)
            medium = {"drive": node["node-name"]}
            arguments += structured("-blockdev", **node)
        driver = "ide-cd" if controller.model in _ATA else "scsi-cd"
        arguments += structured(
            "-device",
            **{**_place(controller, cdrom), "driver": driver, "id": f"cdrom-{cdrom.key}"},
            **medium,
            bootindex=order[cdrom.key],
        )
    return arguments


def chain_nodes(
    layers: Sequence[DiskLayer], names: Sequence[str], *, read_only: bool
) -> list[dict[str, object]]:
    """Return the nodes of a chain, base first, each naming its backing node itself.

    ``layers`` and ``names`` are top first. What a file's own header says of a backing file is never
    followed. Everything under the top is opened read-only, and QEMU's locks then let any number of
    guests share it while none writes. A node's file is a node of its own, named so that it can be
    found again by its file.

    Raises:
        HypervisorError: a layer that is not the base cannot have another under it.
    """
    nodes = []
    for depth in reversed(range(len(layers))):
        layer = layers[depth]
        is_base = depth == len(layers) - 1
        if layer.file_format == "raw" and not is_base:
            raise HypervisorError(f"{layer.file.name} cannot have another disk under it")
        backing = None if is_base else names[depth + 1]
        nodes.append(layer_node(layer, names[depth], backing, read_only=depth > 0 or read_only))
    return nodes


def layer_node(
    layer: DiskLayer, name: str, backing: str | None, *, read_only: bool
) -> dict[str, object]:
    """Return the node of one layer. Its file is read-only when it is, and follows it later."""
    node: dict[str, object] = {
        "node-name": name,
        "driver": layer.file_format,
        "read-only": read_only,
        "file": {
            "driver": "file",
            "node-name": f"{name}{FILE_NODE_SUFFIX}",
            "filename": str(layer.file),
            "discard": "unmap",
        },
        "discard": "unmap",
    }
    if layer.file_format == "qcow2":
        node["backing"] = backing
    return node


def node_prefix(disk_key: int) -> str:
    """Return what the names of a disk's nodes begin with; a number follows."""
    return f"disk-{disk_key}-"


def medium_node(cdrom: Cdrom, image: Path) -> dict[str, object]:
    """Return the node of what is in a CD-ROM drive."""
    return {
        "node-name": f"cdrom-{cdrom.key}-medium",
        "driver": "raw",
        "read-only": True,
        "file": {"driver": "file", "filename": str(image), "read-only": True},
    }


def disk_device(disk: Disk, controller: Controller, top_node: str) -> dict[str, object]:
    """Return the device of a disk.

    Raises:
        HypervisorError: the controller has no such unit.
    """
    _check_unit(disk, controller)
    return {**_place(controller, disk), **_drive(controller, disk, top_node)}


def _namespaces(machine: GuestDefinition) -> Mapping[int, int]:
    """The namespace of each NVMe disk by key: its unit's, but the one that boots first has 1.

    QEMU tells the firmware of every namespace as the first one, and SeaBIOS takes the first of a
    controller whatever it is told: the two change places.
    """
    order = boot_indexes(machine)
    found: dict[int, int] = {}
    for controller in machine.controllers:
        if controller.model != "VirtualNVMEController":
            continue
        on_it = [disk for disk in machine.disks if disk.controller_key == controller.key]
        found |= {disk.key: disk.unit_number + 1 for disk in on_it}
        first = min(on_it, key=lambda disk: order[disk.key], default=None)
        for disk in on_it:
            if first is not None and disk.unit_number == 0:
                found[disk.key] = first.unit_number + 1
        if first is not None:
            found[first.key] = 1
    return found


def _node_names(disk: Disk) -> list[str]:
    return [f"{node_prefix(disk.key)}{depth}" for depth in range(len(disk.layers))]


def _controller(machine: GuestDefinition, device: Disk | Cdrom) -> Controller:
    for controller in machine.controllers:
        if controller.key == device.controller_key:
            break
    else:
        raise HypervisorError(f"device {device.key} is on a controller that does not exist")
    _check_unit(device, controller)
    return controller


def _check_unit(device: Disk | Cdrom, controller: Controller) -> None:
    most = _UNITS[controller.model]
    if not 0 <= device.unit_number < most:
        raise HypervisorError(
            f"device {device.key} is unit {device.unit_number} of a {controller.model}, "
            f"of which the lab has units 0 to {most - 1}"
        )


def _place(controller: Controller, device: Disk | Cdrom) -> Mapping[str, object]:
    unit = device.unit_number
    match controller.model:
        case "VirtualIDEController":
            return {"bus": f"ide.{controller.bus_number}", "unit": unit}
        case "VirtualAHCIController":
            return {"bus": f"controller-{controller.key}.{unit}"}
        case "VirtualNVMEController":
            return {"bus": f"controller-{controller.key}", "nsid": unit + 1}
        case _:
            return {"bus": f"controller-{controller.key}.0", "scsi-id": unit}


def _drive(controller: Controller, disk: Disk, top_node: str) -> Mapping[str, object]:
    common = {"id": f"disk-{disk.key}", "drive": top_node}
    if controller.model == "VirtualNVMEController":
        return {"driver": "nvme-ns", **common}
    if controller.model in _ATA:
        serial = disk.serial[-_LONGEST_ATA_SERIAL:]
        model = "VMware Virtual IDE Hard Drive"
        return {"driver": "ide-hd", **common, "serial": serial, "model": model, **_ERRORS}
    serial = disk.serial[-_LONGEST_SCSI_SERIAL:]
    drive: dict[str, object] = {
        "driver": "scsi-hd",
        **common,
        "serial": serial,
        "device_id": serial[:_LONGEST_DEVICE_ID],
        "vendor": "VMware",
        "product": "Virtual disk",
        **_ERRORS,
    }
    if controller.model == "VirtualLsiLogicSASController":
        # Linux finds SAS disks by their world-wide name, and without one sees no disk at all.
        drive["wwn"] = _world_wide_name(disk.serial)
    return drive


def _world_wide_name(serial: str) -> int:
    """Return a name of the form 5 (registered), VMware's 000c29, and 36 bits of the serial."""
    digest = int.from_bytes(hashlib.sha256(serial.encode()).digest()[:8])
    return 0x5 << 60 | 0x000C29 << 36 | digest >> 28
