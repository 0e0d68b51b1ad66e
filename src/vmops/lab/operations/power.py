"""Power: on, off, suspended, and back."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pyVmomi import vim

from vmops.lab.inventory.argument_faults import invalid_argument, invalid_state
from vmops.lab.inventory.file_faults import storage_faults
from vmops.lab.inventory.host_system import HostSystem
from vmops.lab.inventory.references import link, unlink
from vmops.lab.machine.devices.disks import disk_files
from vmops.lab.machine.guest_definition import definition_of, read_chains
from vmops.lab.machine.hot_add_rules import hot_add_limits
from vmops.lab.machine.machine import Machine
from vmops.lab.machine.tools_info import tools_changes
from vmops.lab.operations import properties, remote_display
from vmops.lab.operations.hypervisor_calls import hypervisor_faults
from vmops.lab.operations.uuid_question import resolve_location
from vmops.lab.storage.errors import StorageError
from vmops.lab.storage.paths import DatastorePath

if TYPE_CHECKING:
    from pyVmomi.vim.vm import ConfigInfo
    from pyVmomi.vim.vm.device import VirtualDevice
    from pyVmomi.VmomiSupport import ManagedObject as Reference

    from vmops.lab.kernel.kernel import Kernel

_device = vim.vm.device
ON, OFF, SUSPENDED = "poweredOn", "poweredOff", "suspended"


def wrong_state(vm: Machine, wanted: str) -> vim.fault.InvalidPowerState:
    """Build the fault; ``wanted`` is the state asked for, or the one the operation needs."""
    return vim.fault.InvalidPowerState(
        requestedState=wanted,
        existingState=vm.power_state,
        msg=f"The attempted operation cannot be performed in the current state ({vm.power_state}).",
    )


def refuse_unless_off(vm: Machine) -> None:
    """Raise vim.fault.InvalidPowerState unless the machine is off."""
    if vm.power_state != OFF:
        raise wrong_state(vm, OFF)


def refuse_if_on(vm: Machine) -> None:
    """Raise vim.fault.InvalidPowerState if the machine is on."""
    if vm.power_state == ON:
        raise wrong_state(vm, OFF)


def require_on(vm: Machine) -> None:
    """Raise vim.fault.InvalidPowerState unless the machine is on."""
    if vm.power_state != ON:
        raise wrong_state(vm, ON)


def memory_file(vm: Machine) -> DatastorePath:
    """Return where a suspended machine's memory lies."""
    return vm.vmx.sibling(vm.vmx.name.rpartition(".")[0] + ".vmss")


async def power_on(vm: Machine, host: Reference | None) -> None:
    """Start the guest, or resume it from the memory it was suspended to.

    Raises:
        vim.fault.InvalidPowerState: it is on.
        vim.fault.InvalidState: it is a template, its files cannot be read, or its host is in
            maintenance mode.
        vim.fault.FileNotFound, vim.fault.InvalidDiskFormat, vim.fault.FileLocked: a disk is
            missing, no disk, or another machine's at this moment.
        vim.fault.GenericVmConfigFault: the hypervisor cannot start it; the text says why.
        As `resolve_location` does, which may have a question to the user.
    """
    if vm.power_state == ON:
        raise wrong_state(vm, ON)
    if vm.is_template:
        raise invalid_state("A template cannot be powered on.")
    _check_host(vm, host)
    if vm.power_state == OFF:
        await resolve_location(vm)
    devices = vm.config.hardware.device
    chains = await vm.kernel.blocking(read_chains, vm.store, devices)
    check_locks(vm)
    display = remote_display.check(vm, vm.config)
    machine = definition_of(vm, chains)
    is_resumed = vm.power_state == SUSPENDED
    memory = vm.store.volumes.resolve(memory_file(vm))
    # Said before the guest starts, so that two machines that start at once see each other's locks.
    vm.starting = True
    try:
        with hypervisor_faults():
            if is_resumed:
                await vm.kernel.hypervisor.resume(machine, memory)
            else:
                await vm.kernel.hypervisor.power_on(machine)
            await _serve_console(vm, display)
    finally:
        vm.starting = False
    show_power(vm, ON, boot_time=datetime.now(UTC))
    if is_resumed:
        await vm.kernel.blocking(lambda: memory.unlink(missing_ok=True))
    await properties.refresh_files(vm)


async def _serve_console(vm: Machine, display: remote_display.RemoteDisplay | None) -> None:
    """Serve the console of a guest that was just started; end the guest if that cannot be."""
    try:
        await remote_display.serve(vm, display)
    except BaseException:
        await vm.kernel.hypervisor.power_off(vm.moid)
        raise


async def power_off(vm: Machine) -> None:
    """End the guest, or drop the memory of a suspended one.

    Raises:
        vim.fault.InvalidPowerState: it is off.
        vim.fault.GenericVmConfigFault: the hypervisor could not end it.
    """
    if vm.power_state == OFF:
        raise wrong_state(vm, OFF)
    if vm.power_state == SUSPENDED:
        memory = vm.store.volumes.resolve(memory_file(vm))
        await vm.kernel.blocking(lambda: memory.unlink(missing_ok=True))
    else:
        with hypervisor_faults():
            await vm.kernel.hypervisor.power_off(vm.moid)
    if vm.power_state != OFF:  # the guest's end may have been noticed meanwhile
        show_power(vm, OFF)
    await properties.refresh_files(vm)


async def suspend(vm: Machine) -> None:
    """Write the guest's memory beside the .vmx file and end the guest.

    Raises:
        vim.fault.InvalidPowerState: it is not on.
        vim.fault.GenericVmConfigFault: the hypervisor could not; the guest runs on.
        vim.fault.NoDiskSpace: there is no room for the memory.
    """
    if vm.power_state == SUSPENDED:
        raise wrong_state(vm, SUSPENDED)
    require_on(vm)
    path = memory_file(vm)
    memory = vm.store.volumes.resolve(path)
    with storage_faults(path):
        await vm.kernel.blocking(vm.store.volumes.require, path.datastore, vm.memory_mib * 1024**2)
        await vm.kernel.blocking(lambda: memory.unlink(missing_ok=True))
    with hypervisor_faults():
        await vm.kernel.hypervisor.suspend(vm.moid, memory)
    show_power(vm, SUSPENDED)
    await properties.refresh_files(vm)


async def reset(vm: Machine) -> None:
    """Pull the reset line.

    Raises:
        vim.fault.InvalidPowerState: it is not on.
        vim.fault.GenericVmConfigFault: the hypervisor could not.
    """
    require_on(vm)
    with hypervisor_faults():
        await vm.kernel.hypervisor.reset(vm.moid)
    vm.publish({"runtime.bootTime": datetime.now(UTC)})


def guest_stopped(kernel: Kernel, key: str) -> None:
    """Show that a guest ended by itself: the hypervisor's ``on_stopped``."""
    if key not in kernel.registry:
        return
    vm = kernel.registry.get(key)
    if isinstance(vm, Machine) and vm.host.is_connected and vm.power_state == ON:
        show_power(vm, OFF)


def show_power(vm: Machine, state: str, *, boot_time: datetime | None = None) -> None:
    """Publish a power state and all that follows from it."""
    is_on = state == ON
    moment = datetime.now(UTC)
    changes = {
        "runtime.powerState": state,
        "runtime.bootTime": boot_time if is_on else None,
        "runtime.suspendTime": moment if state == SUSPENDED else None,
        "runtime.cleanPowerOff": None if is_on else True,
        **tools_changes(vm, state),
    }
    if vm.is_accessible:
        changes["config.hardware.device"] = [_shown(each, is_on=is_on) for each in vm.devices]
        changes |= usage_limits(vm, vm.config, is_on=is_on)
        changes |= hot_add_limits(vm.config, is_on=is_on)
    vm.publish(changes)
    vm.kernel.touch(vm.host, "summary")


def usage_limits(vm: Machine, config: ConfigInfo, *, is_on: bool) -> dict[str, int]:
    """Return the changes that show how much of its host a machine can use."""
    machine_mhz = vm.host.properties["hardware"].cpuInfo.hz // 1_000_000
    hardware = config.hardware
    return {
        "runtime.maxCpuUsage": machine_mhz * hardware.numCPU if is_on else 0,
        "runtime.maxMemoryUsage": hardware.memoryMB if is_on else 0,
    }


def _shown(device: VirtualDevice, *, is_on: bool) -> VirtualDevice:
    """Return the device as it is in a machine that is on or off: connected or not."""
    if device.connectable is None:
        return device
    connected = is_on and bool(device.connectable.startConnected)
    shown = copy.copy(device)
    shown.connectable = copy.copy(device.connectable)
    shown.connectable.connected = connected
    shown.connectable.status = "ok" if connected else "untried"
    return shown


def _check_host(vm: Machine, host: Reference | None) -> None:
    if host is not None and host != vm.host.ref:
        kernel = vm.kernel
        wanted = kernel.registry.find(host, HostSystem)
        if wanted.parent is not vm.host.parent or vm.power_state != OFF:
            raise invalid_argument("host", "The machine cannot run there.")
        wanted.require_no_maintenance()
        move_to_host(vm, wanted)
    vm.host.require_no_maintenance()


def move_to_host(vm: Machine, host: HostSystem) -> None:
    """Register the machine, which does not run, on another host."""
    if vm.host is host:
        return
    unlink(vm.kernel, vm.host, "vm", vm.ref)
    link(vm.kernel, host, "vm", vm.ref)
    vm.publish({"runtime.host": host.ref})


def check_locks(vm: Machine, devices: Sequence[VirtualDevice] | None = None) -> None:
    """Refuse to start on a disk, or on one of these, that another running machine has.

    Disks below a disk are only read, so any number of machines may share those.

    Raises:
        vim.fault.FileLocked: names the disk.
    """
    written, read = _disk_paths(vm.devices if devices is None else devices)
    for other in _others_on(vm):
        other_written, other_read = _disk_paths([*other.devices, *other.coming_devices])
        clash = (written & (other_written | other_read)) | (read & other_written)
        if clash:
            file = min(clash)
            raise vim.fault.FileLocked(
                file=file, msg=f"Failed to lock the file '{file}': another machine has it."
            )


def _others_on(vm: Machine) -> list[Machine]:
    return [
        other
        for other in vm.kernel.registry.all(type(vm))
        if other is not vm and (other.power_state == ON or other.starting)
    ]


def _disk_paths(devices: Sequence[VirtualDevice]) -> tuple[set[str], set[str]]:
    written: set[str] = set()
    read: set[str] = set()
    for device in devices:
        if isinstance(device, _device.VirtualDisk):
            own, *below = disk_files(device)
            written.add(own)
            read.update(below)
    return written, read


def restore_power(vm: Machine, state: str, running: frozenset[str]) -> None:
    """Give a machine found again at a start the state that is true now.

    ``state`` is the one that was saved. A guest runs if the hypervisor says so, and a machine is
    suspended only if its memory is there.
    """
    if vm.moid in running:
        show_power(vm, ON, boot_time=datetime.now(UTC))
        return
    if state == SUSPENDED:
        with suppress(StorageError):
            if vm.store.volumes.resolve(memory_file(vm)).is_file():
                show_power(vm, SUSPENDED)
