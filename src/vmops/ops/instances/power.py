"""Power operations, each one call where the VM is in the state that is expected."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass

from vmops.errors import (
    InstancePowerOffFailure,
    InstanceRebootFailure,
    InstanceResumeFailure,
    InstanceSuspendFailure,
    InvalidPowerState,
    ToolsUnavailable,
    VMOpsError,
)
from vmops.model import extra_config
from vmops.model.power import PowerState
from vmops.ops.guard.preconditions import refuse_rescued, refuse_resized
from vmops.ops.guard.states import (
    VmState,
    called,
    describe_state,
    known_paused,
    known_to_be_plain,
    must_run,
    read_state,
)
from vmops.specs.virtual_machine import settings
from vmops.steps import Reversible, step
from vmops.vsphere.objects.virtual_machine import VirtualMachine

log = logging.getLogger(__name__)

_SHORTEST_LOOK_S = 0.1


def power_on(vm: VirtualMachine) -> None:
    """Power on, or resume if suspended or paused; a VM that is on stays as it is.

    Raises:
        InstanceNotFound: there is no such instance.
    """
    try:
        vm.power_on()
    except InvalidPowerState:
        _accept(vm, PowerState.POWERED_ON)
    if known_paused(vm):
        _forget_pause(vm)


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long a guest may take to shut down, and how often to look; seconds. 0: do not ask it."""

    timeout_s: float = 0.0
    retry_interval_s: float = 1.0


AT_ONCE = Patience()


def power_off(
    vm: VirtualMachine, patience: Patience = AT_ONCE, *, discard_memory: bool = False
) -> None:
    """Shut the guest down if there is time for it, else pull the plug; off stays off.

    A guest without Tools, or one that does not shut down in time, is powered off. One that is
    suspended or paused is powered off with ``discard_memory`` alone.

    Raises:
        InstanceNotFound: there is no such instance.
        InstancePowerOffFailure: it is suspended or paused; its memory would be lost.
    """
    # A session that has not loaded its inventory knows no state; then it costs a read.
    if not discard_memory and vm.known_power_state() in {PowerState.SUSPENDED, None}:
        state = read_state(vm)
        if state.power is PowerState.SUSPENDED:
            raise InstancePowerOffFailure(
                f"{called(vm)} is {state.word}; powering off would lose its memory. {state.advice}"
            )
    try:
        if patience.timeout_s > 0 and shut_down_guest(vm, patience):
            return
        vm.power_off()
    except InvalidPowerState:
        _accept(vm, PowerState.POWERED_OFF)


def shut_down_guest(vm: VirtualMachine, patience: Patience) -> bool:
    """Ask the guest to shut down and wait; whether it is off.

    Raises:
        InvalidPowerState: it is not running.
    """
    try:
        vm.shutdown_guest()
    except ToolsUnavailable:
        log.info("%s runs no Tools: it cannot shut down by itself", called(vm))
        return False
    end = time.monotonic() + patience.timeout_s
    while (left := end - time.monotonic()) > 0:
        # The live inventory costs no call, and hears of it at once.
        if (vm.known_power_state() or vm.power_state()) is PowerState.POWERED_OFF:
            return True
        time.sleep(min(max(patience.retry_interval_s, _SHORTEST_LOOK_S), left))
    return vm.power_state() is PowerState.POWERED_OFF


def reboot(vm: VirtualMachine, *, hard: bool) -> None:
    """Reboot: by the guest's Tools if they run, unless ``hard``; by a reset otherwise.

    Raises:
        InstanceNotFound: there is no such instance.
        InstanceRebootFailure: it is not powered on.
    """
    try:
        if not hard and _tools_run(vm) and _reboot_guest(vm):
            return
        vm.reset()
    except InvalidPowerState as refused:
        raise InstanceRebootFailure(must_run(called(vm), read_state(vm))) from refused


def _tools_run(vm: VirtualMachine) -> bool:
    return (
        vm.read("guest.toolsRunningStatus").get("guest.toolsRunningStatus") == "guestToolsRunning"
    )


def _reboot_guest(vm: VirtualMachine) -> bool:
    try:
        vm.reboot_guest()
    except ToolsUnavailable:
        return False
    return True


def suspend(vm: VirtualMachine) -> None:
    """Suspend to disk; a VM that is suspended stays as it is.

    Raises:
        InstanceNotFound: there is no such instance.
        InstanceSuspendFailure: it is powered off, or paused.
        InvalidState: it is rescued, or in the middle of a resize.
    """
    name = called(vm)
    if known_to_be_plain(vm):
        state = VmState(PowerState.POWERED_ON)
    else:
        # It may be paused, or what its note says; a session that knows nothing asks.
        state = read_state(vm)
        if state.is_paused:
            raise InstanceSuspendFailure(must_run(name, state))
        refuse_rescued(name, state.settings)
        refuse_resized(name, state.settings)
    if state.settings.get(extra_config.PAUSED) and state.power is PowerState.POWERED_ON:
        # What a pause left on a VM that runs means nothing; suspended, it would.
        vm.reconfigure(settings({extra_config.PAUSED: ""}))
    try:
        vm.suspend()
    except InvalidPowerState as refused:
        state = read_state(vm)
        if state.power is not PowerState.SUSPENDED:
            raise InstanceSuspendFailure(must_run(name, state)) from refused


def resume(vm: VirtualMachine) -> None:
    """Go on where `suspend` stopped.

    Raises:
        InstanceNotFound: there is no such instance.
        InstanceResumeFailure: it is not suspended, or it is paused.
    """
    if vm.known_power_state() is not PowerState.SUSPENDED or known_paused(vm):
        # What the stream told may be older than the VM: ask before refusing.
        name, state = called(vm), read_state(vm)
        if state.power is PowerState.POWERED_ON:
            raise InstanceResumeFailure(f"{name} is running: there is nothing to resume.")
        if state.power is not PowerState.SUSPENDED or state.is_paused:
            raise InstanceResumeFailure(must_run(name, state))
    vm.power_on()


# The steps below have no undo: the note of the operation that runs them says whether the machine
# was on, and its undo sees to that.


@step("Power on")
def power_on_step(vm: VirtualMachine) -> Reversible[None]:
    """Start the guest, unless it runs."""
    try:
        vm.power_on()
    except InvalidPowerState:
        if vm.power_state() is not PowerState.POWERED_ON:
            raise
    yield


@step("Power off")
def power_off_step(vm: VirtualMachine, patience: Patience = AT_ONCE) -> Reversible[None]:
    """Let the guest shut down if there is time for it, else pull the plug, unless it is off."""
    try:
        if patience.timeout_s <= 0 or not shut_down_guest(vm, patience):
            vm.power_off()
    except InvalidPowerState:
        if vm.power_state() is not PowerState.POWERED_OFF:
            raise
    yield


def _forget_pause(vm: VirtualMachine) -> None:
    """Take the mark off a VM that runs; one that cannot be taken off means nothing there."""
    try:
        vm.reconfigure(settings({extra_config.PAUSED: ""}))
    except VMOpsError as failure:
        log.info("%s runs, but is still marked as paused: %s", called(vm), failure)


def _accept(vm: VirtualMachine, wanted: PowerState) -> None:
    """Swallow the refusal of a change to the state that the VM has already."""
    state = vm.power_state()
    if state is not wanted:
        raise InvalidPowerState(
            f"{called(vm)} is {describe_state(state)} and did not become {wanted}."
        )
