"""Disks and CD-ROM drives: their chains of files, and their places on a bus."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from vmops.lab.hypervisor import Cdrom, Controller, Disk, HypervisorError, Machine
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
_LONGEST_ATA_SERIAL = 20
_LONGEST_SCSI_SERIAL = 36
# What QEMU says to a guest whose disk the host cannot write: an error the guest sees. The default
# would halt the whole guest without a word.
_ERRORS = {"werror": "report", "rerror": "report"}


def disks(machine: Machine, _host: Host) -> Sequence[str]:
    """Each disk's chain from its base up, then the disk itself."""
    order = boot_indexes(machine)
    arguments: list[str] = []
    for disk in sorted(machine.disks, key=lambda disk: disk.key):
        controller = _controller(machine, disk)
        arguments += _chain(disk)
        arguments += structured(
            "-device",
            **_place(controller, disk),
            **_drive(controller, disk),
            bootindex=order[disk.key],
        )
    return arguments


def cdroms(machine: Machine, _host: Host) -> Sequence[str]:
    """Each drive, with its image if one is inserted."""
    order = boot_indexes(machine)
    arguments: list[str] = []
    for cdrom in sorted(machine.cdroms, key=lambda cdrom: cdrom.key):
        controller = _controller(machine, cdrom)
        if controller.model == "VirtualNVMEController":
            raise HypervisorError("a CD-ROM drive cannot be on an NVMe controller")
        medium: dict[str, Any] = {}
        if cdrom.image is not None:
            medium = {"drive": f"cdrom-{cdrom.key}-medium"}
            arguments += structured(
                "-blockdev",
                node_name=medium["drive"],
                driver="raw",
                read_only=True,
                file={"driver": "file", "filename": str(cdrom.image), "read-only": True},
            )
        driver = "ide-cd" if controller.model in _ATA else "scsi-cd"
        arguments += structured(
            "-device",
            **{**_place(controller, cdrom), "driver": driver, "id": f"cdrom-{cdrom.key}"},
            **medium,
            bootindex=order[cdrom.key],
        )
    return arguments


def _chain(disk: Disk) -> list[str]:
    """Return the nodes of a disk, base first, each naming its backing node itself.

    What a file's own header says of a backing file is never followed. Everything under the top is
    opened read-only, and QEMU's locks then let any number of guests share it while none writes.
    """
    if not disk.layers:
        raise HypervisorError(f"disk {disk.key} has no file")
    arguments: list[str] = []
    for depth in reversed(range(len(disk.layers))):
        layer = disk.layers[depth]
        is_base = depth == len(disk.layers) - 1
        read_only = depth > 0 or disk.read_only
        if layer.file_format == "raw" and not is_base:
            raise HypervisorError(f"{layer.file.name} cannot have another disk under it")
        members: dict[str, Any] = {
            "node_name": _node(disk, depth),
            "driver": layer.file_format,
            "read_only": read_only,
            "file": {
                "driver": "file",
                "filename": str(layer.file),
                "read-only": read_only,
                "discard": "unmap",
            },
            "discard": "unmap",
        }
        if layer.file_format == "qcow2":
            members["backing"] = None if is_base else _node(disk, depth + 1)
        arguments += structured("-blockdev", **members)
    return arguments


def _node(disk: Disk, depth: int) -> str:
    return f"disk-{disk.key}-{depth}"


def _controller(machine: Machine, device: Disk | Cdrom) -> Controller:
    for controller in machine.controllers:
        if controller.key == device.controller_key:
            break
    else:
        raise HypervisorError(f"device {device.key} is on a controller that does not exist")
    most = _UNITS[controller.model]
    if not 0 <= device.unit_number < most:
        raise HypervisorError(
            f"device {device.key} is unit {device.unit_number} of a {controller.model}, "
            f"of which the lab has units 0 to {most - 1}"
        )
    return controller


def _place(controller: Controller, device: Disk | Cdrom) -> Mapping[str, Any]:
    unit = device.unit_number
    match controller.model:
        case "VirtualIDEController":
            return {"bus": f"ide.{controller.bus_number}", "unit": unit}
        case "VirtualAHCIController":
            return {"bus": f"controller-{controller.key}.{unit}"}
        case "VirtualNVMEController":
            return {"bus": f"controller-{controller.key}", "nsid": unit + 1}
        case _:
            return {"bus": f"controller-{controller.key}.0", "scsi_id": unit}


def _drive(controller: Controller, disk: Disk) -> Mapping[str, Any]:
    common = {"id": f"disk-{disk.key}", "drive": _node(disk, 0)}
    if controller.model == "VirtualNVMEController":
        return {"driver": "nvme-ns", **common}
    if controller.model in _ATA:
        serial = disk.serial[-_LONGEST_ATA_SERIAL:]
        model = "VMware Virtual IDE Hard Drive"
        return {"driver": "ide-hd", **common, "serial": serial, "model": model, **_ERRORS}
    drive: dict[str, Any] = {
        "driver": "scsi-hd",
        **common,
        "serial": disk.serial[-_LONGEST_SCSI_SERIAL:],
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
