"""Pause and unpause, which vSphere does not have.

A paused instance is a suspended VM with a mark in its ``extraConfig``: its memory is kept, its
processors stand still, and `get_info` says PAUSED. The mark is set while the VM still runs and
taken off when it runs again, because vSphere may refuse to reconfigure a suspended VM. A mark on a
VM that runs means nothing, and is what a process leaves that dies between the two steps.
"""

from __future__ import annotations

from vmops.errors import InvalidPowerState, NotSupported
from vmops.model import extra_config
from vmops.model.power import PowerState
from vmops.ops.guard.preconditions import refuse_rescued, refuse_resized
from vmops.ops.guard.states import VmState, called, must_run, read_state
from vmops.specs.virtual_machine import settings
from vmops.steps import Operation, Reversible, step
from vmops.vsphere.objects.virtual_machine import VirtualMachine


def pause(vm: VirtualMachine, *, emulate: bool) -> None:
    """Stop an instance's processors, keeping its memory; a paused instance stays as it is.

    1. Mark the instance as paused
    2. Suspend

    Raises:
        InstanceNotFound: there is no such instance.
        InvalidPowerState: it is off, or suspended.
        InvalidState: it is rescued, or in the middle of a resize.
        NotSupported: the engine was told not to emulate what vSphere does not have.
    """
    _refuse_unless(emulate)
    files, name = vm.files(), called(vm)
    state = VmState(files.power_state, files.extra_config)
    if state.is_paused:
        return
    refuse_rescued(name, state.settings)
    refuse_resized(name, state.settings)
    if state.power is not PowerState.POWERED_ON:
        raise InvalidPowerState(must_run(name, state))
    with Operation("pause") as run:
        run(mark_paused(vm))
        run(suspend(vm))


def unpause(vm: VirtualMachine, *, emulate: bool) -> None:
    """Let a paused instance go on.

    1. Resume
    2. Take the mark off

    One that runs with a mark, which a process has left that died, needs the second step alone.

    Raises:
        InstanceNotFound: there is no such instance.
        InvalidPowerState: it is not paused; one that was suspended is resumed by `resume`.
        NotSupported: the engine was told not to emulate what vSphere does not have.
    """
    _refuse_unless(emulate)
    name, state = called(vm), read_state(vm)
    is_running = state.power is PowerState.POWERED_ON
    if is_running and not state.settings.get(extra_config.PAUSED):
        raise InvalidPowerState(f"{name} is running: there is nothing to unpause.")
    if not is_running and not state.is_paused:
        raise InvalidPowerState(must_run(name, state))
    with Operation("unpause") as run:
        if not is_running:
            run(resume(vm))
        run(take_mark_off(vm))


def _refuse_unless(emulate: bool) -> None:
    if not emulate:
        raise NotSupported(
            "vSphere cannot pause a virtual machine,"
            " and emulating it by suspending is switched off."
        )


@step("Mark the instance as paused")
def mark_paused(vm: VirtualMachine) -> Reversible[None]:
    """Say that the suspension to come is a pause."""
    vm.reconfigure(settings({extra_config.PAUSED: "1"}))
    yield
    vm.reconfigure(settings({extra_config.PAUSED: ""}))


@step("Suspend")
def suspend(vm: VirtualMachine) -> Reversible[None]:
    """Write the memory to the datastore."""
    vm.suspend()
    yield


@step("Resume")
def resume(vm: VirtualMachine) -> Reversible[None]:
    """Go on; a mark that cannot be taken off afterwards means nothing on a running VM."""
    vm.power_on()
    yield


@step("Take the mark off")
def take_mark_off(vm: VirtualMachine) -> Reversible[None]:
    """The instance runs: forget the pause."""
    vm.reconfigure(settings({extra_config.PAUSED: ""}))
    yield
