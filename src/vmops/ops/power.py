"""Power operations, each one call where the VM is in the state that is expected."""

from __future__ import annotations

import logging

from vmops.errors import (
    InstancePowerOffFailure,
    InstanceRebootFailure,
    InstanceResumeFailure,
    InstanceSuspendFailure,
    InvalidPowerState,
    ToolsUnavailable,
    VMOpsError,
)
from vmops.model.power import PowerState
from vmops.progress import Observer
from vmops.vsphere.lookup import with_vm
from vmops.vsphere.session import Session
from vmops.vsphere.virtual_machine import VirtualMachine

log = logging.getLogger(__name__)


def power_on(session: Session, instance_uuid: str, observe: Observer) -> None:
    """Power on, or resume if suspended; a VM that is on stays as it is.

    Raises:
        InstanceNotFound: there is no such instance.
    """

    def do(vm: VirtualMachine) -> None:
        try:
            vm.power_on(observe=observe)
        except InvalidPowerState:
            _accept(vm, PowerState.POWERED_ON)

    with_vm(session, instance_uuid, do)


def power_off(session: Session, instance_uuid: str, observe: Observer) -> None:
    """Pull the plug; a VM that is off stays as it is.

    Raises:
        InstanceNotFound: there is no such instance.
        InstancePowerOffFailure: it is suspended; its memory would be lost.
    """

    def do(vm: VirtualMachine) -> None:
        # A session that has not loaded its inventory knows no state; then it costs a read.
        if (vm.known_power_state() or vm.power_state()) is PowerState.SUSPENDED:
            raise InstancePowerOffFailure(
                f"{_called(vm, instance_uuid)} is suspended; powering off would lose its memory."
                " Resume it first."
            )
        try:
            vm.power_off(observe=observe)
        except InvalidPowerState:
            _accept(vm, PowerState.POWERED_OFF)

    with_vm(session, instance_uuid, do)


def reboot(session: Session, instance_uuid: str, *, hard: bool, observe: Observer) -> None:
    """Reboot: by the guest's Tools if they run, unless ``hard``; by a reset otherwise.

    Raises:
        InstanceNotFound: there is no such instance.
        InstanceRebootFailure: it is not powered on.
    """

    def do(vm: VirtualMachine) -> None:
        try:
            if not hard and _tools_run(vm) and _reboot_guest(vm):
                return
            vm.reset(observe=observe)
        except InvalidPowerState as refused:
            raise InstanceRebootFailure(
                f"{_called(vm, instance_uuid)} is {_state(vm)}, so it cannot be rebooted."
                " Start it instead."
            ) from refused

    with_vm(session, instance_uuid, do)


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


def suspend(session: Session, instance_uuid: str, observe: Observer) -> None:
    """Suspend to disk; a VM that is suspended stays as it is.

    Raises:
        InstanceNotFound: there is no such instance.
        InstanceSuspendFailure: it is powered off.
    """

    def do(vm: VirtualMachine) -> None:
        try:
            vm.suspend(observe=observe)
        except InvalidPowerState as refused:
            if vm.power_state() is not PowerState.SUSPENDED:
                raise InstanceSuspendFailure(
                    f"{_called(vm, instance_uuid)} is {_state(vm)};"
                    " only a running one can be suspended."
                ) from refused

    with_vm(session, instance_uuid, do)


def resume(session: Session, instance_uuid: str, observe: Observer) -> None:
    """Go on where `suspend` stopped.

    Raises:
        InstanceNotFound: there is no such instance.
        InstanceResumeFailure: it is not suspended.
    """

    def do(vm: VirtualMachine) -> None:
        state = vm.known_power_state() or vm.power_state()
        if state is not PowerState.SUSPENDED:
            # What the stream told may be older than the VM: ask before refusing.
            state = vm.power_state()
        if state is not PowerState.SUSPENDED:
            raise InstanceResumeFailure(
                f"{_called(vm, instance_uuid)} is {_word(state)};"
                " only a suspended one can be resumed."
            )
        vm.power_on(observe=observe)

    with_vm(session, instance_uuid, do)


def _called(vm: VirtualMachine, instance_uuid: str) -> str:
    """The instance as a message names it: by its VM's name where that is known at no cost."""
    name = vm.known_name()
    return f"Instance {name} ({instance_uuid})" if name else f"Instance {instance_uuid}"


def _accept(vm: VirtualMachine, wanted: PowerState) -> None:
    """Swallow the refusal of a change to the state that the VM has already."""
    state = vm.power_state()
    if state is not wanted:
        raise InvalidPowerState(f"{vm.moid} is {_word(state)} and did not become {wanted}.")


def _state(vm: VirtualMachine) -> str:
    try:
        return _word(vm.power_state())
    except VMOpsError:
        return "in a state that cannot be read"


_WORDS: dict[PowerState | None, str] = {
    PowerState.POWERED_ON: "running",
    PowerState.POWERED_OFF: "powered off",
    PowerState.SUSPENDED: "suspended",
    None: "in no known state",
}


def _word(state: PowerState | None) -> str:
    return _WORDS[state]
