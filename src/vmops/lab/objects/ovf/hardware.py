"""The hardware of an OVF descriptor as devices of a ConfigSpec.

Controllers get their buses and disks their units here, for a client names a disk by its place when
it sends its content.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pyVmomi import vim, vmodl

from vmops.lab.machine.devices.slots import (
    IDE,
    NVME,
    SATA,
    SCSI,
    ControllerKind,
    free_unit,
    kind_of,
)
from vmops.lab.objects.ovf.envelope import Envelope, OvfDisk, OvfItem, invalid_value

_device = vim.vm.device
_SCSI = {
    "": _device.VirtualLsiLogicController,
    "lsilogic": _device.VirtualLsiLogicController,
    "lsilogicsas": _device.VirtualLsiLogicSASController,
    "virtualscsi": _device.ParaVirtualSCSIController,
    "buslogic": _device.VirtualBusLogicController,
}
_OTHER_STORAGE = {
    "ahci": _device.VirtualAHCIController,
    "vmware.sata.ahci": _device.VirtualAHCIController,
    "vmware.nvme.controller": _device.VirtualNVMEController,
}
_CARDS = {
    "": _device.VirtualE1000,
    "e1000": _device.VirtualE1000,
    "e1000e": _device.VirtualE1000e,
    "vmxnet3": _device.VirtualVmxnet3,
    "vmxnet2": _device.VirtualVmxnet2,
    "vmxnet": _device.VirtualVmxnet2,
    "pcnet32": _device.VirtualPCNet32,
}
# CIM_ResourceAllocationSettingData.ResourceType
CPU, MEMORY, IDE_CONTROLLER, SCSI_CONTROLLER = 3, 4, 5, 6
CARD, CD_DRIVE, DVD_DRIVE, DISK, STORAGE, SERIAL_PORT, VIDEO = 10, 15, 16, 17, 20, 21, 24
# Every machine of the lab has these, or does without.
_PASSED_OVER = frozenset({1, 14, 22, 23, 35})


@dataclass(slots=True, kw_only=True)
class PlacedDisk:
    """A disk with the name it has on a lease, without that of the machine."""

    disk: OvfDisk
    place: str


@dataclass(slots=True, kw_only=True)
class OvfHardware:
    """Builds the device changes. ``backings`` gives what a card on a network has behind it."""

    envelope: Envelope
    backings: Callable[[str], _device.VirtualDevice.BackingInfo]
    thin: bool
    eager: bool
    changes: list[_device.VirtualDeviceSpec] = field(default_factory=list)
    disks: list[PlacedDisk] = field(default_factory=list)
    warnings: list[vmodl.MethodFault] = field(default_factory=list)
    _controllers: dict[str, _device.VirtualController] = field(default_factory=dict)
    _units: dict[int, set[int]] = field(default_factory=dict)

    def build(self) -> None:
        """Fill the lists.

        Raises:
            vim.fault.OvfFault: the hardware makes no sense, or the lab cannot provide it.
        """
        items = sorted(self.envelope.items, key=lambda item: item.number("ResourceType") == DISK)
        for item in items:
            if item.number("ResourceType") in (IDE_CONTROLLER, SCSI_CONTROLLER, STORAGE):
                self._controller(item)
        for item in items:
            kind = item.number("ResourceType")
            if kind in (DISK, CD_DRIVE, DVD_DRIVE):
                self._drive(item, is_disk=kind == DISK)
            elif kind == CARD:
                self._card(item)
            elif kind in (CPU, MEMORY, IDE_CONTROLLER, SCSI_CONTROLLER, STORAGE, VIDEO):
                continue
            elif kind == SERIAL_PORT or kind in _PASSED_OVER or not item.is_required:
                self._leave_out(item)
            else:
                raise _unsupported(item)

    def _controller(self, item: OvfItem) -> None:
        kind, model = self._model(item)
        buses = [each for each in self._controllers.values() if kind_of(each) is kind]
        bus = len(buses)
        if bus >= kind.buses:
            raise _unsupported(item)
        controller = model(key=-(len(self._controllers) + 1), busNumber=bus)
        if kind is IDE:
            controller.key = IDE.first_key + bus  # a machine has both from the start
        else:
            if kind is SCSI:
                controller.sharedBus = "noSharing"
            self._add(controller)
        self._controllers[item.text("InstanceID")] = controller

    def _model(self, item: OvfItem) -> tuple[ControllerKind, Any]:
        sub_type = item.text("ResourceSubType").lower()
        number = item.number("ResourceType")
        if number == IDE_CONTROLLER:
            return IDE, _device.VirtualIDEController
        table = _SCSI if number == SCSI_CONTROLLER else _OTHER_STORAGE
        model = next((table[word] for word in sub_type.split() or [""] if word in table), None)
        if model is None:
            raise vim.fault.OvfUnsupportedSubType(
                elementName="ResourceSubType",
                instanceId=item.text("InstanceID"),
                deviceType=number,
                deviceSubType=sub_type,
                msg=f"The lab has no controller '{sub_type}'.",
            )
        kind = SCSI if table is _SCSI else SATA
        return (NVME if model is _device.VirtualNVMEController else kind), model

    def _drive(self, item: OvfItem, *, is_disk: bool) -> None:
        controller = self._controllers.get(item.text("Parent"))
        if controller is None:
            raise invalid_value("Parent", item.text("Parent"))
        kind = kind_of(controller)
        assert kind is not None  # noqa: S101 - only disk controllers are kept
        used = self._units.setdefault(controller.key, set())
        unit = item.number("AddressOnParent", -1)
        if unit < 0:
            unit = -1 if (free := free_unit(kind, used)) is None else free
        if unit in used or not 0 <= unit < kind.units or unit == kind.reserved_unit:
            raise invalid_value("AddressOnParent", str(unit))
        if not is_disk and not kind.takes_cdrom:
            self._leave_out(item)
            return
        used.add(unit)
        if is_disk:
            self._disk(item, controller, unit)
        else:
            self._add(
                _device.VirtualCdrom(
                    key=-(300 + len(self.changes)),
                    controllerKey=controller.key,
                    unitNumber=unit,
                    backing=_device.VirtualCdrom.RemotePassthroughBackingInfo(
                        deviceName="", exclusive=False
                    ),
                )
            )
            if item.resources:
                self._leave_out(item)  # what was to be in it

    def _disk(self, item: OvfItem, controller: _device.VirtualController, unit: int) -> None:
        name = item.resources[0].rpartition("/")[2] if item.resources else ""
        disk = self.envelope.disks.get(name)
        if disk is None:
            raise vim.fault.OvfDiskMappingNotFound(
                diskName=name, vmName=self.envelope.name, msg=f"There is no disk '{name}'."
            )
        device = _device.VirtualDisk(
            key=-(100 + len(self.disks)),
            controllerKey=controller.key,
            unitNumber=unit,
            capacityInKB=-(-disk.capacity_bytes // 1024),
            backing=_device.VirtualDisk.FlatVer2BackingInfo(
                fileName="",
                diskMode="persistent",
                thinProvisioned=self.thin,
                eagerlyScrub=self.eager,
            ),
        )
        self._add(device, file_operation="create")
        place = f"{type(controller).__name__.rpartition('.')[2]}{controller.busNumber}:{unit}"
        self.disks.append(PlacedDisk(disk=disk, place=place))

    def _card(self, item: OvfItem) -> None:
        sub_types = item.text("ResourceSubType").lower().split() or [""]
        model = next((_CARDS[word] for word in sub_types if word in _CARDS), None)
        if model is None:
            raise vim.fault.OvfUnsupportedSubType(
                elementName="ResourceSubType",
                instanceId=item.text("InstanceID"),
                deviceType=CARD,
                deviceSubType=sub_types[0],
                msg=f"The lab has no network card '{sub_types[0]}'.",
            )
        network = item.connections[0] if item.connections else ""
        card = model(
            key=-(200 + len(self.changes)),
            addressType="generated",
            backing=self.backings(network),
            connectable=_device.VirtualDevice.ConnectInfo(
                startConnected=item.text("AutomaticAllocation").lower() != "false",
                allowGuestControl=True,
                connected=False,
            ),
        )
        self._add(card)

    def _add(self, device: _device.VirtualDevice, file_operation: str | None = None) -> None:
        self.changes.append(
            _device.VirtualDeviceSpec(operation="add", fileOperation=file_operation, device=device)
        )

    def _leave_out(self, item: OvfItem) -> None:
        name = item.text("ElementName") or item.text("ResourceType")
        self.warnings.append(
            vim.fault.OvfUnsupportedElement(name=name, msg=f"'{name}' is left out.")
        )


def _unsupported(item: OvfItem) -> vim.fault.OvfUnsupportedType:
    number = item.number("ResourceType")
    return vim.fault.OvfUnsupportedType(
        name=item.text("ElementName"),
        instanceId=item.text("InstanceID"),
        deviceType=number,
        msg=f"The lab has no hardware of type {number}.",
    )
