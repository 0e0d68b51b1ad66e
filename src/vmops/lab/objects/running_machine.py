"""A virtual machine as its guest runs now: connected is what is connected, not what starts so."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from vmops.lab.hypervisor.port import Machine
from vmops.lab.machine.guest_definition import machine_of

if TYPE_CHECKING:
    from vmops.lab.objects.virtual_machine import VirtualMachine
    from vmops.lab.storage.disks import DiskInfo


def running_machine(
    vm: VirtualMachine, config: Any, chains: Mapping[int, Sequence[DiskInfo]]
) -> Machine:
    """Build the machine that a guest with this configuration runs as."""
    shown = copy.copy(config)
    shown.hardware = copy.copy(config.hardware)
    shown.hardware.device = [_as_connected(device) for device in config.hardware.device]
    return machine_of(vm, chains, shown)


def _as_connected(device: Any) -> Any:
    if device.connectable is None:
        return device
    copied = copy.copy(device)
    copied.connectable = copy.copy(device.connectable)
    copied.connectable.startConnected = bool(device.connectable.connected)
    return copied
