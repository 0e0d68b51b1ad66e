"""What a virtual machine consists of on its datastores."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from pyVmomi import vim

from vmops.model.power import PowerState
from vmops.units import kib_to_bytes
from vmops.vsphere.live.kinds import power_state

CONSOLIDATION = "runtime.consolidationNeeded"
PATHS = (
    "config.instanceUuid",
    "config.template",
    "config.files.vmPathName",
    "config.hardware.device",
    "config.extraConfig",
    "runtime.powerState",
    "snapshot",
    CONSOLIDATION,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class VmDisk:
    """A virtual disk with a file. ``uuid`` is "" where the server does not tell.

    ``parents`` are the disks that it is based on, the nearest first.
    """

    key: int
    file_name: str
    uuid: str
    capacity_bytes: int
    controller_key: int = 0
    unit_number: int = 0
    provisioning: str = "thin"
    """`VirtualDiskType` of a whole copy: a delta's is thin."""
    parents: tuple[str, ...] = ()
    first_class_id: str = ""
    """Its id as a first class disk; "" where it is none."""
    disk_mode: str = "persistent"

    @property
    def identity(self) -> str:
        """What stays with it: its UUID, or its path where the server tells no UUIDs, as vcsim."""
        return self.uuid or self.file_name

    @property
    def is_in_snapshots(self) -> bool:
        """Whether a snapshot of the VM takes the disk along, and leaves it a delta to write to."""
        return not self.disk_mode.startswith("independent")


@dataclass(frozen=True, slots=True, kw_only=True)
class VmFiles:
    """The files of a virtual machine as its configuration names them, and what they are for."""

    instance_uuid: str
    vmx: str
    power_state: PowerState | None
    disks: tuple[VmDisk, ...]
    serial_files: tuple[str, ...]
    iso_files: tuple[str, ...] = ()
    """The images in its CD-ROM drives."""
    extra_config: dict[str, str] = field(default_factory=dict)
    has_snapshots: bool = False
    is_template: bool = False
    needs_consolidation: bool = False
    """Whether it writes to layers of snapshots that are not there any more."""


def files_from(values: dict[str, Any]) -> VmFiles:
    """From the values of `PATHS`, any of which may be missing."""
    devices = values.get("config.hardware.device") or ()
    extra = {str(o.key): str(o.value) for o in values.get("config.extraConfig") or ()}
    disks = disks_from(devices)
    return VmFiles(
        instance_uuid=str(values.get("config.instanceUuid") or ""),
        vmx=str(values.get("config.files.vmPathName") or ""),
        power_state=power_state(values.get("runtime.powerState")),
        disks=disks,
        serial_files=_files_of(devices, vim.vm.device.VirtualSerialPort),
        iso_files=_files_of(devices, vim.vm.device.VirtualCdrom),
        extra_config=extra,
        has_snapshots=values.get("snapshot") is not None,
        is_template=bool(values.get("config.template")),
        needs_consolidation=bool(values.get(CONSOLIDATION)),
    )


def disks_from(devices: Iterable[vim.vm.device.VirtualDevice]) -> tuple[VmDisk, ...]:
    """The virtual disks with files among devices."""
    return tuple(
        _disk(each)
        for each in devices
        if isinstance(each, vim.vm.device.VirtualDisk) and _file_of(each)
    )


def _files_of(
    devices: Iterable[vim.vm.device.VirtualDevice], kind: type[vim.vm.device.VirtualDevice]
) -> tuple[str, ...]:
    return tuple(_file_of(d) for d in devices if isinstance(d, kind) and _file_of(d))


def _file_of(device: vim.vm.device.VirtualDevice) -> str:
    return str(getattr(device.backing, "fileName", None) or "")


def _disk(device: vim.vm.device.VirtualDisk) -> VmDisk:
    return VmDisk(
        key=int(device.key),
        file_name=_file_of(device),
        uuid=str(getattr(device.backing, "uuid", None) or ""),
        capacity_bytes=int(device.capacityInBytes or kib_to_bytes(device.capacityInKB or 0)),
        controller_key=int(device.controllerKey or 0),
        unit_number=int(device.unitNumber or 0),
        provisioning=_provisioning(device.backing),
        parents=tuple(_parents(device.backing)),
        first_class_id=_first_class_id(device),
        disk_mode=str(getattr(device.backing, "diskMode", None) or "persistent"),
    )


def _first_class_id(device: vim.vm.device.VirtualDevice) -> str:
    identity = getattr(device, "vDiskId", None)  # absent before API 6.5
    return str(identity.id) if identity is not None else ""


def _parents(backing: vim.vm.device.VirtualDevice.BackingInfo | None) -> Iterator[str]:
    parent = getattr(backing, "parent", None)
    while parent is not None:
        yield str(parent.fileName)
        parent = getattr(parent, "parent", None)


def _provisioning(backing: vim.vm.device.VirtualDevice.BackingInfo | None) -> str:
    if getattr(backing, "parent", None) is not None or getattr(backing, "thinProvisioned", None):
        return "thin"
    return "eagerZeroedThick" if getattr(backing, "eagerlyScrub", None) else "preallocated"
