"""Which devices may come, go and change while their machine runs, as on vSphere.

Disks on SCSI controllers, network cards and SCSI controllers come and go; what is in a CD-ROM
drive, a card's network, and a disk's size change. Everything else waits until the machine is off.
"""

from __future__ import annotations

from collections.abc import Sequence

from pyVmomi import vim

from vmops.lab.machine.devices.faults import invalid_device, no_hot_plug
from vmops.lab.machine.devices.parts import flat_backing
from vmops.lab.machine.devices.slots import IDE, SCSI, kind_of

_device = vim.vm.device
_Operation = _device.VirtualDeviceSpec.Operation


def check_hot_plug(
    index: int,
    change: _device.VirtualDeviceSpec,
    changes: Sequence[_device.VirtualDeviceSpec],
    devices: Sequence[_device.VirtualDevice],
) -> None:
    """Refuse a change that a running machine cannot take.

    Raises:
        vim.fault.InvalidPowerState: the machine must be off for it, as for all of IDE.
        vim.fault.DeviceHotPlugNotSupported: the device cannot be plugged at all.
        vim.fault.InvalidDeviceSpec: there is no such device.
    """
    given = change.device
    if change.operation == _Operation.add:
        _check_added(index, given, changes, devices)
        return
    present = next((each for each in devices if each.key == given.key), None)
    if present is None:
        raise invalid_device(index, "key", f"There is no device {given.key}.")
    if change.operation == _Operation.remove:
        _check_removed(index, present, devices)
    else:
        _check_edited(index, given, present)


def _check_added(
    index: int,
    device: _device.VirtualDevice,
    changes: Sequence[_device.VirtualDeviceSpec],
    devices: Sequence[_device.VirtualDevice],
) -> None:
    if isinstance(device, _device.VirtualController):
        _require_scsi(index, device)
    elif isinstance(device, _device.VirtualDisk):
        new = [each.device for each in changes if each.operation == _Operation.add]
        for controller in (*devices, *new):
            is_controller = isinstance(controller, _device.VirtualController)
            if is_controller and controller.key == device.controllerKey:
                _require_scsi(index, controller)
    elif isinstance(device, _device.VirtualCdrom):
        raise _must_be_off()
    elif not isinstance(device, _device.VirtualEthernetCard):
        raise no_hot_plug(index)


def _check_removed(
    index: int, device: _device.VirtualDevice, devices: Sequence[_device.VirtualDevice]
) -> None:
    if isinstance(device, _device.VirtualDisk):
        for controller in devices:
            if controller.key == device.controllerKey:
                _require_scsi(index, controller)
    elif isinstance(device, _device.VirtualCdrom):
        raise _must_be_off()
    elif not isinstance(device, _device.VirtualEthernetCard):
        raise no_hot_plug(index)


def _check_edited(index: int, given: _device.VirtualDevice, present: _device.VirtualDevice) -> None:
    if isinstance(present, _device.VirtualEthernetCard):
        address = getattr(given, "macAddress", None)
        if type(given) is not type(present) or (
            address and address.lower() != (present.macAddress or "").lower()
        ):
            raise _must_be_off()
    elif isinstance(present, _device.VirtualDisk):
        mode = getattr(given.backing, "diskMode", None)
        if mode and mode != flat_backing(present).diskMode:
            raise _must_be_off()
        _refuse_move(given, present)
    elif isinstance(present, _device.VirtualCdrom):
        _refuse_move(given, present)
    elif not isinstance(present, _device.VirtualController):
        raise no_hot_plug(index)


def _refuse_move(given: _device.VirtualDevice, present: _device.VirtualDevice) -> None:
    for name in ("controllerKey", "unitNumber"):
        if getattr(given, name) not in (None, getattr(present, name)):
            raise _must_be_off()


def _require_scsi(index: int, controller: _device.VirtualDevice) -> None:
    kind = kind_of(controller)
    if kind is IDE:
        raise _must_be_off()
    if kind is not SCSI:
        raise no_hot_plug(index)


def _must_be_off() -> vim.fault.InvalidPowerState:
    return vim.fault.InvalidPowerState(
        requestedState="poweredOff",
        existingState="poweredOn",
        msg="The attempted operation cannot be performed in the current state (Powered on).",
    )
