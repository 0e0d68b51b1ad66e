"""Power states, in vSphere's words and in Nova's numbers."""

from __future__ import annotations

from enum import IntEnum, StrEnum


class PowerState(StrEnum):
    """`VirtualMachinePowerState`; the values are the words on the wire."""

    POWERED_OFF = "poweredOff"
    POWERED_ON = "poweredOn"
    SUSPENDED = "suspended"


class InstanceState(IntEnum):
    """Nova's power states (nova.objects.fields.InstancePowerState)."""

    NOSTATE = 0
    RUNNING = 1
    PAUSED = 3
    SHUTDOWN = 4
    CRASHED = 6
    SUSPENDED = 7


INSTANCE_STATES: dict[PowerState, InstanceState] = {
    PowerState.POWERED_OFF: InstanceState.SHUTDOWN,
    PowerState.POWERED_ON: InstanceState.RUNNING,
    PowerState.SUSPENDED: InstanceState.SUSPENDED,
}
