"""What only the guest itself can do, asked of the tools in it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from pyVmomi import vim, vmodl

from vmops.lab.hypervisor.errors import HypervisorError
from vmops.lab.hypervisor.tools import ToolsCommand, ToolsRefused
from vmops.lab.machine.machine import Machine
from vmops.lab.operations import power


async def shut_down(vm: Machine) -> None:
    """Have the guest power itself off; returns as soon as it has begun.

    Raises:
        vim.fault.InvalidPowerState: the machine is not on.
        vim.fault.ToolsUnavailable: no tools run in the guest, or they do not answer.
    """
    await _ask(vm, "shutdown")


async def reboot(vm: Machine) -> None:
    """Have the guest restart itself; returns as soon as it has begun.

    Raises:
        vim.fault.InvalidPowerState, vim.fault.ToolsUnavailable: as for `shut_down`.
    """
    await _ask(vm, "reboot")


async def stand_by(vm: Machine) -> None:
    """Have the guest get ready to sleep, then suspend the machine.

    That is what a machine's ``defaultPowerOps.standbyAction`` "checkpoint", which every machine of
    the lab has, makes of a guest's standby.

    Raises:
        vim.fault.InvalidPowerState, vim.fault.ToolsUnavailable: as for `shut_down`.
        As `power.suspend` does; the guest then runs on.
    """
    async with vm.lock:
        await _ask(vm, "standby")
        await power.suspend(vm)


@asynccontextmanager
async def quiesce(vm: Machine) -> AsyncIterator[bool]:
    """Hold the guest's file systems still for the length of a block.

    Gives whether they are: False for a machine that is not on or without running tools, for which
    the API reference has the wish ignored. The guest lets go by itself after ten seconds; if the
    block took longer, what was done in it did not happen at one moment, and leaving it raises.

    Raises:
        vim.fault.ApplicationQuiesceFault: the guest's own script of what to do before refused.
        vim.fault.FilesystemQuiesceFault: the guest could not, or not long enough. Raised at the
            block's end too: what it made must then be taken back.
    """
    hypervisor = vm.kernel.hypervisor
    is_on = vm.power_state == power.ON
    if not is_on or not hypervisor.tools(vm.moid).running:
        yield False
        return
    try:
        await hypervisor.tools_command(vm.moid, "freeze")
    except ToolsRefused as error:
        raise _quiesce_fault(error) from error
    except BaseException as error:
        await _try_to_thaw(vm)  # when the guest did not answer in time, it may freeze yet
        if isinstance(error, HypervisorError):
            raise _quiesce_fault(error) from error
        raise
    try:
        yield True
    except BaseException:
        await _try_to_thaw(vm)
        raise
    try:
        await hypervisor.tools_command(vm.moid, "thaw")
    except HypervisorError as error:
        raise _quiesce_fault(error) from error


async def _try_to_thaw(vm: Machine) -> None:
    with suppress(HypervisorError):  # the guest does it by itself, if a little later
        await vm.kernel.hypervisor.tools_command(vm.moid, "thaw")


def _quiesce_fault(error: HypervisorError) -> vmodl.MethodFault:
    is_application = isinstance(error, ToolsRefused) and error.kind == "application"
    fault = (
        vim.fault.ApplicationQuiesceFault if is_application else vim.fault.FilesystemQuiesceFault
    )
    return fault(msg=f"The guest cannot be quiesced: {error}.")


async def _ask(vm: Machine, command: ToolsCommand) -> None:
    power.require_on(vm)
    try:
        await vm.kernel.hypervisor.tools_command(vm.moid, command)
    except HypervisorError as error:
        raise vim.fault.ToolsUnavailable(
            msg=f"VMware Tools is not running in the guest: {error}."
        ) from error
