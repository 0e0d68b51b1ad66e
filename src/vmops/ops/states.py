"""Power states and instances, as messages name them."""

from __future__ import annotations

from vmops.errors import VMOpsError
from vmops.model.power import PowerState
from vmops.vsphere.virtual_machine import VirtualMachine

_WORDS: dict[PowerState | None, str] = {
    PowerState.POWERED_ON: "running",
    PowerState.POWERED_OFF: "powered off",
    PowerState.SUSPENDED: "suspended",
    None: "in no known state",
}


def describe_state(state: PowerState | None) -> str:
    """The state in a sentence: "running"."""
    return _WORDS[state]


def read_state(vm: VirtualMachine) -> str:
    """The state now, in a sentence, also where it cannot be read."""
    try:
        return _WORDS[vm.power_state()]
    except VMOpsError:
        return "in a state that cannot be read"


def called(vm: VirtualMachine, instance_uuid: str) -> str:
    """The instance as a message names it: by its VM's name where that is known at no cost."""
    name = vm.known_name()
    return f"Instance {name} ({instance_uuid})" if name else f"Instance {instance_uuid}"
