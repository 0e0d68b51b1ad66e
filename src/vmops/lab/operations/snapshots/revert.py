"""Going back to a snapshot: configuration, disks and, where it was kept, the running guest."""

from __future__ import annotations

import copy
import logging
import os
import shutil
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyVmomi import vim, vmodl

from vmops.lab.inventory.argument_faults import invalid_argument
from vmops.lab.inventory.file_faults import storage_faults
from vmops.lab.inventory.host_system import HostSystem
from vmops.lab.machine.config import change_version
from vmops.lab.machine.devices.nics import PortReservations
from vmops.lab.machine.own_disks import own_disks
from vmops.lab.machine.snapshots.disks import (
    NewLayers,
    path_of_disk,
    snapshotted_disks,
    with_chains,
)
from vmops.lab.machine.snapshots.files import save_config, save_tree
from vmops.lab.machine.snapshots.shown_tree import show_tree
from vmops.lab.operations import power, properties
from vmops.lab.operations.hypervisor_calls import hypervisor_faults
from vmops.lab.operations.journal import journal
from vmops.lab.operations.place import follow_devices
from vmops.lab.operations.power import OFF, ON, SUSPENDED, show_power
from vmops.lab.operations.reconfigure import keep_connections
from vmops.lab.operations.snapshots.merge import delete_unneeded, show_need
from vmops.lab.operations.snapshots.nics import plug_in
from vmops.lab.shielded import to_its_end
from vmops.lab.whole_files import partial_beside

if TYPE_CHECKING:
    from pyVmomi.vim.vm import ConfigInfo
    from pyVmomi.VmomiSupport import ManagedObject as Reference

    from vmops.lab.machine.machine import Machine
    from vmops.lab.machine.snapshot_tree import Snapshot, SnapshotTree

log = logging.getLogger(__name__)

_KEPT = ("name", "uuid", "instanceUuid", "files", "template", "createDate", "managedBy")
"""What a machine is called and known by is no part of its snapshots."""


async def revert_to_current(vm: Machine, host: Reference | None, *, stay_off: bool) -> None:
    """Put a machine, whose lock the caller has, back to the snapshot it stands on; see `revert`.

    Raises:
        vim.fault.NotFound: it stands on none.
    """
    if vm.snapshots.current is None:
        raise vim.fault.NotFound(msg="The machine has no current snapshot.")
    await revert(vm, vm.snapshots.current, host, stay_off=stay_off)


async def revert(vm: Machine, uid: int, host: Reference | None, *, stay_off: bool) -> None:
    """Put a machine, whose lock the caller has, back to a snapshot.

    Its disks get new layers over the snapshot's, and those that are no snapshot's go. A snapshot
    with a running guest's memory runs on from there, unless the machine is to ``stay_off``; any
    other leaves the machine off, or suspended if it was.

    Raises:
        vmodl.fault.InvalidArgument: it cannot run on the host.
        vim.fault.InvalidState: the host is in maintenance mode.
        vim.fault.GenericVmConfigFault: the hypervisor cannot start the guest; the machine is, and
            runs, as before.
        vim.fault.FileFault or one below it: a file is missing, or could not be made.
    """
    snapshot = vm.snapshots.get(uid)
    target = OFF if stay_off or snapshot.memory is None else snapshot.power_state
    destination = _destination(vm, host, is_to_run=target == ON)
    before = await own_disks(vm)
    layers = NewLayers(vm.store)
    below = [path_of_disk(disk) for disk in snapshotted_disks(snapshot.config.hardware.device)]
    async with AsyncExitStack() as undo:
        work = undo.enter_context(journal(vm.kernel).work())
        undo.callback(layers.undo)
        await to_its_end(vm.kernel.blocking(layers.make, below, work.disk_comes))
        ports = PortReservations()
        undo.callback(ports.release)
        config = _restored(vm, snapshot, ports)
        config.hardware.device = with_chains(config.hardware.device, layers.made)
        memory = None
        if target != OFF:
            memory = await _copy_of_memory(vm, snapshot)
            undo.callback(memory.unlink, missing_ok=True)
        present = _Present(vm)
        undo.push_async_callback(present.restore)
        await present.stop(is_to_run=target == ON)
        await save_config(vm, config)
        await save_tree(vm, vm.snapshots.standing_on(uid))
        await present.end_guest()
        _show(vm, config, vm.snapshots.standing_on(uid))
        power.move_to_host(vm, destination)
        if memory is not None:
            memory.replace(_suspended_memory(vm))
            show_power(vm, SUSPENDED)
        if target == ON:
            await power.power_on(vm, None)
        ports.release()
        undo.pop_all()
    present.forget()
    with work:
        await delete_unneeded(vm, before, work)
    await show_need(vm)
    await properties.refresh_files(vm)


class _Present:
    """What a machine is before a revert, kept until that has succeeded."""

    def __init__(self, vm: Machine) -> None:
        self._vm = vm
        self._config = vm.config
        self._tree = vm.snapshots
        self._host = vm.host
        self._state = vm.power_state
        self._memory = _suspended_memory(vm)
        self._aside: Path | None = None
        """The guest's memory, if there is any to go back to."""

    async def stop(self, *, is_to_run: bool) -> None:
        """Make room for another guest, so that this one can come back if that fails."""
        aside = partial_beside(self._memory)
        if self._state == SUSPENDED:
            with storage_faults(power.memory_file(self._vm)):
                self._memory.rename(aside)
            self._aside = aside
        elif self._state == ON and is_to_run:
            with hypervisor_faults():
                await to_its_end(self._vm.kernel.hypervisor.suspend(self._vm.moid, aside))
            self._aside = aside

    async def end_guest(self) -> None:
        """End a guest that nothing brings back: the last that can fail where it is called."""
        if self._vm.power_state == ON and self._aside is None:
            with hypervisor_faults():
                await to_its_end(self._vm.kernel.hypervisor.power_off(self._vm.moid))

    def forget(self) -> None:
        """Let go of what could have been gone back to."""
        if self._aside is not None:
            self._aside.unlink(missing_ok=True)

    async def restore(self) -> None:
        """Make the machine what it was; what of that fails is noted in the log."""
        vm = self._vm
        try:
            await save_config(vm, self._config)
            await save_tree(vm, self._tree)
        except vmodl.MethodFault:
            log.exception("the files of %s are not as they were", vm.name)
        if vm.snapshots is not self._tree:
            _show(vm, self._config, self._tree)
            power.move_to_host(vm, self._host)
        if self._aside is None:
            if self._state != SUSPENDED:
                self._memory.unlink(missing_ok=True)
            return
        self._aside.replace(self._memory)
        show_power(vm, SUSPENDED)
        if self._state == ON:
            try:
                await power.power_on(vm, None)
            except vmodl.MethodFault:
                log.exception("%s stays suspended", vm.name)


def _show(vm: Machine, config: ConfigInfo, tree: SnapshotTree) -> None:
    """Make a machine one that is off, of another configuration."""
    show_tree(vm, tree, {"config": config})
    if vm.power_state != OFF:
        show_power(vm, OFF)
    follow_devices(vm)


def _restored(vm: Machine, snapshot: Snapshot, ports: PortReservations) -> ConfigInfo:
    config = copy.deepcopy(snapshot.config)
    for name in _KEPT:
        setattr(config, name, getattr(vm.config, name))
    if config.tools is not None and vm.config.tools is not None:
        config.tools.toolsVersion = vm.config.tools.toolsVersion
    config.modified = datetime.now(UTC)
    config.changeVersion = change_version(config.modified)
    keep_connections(config, ())
    plug_in(vm, config.hardware.device, vm.host, ports)
    return config


def _destination(vm: Machine, host: Reference | None, *, is_to_run: bool) -> HostSystem:
    chosen = vm.host if host is None else vm.kernel.registry.find(host, HostSystem)
    if chosen.parent is not vm.host.parent:
        raise invalid_argument("host", "The machine cannot run there.")
    if is_to_run:
        chosen.require_no_maintenance()
    return chosen


def _suspended_memory(vm: Machine) -> Path:
    return vm.store.volumes.resolve(power.memory_file(vm))


async def _copy_of_memory(vm: Machine, snapshot: Snapshot) -> Path:
    """Put the memory of a snapshot beside the place of a suspended machine's memory."""
    kept: Any = snapshot.memory
    copied = partial_beside(_suspended_memory(vm))

    def make() -> None:
        source = vm.store.volumes.resolve(kept)
        try:
            os.link(source, copied, follow_symlinks=False)  # it is never written to
        except FileNotFoundError:
            raise
        except OSError:
            shutil.copyfile(source, copied)

    with storage_faults(kept):
        await to_its_end(vm.kernel.blocking(make))
    return copied
