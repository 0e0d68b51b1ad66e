"""Places for disks and CD-ROM drives on a virtual machine's controllers.

How many controllers there may be of a kind, and units on each, is in `vmops.model.controllers`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from pyVmomi import vim

from vmops.errors import UnsupportedDevice
from vmops.model.controllers import KINDS, MAX_CONTROLLERS
from vmops.model.image import AdapterType

CONTROLLER_KEY = -101
"""Of the first new controller; the next ones count down. The server gives it a key of its own."""
IDE_CONTROLLERS = (200, 201)
"""Their keys in every virtual machine; see VirtualHardware.device in the API reference."""

_CONTROLLERS: dict[AdapterType, type[vim.vm.device.VirtualController]] = {
    AdapterType.BUS_LOGIC: vim.vm.device.VirtualBusLogicController,
    AdapterType.LSI_LOGIC: vim.vm.device.VirtualLsiLogicController,
    AdapterType.LSI_LOGIC_SAS: vim.vm.device.VirtualLsiLogicSASController,
    AdapterType.PARA_VIRTUAL: vim.vm.device.ParaVirtualSCSIController,
    AdapterType.SATA: vim.vm.device.VirtualAHCIController,
    AdapterType.NVME: vim.vm.device.VirtualNVMEController,
}


class Controller(Protocol):
    """A controller that a virtual machine has; `objects.vm_hardware.VmController` is one."""

    @property
    def key(self) -> int:
        """The key of the controller's device; temporary for a new one."""

    @property
    def bus(self) -> int:
        """Its bus number: 0 to 3."""

    @property
    def adapter(self) -> AdapterType:
        """The kind of adapter that it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a device goes."""

    controller_key: int
    unit_number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Controller:
    key: int
    bus: int
    adapter: AdapterType


class Places:
    """Gives out free places, the lowest first, and notes which controllers must be added for them.

    Without arguments it is for a virtual machine that has no disk yet. One instance serves one
    call to the server: what it gave out is taken.
    """

    def __init__(
        self, controllers: Iterable[Controller] = (), used: Iterable[tuple[int, int]] = ()
    ) -> None:
        """``used`` are (controller key, unit number) of the devices that are there."""
        self._controllers: list[Controller] = list(controllers) or [
            _Controller(key=key, bus=bus, adapter=AdapterType.IDE)
            for bus, key in enumerate(IDE_CONTROLLERS)
        ]
        self._used = set(used)
        self._added: list[Controller] = []

    def take(self, adapter: AdapterType) -> Place:
        """A free place on a controller of this kind, on a new one if all are full.

        Raises:
            UnsupportedDevice: there is none, and no place for another controller.
        """
        for controller in self._controllers:
            if controller.adapter is adapter and (place := self._free(controller)) is not None:
                return place
        place = self._free(self._add(adapter))
        assert place is not None  # noqa: S101 - a new controller is empty
        return place

    def changes(self) -> list[vim.vm.device.VirtualDeviceSpec]:
        """The device changes that add the controllers needed; they go before the devices."""
        return [
            vim.vm.device.VirtualDeviceSpec(operation="add", device=_device(added))
            for added in self._added
        ]

    def _free(self, controller: Controller) -> Place | None:
        for unit in KINDS[controller.adapter].free_units():
            if (controller.key, unit) not in self._used:
                self._used.add((controller.key, unit))
                return Place(controller_key=controller.key, unit_number=unit)
        return None

    def _add(self, adapter: AdapterType) -> Controller:
        word = KINDS[adapter].word
        there = {c.bus for c in self._controllers if KINDS[c.adapter].word == word}
        if adapter is AdapterType.IDE or len(there) >= MAX_CONTROLLERS:
            raise UnsupportedDevice(f"There is no free place for a disk on {adapter} controllers.")
        added = _Controller(
            key=CONTROLLER_KEY - len(self._added),
            bus=next(bus for bus in range(MAX_CONTROLLERS) if bus not in there),
            adapter=adapter,
        )
        self._added.append(added)
        self._controllers.append(added)
        return added


def _device(added: Controller) -> vim.vm.device.VirtualController:
    device = _CONTROLLERS[added.adapter](key=added.key, busNumber=added.bus)
    if isinstance(device, vim.vm.device.VirtualSCSIController):
        device.sharedBus = vim.vm.device.VirtualSCSIController.Sharing.noSharing
    return device
