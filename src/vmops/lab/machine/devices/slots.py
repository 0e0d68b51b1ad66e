"""Where devices sit: controllers, their buses and units, and the keys that follow from them.

The keys are those every vSphere virtual machine shows: SCSI controllers from 1000, IDE 200 and
201, AHCI from 15000, NVMe from 31000; SCSI disks from 2000, IDE devices from 3000, SATA devices
from 16000, NVMe disks from 32000, network cards from 4000, serial ports from 9000.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pyVmomi import vim

_device = vim.vm.device

PCI_KEY = 100
SIO_KEY = 400
VIDEO_KEY = 500
FIRST_NIC_KEY = 4000
FIRST_SERIAL_KEY = 9000
MAX_NICS = 10
MAX_SERIAL_PORTS = 4
_FIRST_NIC_UNIT = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class ControllerKind:
    """One family of disk controllers.

    ``name`` is how .vmx files call it, ``pci_unit`` the unit on the PCI bus of its bus 0.
    """

    name: str
    wire_type: type[_device.VirtualController]
    first_key: int
    buses: int
    units: int
    reserved_unit: int | None
    first_device_key: int
    keys_per_bus: int
    pci_unit: int
    label: str
    takes_cdrom: bool


SCSI = ControllerKind(
    name="scsi",
    wire_type=_device.VirtualSCSIController,
    first_key=1000,
    buses=4,
    units=16,
    reserved_unit=7,
    first_device_key=2000,
    keys_per_bus=16,
    pci_unit=3,
    label="SCSI controller",
    takes_cdrom=False,
)
IDE = ControllerKind(
    name="ide",
    wire_type=_device.VirtualIDEController,
    first_key=200,
    buses=2,
    units=2,
    reserved_unit=None,
    first_device_key=3000,
    keys_per_bus=2,
    pci_unit=0,
    label="IDE",
    takes_cdrom=True,
)
SATA = ControllerKind(
    name="sata",
    wire_type=_device.VirtualAHCIController,
    first_key=15000,
    buses=4,
    units=30,
    reserved_unit=None,
    first_device_key=16000,
    keys_per_bus=30,
    pci_unit=24,
    label="SATA controller",
    takes_cdrom=True,
)
NVME = ControllerKind(
    name="nvme",
    wire_type=_device.VirtualNVMEController,
    first_key=31000,
    buses=4,
    units=15,
    reserved_unit=None,
    first_device_key=32000,
    keys_per_bus=15,
    pci_unit=30,
    label="NVME controller",
    takes_cdrom=False,
)
KINDS = (SCSI, IDE, SATA, NVME)

SCSI_MODELS: dict[str, type[_device.VirtualController]] = {
    "pvscsi": _device.ParaVirtualSCSIController,
    "lsilogic": _device.VirtualLsiLogicController,
    "lsisas1068": _device.VirtualLsiLogicSASController,
    "buslogic": _device.VirtualBusLogicController,
}
"""The name in a .vmx file of each SCSI controller."""

SCSI_SUMMARIES = {
    "pvscsi": "VMware paravirtual SCSI",
    "lsilogic": "LSI Logic",
    "lsisas1068": "LSI Logic SAS",
    "buslogic": "BusLogic",
}


def kind_of(controller: _device.VirtualDevice) -> ControllerKind | None:
    """Return the family of a disk controller, None for any other device."""
    for kind in KINDS:
        if isinstance(controller, kind.wire_type):
            return kind
    return None


def scsi_model(controller: _device.VirtualDevice) -> str | None:
    """Return the .vmx name of a SCSI controller, None for a type that does not exist alone."""
    for name, wire_type in SCSI_MODELS.items():
        if type(controller) is wire_type:
            return name
    return None


def wire_name(device: _device.VirtualDevice) -> str:
    """Return the plain class name of a device, ``VirtualLsiLogicController``."""
    return str(type(device).__name__).rpartition(".")[2]


def device_key(kind: ControllerKind, bus: int, unit: int) -> int:
    """Return the key of the disk or CD-ROM drive at a place."""
    return kind.first_device_key + bus * kind.keys_per_bus + unit


def free_bus(kind: ControllerKind, devices: Iterable[_device.VirtualDevice]) -> int | None:
    """Return the lowest bus number without a controller, None when all have one."""
    used = {device.busNumber for device in devices if isinstance(device, kind.wire_type)}
    return next((bus for bus in range(kind.buses) if bus not in used), None)


def used_units(controller_key: int, devices: Iterable[_device.VirtualDevice]) -> set[int]:
    """Return the units of a controller that have a device."""
    return {
        device.unitNumber
        for device in devices
        if device.controllerKey == controller_key and device.unitNumber is not None
    }


def free_unit(kind: ControllerKind, used: set[int]) -> int | None:
    """Return the lowest free unit of a controller, None when it is full."""
    for unit in range(kind.units):
        if unit not in used and unit != kind.reserved_unit:
            return unit
    return None


def place_controller(kind: ControllerKind, controller: _device.VirtualController, bus: int) -> None:
    """Give a controller the keys, units and description of its bus."""
    controller.busNumber = bus
    controller.key = kind.first_key + bus
    summary = kind.label if kind is IDE else kind.name.upper()
    if isinstance(controller, _device.VirtualSCSIController):
        summary = SCSI_SUMMARIES[scsi_model(controller) or "lsilogic"]
        controller.hotAddRemove = True
        controller.scsiCtlrUnitNumber = kind.reserved_unit
        if controller.sharedBus is None:
            controller.sharedBus = _device.VirtualSCSIController.Sharing.noSharing
    elif kind is SATA:
        summary = "AHCI"
    if kind is not IDE:
        controller.controllerKey = PCI_KEY
        controller.unitNumber = kind.pci_unit + bus
    controller.deviceInfo = vim.Description(label=f"{kind.label} {bus}", summary=summary)


def number_cards(devices: list[_device.VirtualDevice]) -> None:
    """Give every network card and serial port without a valid key its key and place."""
    for wire_type, first, most, controller, unit in (
        (_device.VirtualEthernetCard, FIRST_NIC_KEY, MAX_NICS, PCI_KEY, _FIRST_NIC_UNIT),
        (_device.VirtualSerialPort, FIRST_SERIAL_KEY, MAX_SERIAL_PORTS, SIO_KEY, 0),
    ):
        cards = [device for device in devices if isinstance(device, wire_type)]
        used = {card.key for card in cards if card.key >= first}
        for card in cards:
            if card.key < first:
                card.key = next(key for key in range(first, first + most + 1) if key not in used)
                used.add(card.key)
            card.controllerKey = controller
            card.unitNumber = unit + card.key - first


def with_children(devices: list[_device.VirtualDevice]) -> list[_device.VirtualDevice]:
    """Order devices by key and fill the controllers' lists of what is on them."""
    ordered = sorted(devices, key=lambda device: int(device.key))
    for device in ordered:
        if isinstance(device, _device.VirtualController):
            device.device = [each.key for each in ordered if each.controllerKey == device.key]
    return ordered
