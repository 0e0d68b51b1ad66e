"""The plan of a reconfiguration's device changes: what the devices will be, checked completely.

Nothing is changed here: the plan works on copies, and lists what has to happen to disk files.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pyVmomi import vim

from vmops.lab.machine.allocations import complete_allocations
from vmops.lab.machine.devices.defaults import FIXED_KEYS, describe
from vmops.lab.machine.devices.drives import DrivePlanner
from vmops.lab.machine.devices.faults import (
    invalid_controller,
    invalid_device,
    invalid_operation,
    unsupported_device,
)
from vmops.lab.machine.devices.hot_plug_rules import check_hot_plug
from vmops.lab.machine.devices.nics import NicPlanner
from vmops.lab.machine.devices.slots import (
    IDE,
    MAX_NICS,
    MAX_SERIAL_PORTS,
    SCSI,
    VIDEO_KEY,
    ControllerKind,
    device_key,
    free_bus,
    free_unit,
    kind_of,
    number_cards,
    place_controller,
    scsi_model,
    used_units,
    with_children,
)
from vmops.lab.storage.paths import DatastorePath

if TYPE_CHECKING:
    from pyVmomi.vim.vm.device import VirtualController, VirtualDevice, VirtualDeviceSpec

_device = vim.vm.device
_Operation = _device.VirtualDeviceSpec.Operation


@dataclass(slots=True, kw_only=True)
class DevicePlan:
    """Builds the list of devices that a list of VirtualDeviceConfigSpec leads to."""

    devices: list[VirtualDevice]
    """Copies of the present devices; `run` changes them."""
    drives: DrivePlanner
    nics: NicPlanner
    power_state: str
    disk_keys: dict[int, int] = field(default_factory=dict)
    """The keys of disks that are added or edited, by the index of their change."""
    _keys: dict[int, int] = field(default_factory=dict)
    _claimed_ide: set[int] = field(default_factory=set)
    _unplaced: list[tuple[int, VirtualDevice]] = field(default_factory=list)

    def run(self, changes: Sequence[VirtualDeviceSpec]) -> list[VirtualDevice]:
        """Return the devices after all changes.

        Removals come first, then controllers, then the rest, so that the order in the list does
        not matter.

        Raises:
            vim.fault.InvalidDeviceSpec or one below it: with the index of the change at fault.
            vim.fault.DeviceNotSupported: a kind of device the lab has not.
            vim.fault.TooManyDevices: more than the machine has places for.
        """
        for index, change in enumerate(changes):
            self._check_allowed(index, change, changes)
        numbered = list(enumerate(changes))
        for index, change in numbered:
            if change.operation == _Operation.remove:
                self._remove(index, change)
        for index, change in numbered:
            if change.operation == _Operation.add and isinstance(
                change.device, _device.VirtualController
            ):
                self._add_controller(index, copy.deepcopy(change.device))
        for index, change in numbered:
            if change.operation == _Operation.edit:
                self._edit(index, change)
        for index, change in numbered:
            if change.operation == _Operation.add and not isinstance(
                change.device, _device.VirtualController
            ):
                self._add(index, change)
        self._check_counts()
        number_cards(self.devices)
        complete_allocations(self.devices)
        describe(self.devices)
        return with_children(self.devices)

    def _check_allowed(
        self, index: int, change: VirtualDeviceSpec, changes: Sequence[VirtualDeviceSpec]
    ) -> None:
        if change.device is None or change.operation is None:
            raise invalid_device(index, "operation", "A change needs an operation and a device.")
        if self.power_state == "poweredOn":
            check_hot_plug(index, change, changes, self.devices)
        elif self.power_state != "poweredOff":
            raise vim.fault.InvalidPowerState(
                requestedState="poweredOff", existingState=self.power_state
            )

    def _find(self, index: int, key: int) -> VirtualDevice:
        for device in self.devices:
            if device.key == key:
                return device
        raise invalid_device(index, "key", f"There is no device {key}.")

    def _remove(self, index: int, change: VirtualDeviceSpec) -> None:
        device = self._find(index, change.device.key)
        if device.key in FIXED_KEYS:
            raise invalid_operation(index, change, "Every machine has this device.")
        if isinstance(device, _device.VirtualDisk):
            self.drives.removed(index, change, device)
        elif change.fileOperation is not None:
            raise invalid_operation(index, change, "The device has no file.")
        self.devices.remove(device)
        if isinstance(device, _device.VirtualController):
            self._unplaced.append((index, device))

    def _add_controller(self, index: int, controller: VirtualController) -> None:
        kind = kind_of(controller)
        if kind is None or (kind is SCSI and scsi_model(controller) is None):
            raise unsupported_device(controller, "the lab has no such controller.")
        if kind is IDE:
            self._claim_ide(index, controller)
            return
        bus: int | None = controller.busNumber
        taken = {each.busNumber for each in self.devices if isinstance(each, kind.wire_type)}
        if bus is None or bus < 0:
            bus = free_bus(kind, self.devices)
            if bus is None:
                raise vim.fault.TooManyDevices(property="virtualDeviceSpec.device")
        if bus in taken or bus >= kind.buses:
            raise invalid_device(index, "busNumber", f"Bus {bus} is taken or does not exist.")
        given = controller.key
        place_controller(kind, controller, bus)
        self._keys[given] = controller.key
        self.devices.append(controller)

    def _claim_ide(self, index: int, controller: VirtualController) -> None:
        bus = controller.busNumber
        if bus is None or bus < 0 or (bus in self._claimed_ide and controller.key < 0):
            bus = min({0, 1} - self._claimed_ide, default=IDE.buses)
        if bus >= IDE.buses or bus in self._claimed_ide:
            raise invalid_device(index, "busNumber", "There are two IDE controllers.")
        self._claimed_ide.add(bus)
        self._keys[controller.key] = IDE.first_key + bus

    def _add(self, index: int, change: VirtualDeviceSpec) -> None:
        device = copy.deepcopy(change.device)
        is_disk = isinstance(device, _device.VirtualDisk)
        if change.fileOperation is not None and not is_disk:
            raise invalid_operation(index, change, "The device has no file.")
        if is_disk or isinstance(device, _device.VirtualCdrom):
            kind, controller = self._place(index, device)
            if isinstance(device, _device.VirtualDisk):
                self.drives.add_disk(index, change, device, controller)
            else:
                self.drives.prepare_cdrom(index, device)
            device.key = device_key(kind, controller.busNumber, device.unitNumber or 0)
            if any(other.key == device.key for other in self.devices):
                taken = {other.key for other in self.devices}
                device.key = next(key for key in range(device.key, 2**31) if key not in taken)
            if is_disk:
                self.disk_keys[index] = device.key
        elif isinstance(device, _device.VirtualEthernetCard):
            self.nics.prepare(index, device)
            device.key = -1
        elif isinstance(device, _device.VirtualSerialPort):
            self.drives.prepare_serial_port(index, device)
            device.key = -1
        elif isinstance(device, _device.VirtualVideoCard):
            self._edit_video(device)
            return
        else:
            raise unsupported_device(device, "the lab has no such device.")
        self.devices.append(device)

    def _place(self, index: int, device: VirtualDevice) -> tuple[ControllerKind, VirtualController]:
        """Give a disk or drive its controller and unit."""
        if device.controllerKey is None:
            raise vim.fault.MissingController(
                deviceIndex=index,
                property="virtualDeviceSpec.device.controllerKey",
                msg=f"Device '{index}' needs a controller.",
            )
        key = self._keys.get(device.controllerKey, device.controllerKey)
        controller = next((each for each in self.devices if each.key == key), None)
        kind = None if controller is None else kind_of(controller)
        is_disk = isinstance(device, _device.VirtualDisk)
        if (
            kind is None
            or not isinstance(controller, _device.VirtualController)
            or not (is_disk or kind.takes_cdrom)
        ):
            raise invalid_controller(index, device.controllerKey)
        device.controllerKey = key
        others = [other for other in self.devices if other is not device]
        used = used_units(key, others)
        if device.unitNumber is None or device.unitNumber < 0:
            device.unitNumber = free_unit(kind, used)
            if device.unitNumber is None:
                raise vim.fault.TooManyDevices(
                    property="virtualDeviceSpec.device",
                    msg=f"Controller {key} has no free unit for device '{index}'.",
                )
        unit = device.unitNumber
        if unit in used or unit >= kind.units or unit == kind.reserved_unit:
            raise invalid_device(
                index, "unitNumber", f"Unit {unit} is taken, reserved or does not exist."
            )
        return kind, controller

    def _edit(self, index: int, change: VirtualDeviceSpec) -> None:
        new = copy.deepcopy(change.device)
        old = self._find(index, new.key)
        if isinstance(new, _device.VirtualVideoCard):
            self._edit_video(new)
            return
        if isinstance(old, _device.VirtualController) or old.key in FIXED_KEYS:
            if type(new) is not type(old):
                raise invalid_device(index, "key", f"Device {new.key} is of another kind.")
            if isinstance(old, _device.VirtualSCSIController):
                old.sharedBus = getattr(new, "sharedBus", None) or old.sharedBus
            return
        self._edit_replaceable(index, change, old, new)

    def _edit_replaceable(
        self, index: int, change: VirtualDeviceSpec, old: VirtualDevice, new: VirtualDevice
    ) -> None:
        if isinstance(old, _device.VirtualEthernetCard) and isinstance(
            new, _device.VirtualEthernetCard
        ):
            _keep_unset(new, old)
            self.nics.prepare(index, new)
        elif type(new) is not type(old):
            raise invalid_device(index, "key", f"Device {new.key} is of another kind.")
        else:
            _keep_unset(new, old)
            self.devices[self.devices.index(old)] = new
            if isinstance(old, _device.VirtualDisk) and isinstance(new, _device.VirtualDisk):
                self._place(index, new)
                self.drives.edit_disk(index, change, old, new)
                self.disk_keys[index] = new.key
            elif isinstance(old, _device.VirtualCdrom):
                self._place(index, new)
                self.drives.prepare_cdrom(index, new)
            elif isinstance(new, _device.VirtualSerialPort):
                self.drives.prepare_serial_port(index, new)
            else:
                raise unsupported_device(new, "the lab has no such device.")
            return
        self.devices[self.devices.index(old)] = new

    def _edit_video(self, new: VirtualDevice) -> None:
        card = next(device for device in self.devices if device.key == VIDEO_KEY)
        for name in ("videoRamSizeInKB", "numDisplays", "useAutoDetect"):
            given = getattr(new, name)
            if given is not None:
                setattr(card, name, given)

    def _check_counts(self) -> None:
        for wire_type, most in (
            (_device.VirtualEthernetCard, MAX_NICS),
            (_device.VirtualSerialPort, MAX_SERIAL_PORTS),
        ):
            if sum(isinstance(device, wire_type) for device in self.devices) > most:
                raise vim.fault.TooManyDevices(
                    property="virtualDeviceSpec.device", msg=f"At most {most} are possible."
                )
        keys = {device.key for device in self.devices}
        for index, controller in self._unplaced:
            orphaned = any(device.controllerKey == controller.key for device in self.devices)
            if orphaned and controller.key not in keys:
                raise invalid_device(index, "key", "There are devices on the controller.")


def _keep_unset(new: VirtualDevice, old: VirtualDevice) -> None:
    """Let every field an edit leaves unset stay as it was."""
    for prop in type(new)._GetPropertyList():
        if getattr(new, prop.name) in (None, []):
            kept = getattr(old, prop.name, None)
            if kept is not None:
                setattr(new, prop.name, kept)


def disks_to_inspect(changes: Sequence[VirtualDeviceSpec]) -> list[DatastorePath]:
    """List the disks a plan must know the files of: those attached, and parents of new ones.

    Paths that cannot be parsed are left out; the plan refuses them with their index.
    """
    wanted = []
    for change in changes:
        backing = getattr(change.device, "backing", None)
        if not isinstance(change.device, _device.VirtualDisk) or backing is None:
            continue
        parent = getattr(backing, "parent", None)
        if change.operation == _Operation.add and change.fileOperation is None:
            wanted.append(backing.fileName)
        elif parent is not None and change.fileOperation is not None:
            wanted.append(parent.fileName)
    return [path for path in map(parsed, wanted) if path is not None]


def parsed(text: str | None) -> DatastorePath | None:
    """Parse a datastore path that names a file; None if it does not."""
    try:
        path = DatastorePath.parse(text or "")
    except ValueError:
        return None
    return path if path.path else None
