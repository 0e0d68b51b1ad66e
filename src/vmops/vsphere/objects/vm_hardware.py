"""A virtual machine's disks and controllers with their places, and how it boots."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pyVmomi import vim

from vmops.errors import UnsupportedDevice
from vmops.model.controllers import KINDS
from vmops.model.image import AdapterType, Firmware
from vmops.vsphere.objects import vm_files
from vmops.vsphere.objects.vm_files import VmDisk, VmFiles

PATHS = (*vm_files.PATHS, "config.bootOptions", "config.firmware")

_KINDS: tuple[tuple[type[vim.vm.device.VirtualDevice], AdapterType], ...] = (
    (vim.vm.device.ParaVirtualSCSIController, AdapterType.PARA_VIRTUAL),
    (vim.vm.device.VirtualLsiLogicSASController, AdapterType.LSI_LOGIC_SAS),
    (vim.vm.device.VirtualLsiLogicController, AdapterType.LSI_LOGIC),
    (vim.vm.device.VirtualBusLogicController, AdapterType.BUS_LOGIC),
    (vim.vm.device.VirtualIDEController, AdapterType.IDE),
    (vim.vm.device.VirtualAHCIController, AdapterType.SATA),
    (vim.vm.device.VirtualNVMEController, AdapterType.NVME),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class VmController:
    """A disk controller."""

    key: int
    bus: int
    adapter: AdapterType


@dataclass(frozen=True, slots=True, kw_only=True)
class VmDrive:
    """A CD-ROM drive; ``iso`` is the image in it, "" if there is none."""

    key: int
    iso: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """A free place for a disk."""

    controller_key: int
    unit_number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VmHardware:
    """What a VM has for disks. ``boot_order`` is raw, to be put back as it was."""

    files: VmFiles
    controllers: tuple[VmController, ...]
    used: frozenset[tuple[int, int]]
    firmware: Firmware
    boot_order: tuple[vim.vm.BootOptions.BootableDevice, ...] = field(compare=False)
    drives: tuple[VmDrive, ...] = ()
    secure_boot: bool = False

    def controller(self, key: int) -> VmController:
        """The controller of this key.

        Raises:
            UnsupportedDevice: it is none that this engine knows.
        """
        for controller in self.controllers:
            if controller.key == key:
                return controller
        on_it = [disk.file_name for disk in self.files.disks if disk.controller_key == key]
        raise UnsupportedDevice(
            f"The disk controller {key} of {', '.join(on_it) or 'no disk'} is of a kind that is not"
            f" supported; known are {', '.join(AdapterType)}."
        )

    def free_slot(self, near: VmDisk) -> Slot:
        """A free place beside a disk: on its controller, or on another of the same kind.

        Raises:
            UnsupportedDevice: all places are taken, or the controller's kind is not supported.
        """
        wanted = self.controller(near.controller_key)
        same = [c for c in self.controllers if c.adapter is wanted.adapter and c != wanted]
        for controller in (wanted, *same):
            for unit in KINDS[controller.adapter].free_units():
                if (controller.key, unit) not in self.used:
                    return Slot(controller_key=controller.key, unit_number=unit)
        raise UnsupportedDevice(
            f"There is no free place for a disk on {wanted.adapter} controllers."
        )


def hardware_from(values: dict[str, Any]) -> VmHardware:
    """From the values of `PATHS`, any of which may be missing."""
    devices = values.get("config.hardware.device") or ()
    boot = values.get("config.bootOptions")
    firmware = values.get("config.firmware")
    return VmHardware(
        files=vm_files.files_from(values),
        controllers=tuple(
            VmController(key=int(d.key), bus=int(d.busNumber), adapter=adapter)
            for d in devices
            if (adapter := _adapter(d)) is not None
        ),
        used=frozenset(
            (int(d.controllerKey), int(d.unitNumber))
            for d in devices
            if d.controllerKey is not None and d.unitNumber is not None
        ),
        firmware=Firmware.EFI if firmware == "efi" else Firmware.BIOS,
        boot_order=tuple(boot.bootOrder or ()) if boot is not None else (),
        secure_boot=boot is not None and bool(boot.efiSecureBootEnabled),
        drives=tuple(
            VmDrive(key=int(d.key), iso=str(getattr(d.backing, "fileName", None) or ""))
            for d in devices
            if isinstance(d, vim.vm.device.VirtualCdrom)
        ),
    )


def _adapter(device: vim.vm.device.VirtualDevice) -> AdapterType | None:
    return next((adapter for kind, adapter in _KINDS if isinstance(device, kind)), None)
