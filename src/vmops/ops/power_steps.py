"""The steps that start and stop a machine for an operation that changes it.

They have no undo: the note of the operation that runs them says whether the machine was on, and its
undo sees to that.
"""

from __future__ import annotations

from vmops.errors import InvalidPowerState
from vmops.model.power import PowerState
from vmops.ops.instances.power import AT_ONCE, Patience, shut_down_guest
from vmops.progress import Observer
from vmops.steps import Reversible, step
from vmops.vsphere.objects.virtual_machine import VirtualMachine


@step("Power on")
def power_on(vm: VirtualMachine, observe: Observer) -> Reversible[None]:
    """Start the guest, unless it runs."""
    try:
        vm.power_on(observe=observe)
    except InvalidPowerState:
        if vm.power_state() is not PowerState.POWERED_ON:
            raise
    yield


@step("Power off")
def power_off(
    vm: VirtualMachine, observe: Observer, patience: Patience = AT_ONCE
) -> Reversible[None]:
    """Let the guest shut down if there is time for it, else pull the plug, unless it is off."""
    try:
        if patience.timeout_s <= 0 or not shut_down_guest(vm, patience):
            vm.power_off(observe=observe)
    except InvalidPowerState:
        if vm.power_state() is not PowerState.POWERED_OFF:
            raise
    yield
