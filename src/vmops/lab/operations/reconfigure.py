"""Reconfiguration: planned completely, then done, then shown; on any failure nothing changed."""

from __future__ import annotations

import copy
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyVmomi import vim, vmodl

from vmops.lab.inventory.argument_faults import entity_name
from vmops.lab.inventory.file_faults import storage_faults
from vmops.lab.inventory.managed_entity import ManagedEntity
from vmops.lab.machine import tools_info
from vmops.lab.machine.config import apply_spec
from vmops.lab.machine.devices.disks import DiskChanges, chain_of
from vmops.lab.machine.devices.drives import DrivePlanner
from vmops.lab.machine.devices.nics import NicPlanner, PortReservations
from vmops.lab.machine.devices.plan import DevicePlan, disks_to_inspect
from vmops.lab.machine.storage_policies import HOME, asked_policies, check_policies
from vmops.lab.machine.vmx_file import without_conflicts, write_vmx
from vmops.lab.operations import properties
from vmops.lab.operations.disk_holds import Standing, disk_holds
from vmops.lab.operations.journal import Work, journal
from vmops.lab.operations.live_change import LiveChange
from vmops.lab.operations.machine_events import post_reconfigured
from vmops.lab.operations.place import follow_devices
from vmops.lab.operations.power import ON, usage_limits
from vmops.lab.shielded import to_its_end
from vmops.lab.storage.disks import DiskInfo, DiskStore
from vmops.lab.storage.errors import FileMissing, StorageError
from vmops.lab.storage.paths import DatastorePath

if TYPE_CHECKING:
    from pyVmomi.vim.vm import ConfigInfo
    from pyVmomi.vim.vm.device import VirtualDevice, VirtualDeviceSpec

    from vmops.lab.inventory.host_system import HostSystem
    from vmops.lab.kernel.kernel import Kernel
    from vmops.lab.machine.machine import Machine

log = logging.getLogger(__name__)

_device = vim.vm.device


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What a planned change will be: the configuration, and what happens to files and ports."""

    config: ConfigInfo
    files: DiskChanges
    ports: PortReservations
    standing: Standing
    policies: dict[str, str | None]
    """Storage policies that are given, or with None taken away."""

    def release(self) -> None:
        """Let go of ports and of disks that are attached or stood on, whatever came of it."""
        self.ports.release()
        self.standing.release()


async def plan(
    kernel: Kernel,
    config: ConfigInfo,
    spec: vim.vm.ConfigSpec,
    vmx: DatastorePath,
    host: HostSystem,
    power_state: str,
) -> Outcome:
    """Work out what a ConfigSpec makes of ``config``, a copy which is changed.

    The caller releases the outcome.

    Raises:
        As `apply_spec` and `DevicePlan.run` do.
    """
    check_policies(kernel, spec)
    standing = Standing(disk_holds(kernel))
    try:
        return await _plan(kernel, config, spec, vmx, host, power_state, standing)
    except BaseException:
        standing.release()
        raise


async def _plan(  # noqa: PLR0913, PLR0917
    kernel: Kernel,
    config: ConfigInfo,
    spec: vim.vm.ConfigSpec,
    vmx: DatastorePath,
    host: HostSystem,
    power_state: str,
    standing: Standing,
) -> Outcome:
    ports = PortReservations()
    clash = None if kernel.settings.esx else _Clash(kernel, vmx)
    apply_spec(config, spec, power_state=power_state, clash=clash)
    changes = spec.deviceChange or []
    known = await _known_chains(kernel, changes, standing)
    present = tuple(config.hardware.device)
    drives = DrivePlanner(
        volumes=kernel.service(DiskStore).volumes,
        directory=vmx.parent,
        base_name=vmx.name.rpartition(".")[0],
        known=known,
        present=tuple(each for each in present if isinstance(each, _device.VirtualDisk)),
    )
    cards = tuple(each for each in present if isinstance(each, _device.VirtualEthernetCard))
    devices = DevicePlan(
        devices=list(present),
        drives=drives,
        nics=NicPlanner(kernel, host, ports, cards),
        power_state=power_state,
    )
    try:
        config.hardware.device = devices.run(changes) if changes else list(present)
    except BaseException:
        ports.release()
        raise
    config.extraConfig = without_conflicts(config, vmx.parent)
    policies = asked_policies(kernel, spec, devices.disk_keys)
    return Outcome(
        config=config, files=drives.changes, ports=ports, standing=standing, policies=policies
    )


@dataclass(frozen=True, slots=True)
class _Clash:
    """Says whether another machine than that of a .vmx file has an instance UUID."""

    kernel: Kernel
    vmx: DatastorePath

    def __call__(self, uuid: str) -> bool:
        for other in self.kernel.registry.all(ManagedEntity):
            if other.wire_type is vim.VirtualMachine and other.properties["config"] is not None:
                config = other.properties["config"]
                if config.instanceUuid == uuid and config.files.vmPathName != str(self.vmx):
                    return True
        return False


async def _known_chains(
    kernel: Kernel, changes: Sequence[VirtualDeviceSpec], standing: Standing
) -> dict[DatastorePath, list[DiskInfo]]:
    store = kernel.service(DiskStore)
    known = {}
    for path in disks_to_inspect(changes):
        with storage_faults(path):
            standing.add([path])
            try:
                known[path] = await kernel.blocking(chain_of, store, path)
            except FileMissing:
                if await kernel.blocking(lambda at=path: store.volumes.resolve(at).exists()):
                    raise  # a parent is missing, which the plan would not see
            else:
                standing.add(each.path for each in known[path][1:])
    return known


async def reconfigure(vm: Machine, spec: vim.vm.ConfigSpec) -> None:
    """Change the machine, whose lock the caller has, to what a ConfigSpec asks for.

    Raises:
        vim.fault.ConcurrentAccess: ``changeVersion`` is not the present one.
        vmodl.fault.NotSupported: it is a template.
        vim.fault.DuplicateName: the new name is taken in the folder.
        As `plan` does, and file faults of disks that could not be made.
    """
    old = vm.config
    if spec.changeVersion and spec.changeVersion != old.changeVersion:
        raise vim.fault.ConcurrentAccess(msg="The machine was changed meanwhile.")
    if vm.is_template:
        raise vmodl.fault.NotSupported(msg="A template cannot be reconfigured.")
    kernel = vm.kernel
    config = copy.deepcopy(old)
    # What the guest has set is not the machine's own, and may change while files are made.
    config.extraConfig = tools_info.without_guest_values(vm, config.extraConfig)
    if spec.name is not None and spec.name != vm.name:
        config.name = _checked_name(vm, spec.name)
    outcome = await plan(kernel, config, spec, vm.vmx, vm.host, vm.power_state)
    with journal(kernel).work() as work:
        await _reconfigure(vm, spec, outcome, work)
    await properties.refresh_files(vm)
    post_reconfigured(vm, spec)


async def _reconfigure(vm: Machine, spec: vim.vm.ConfigSpec, outcome: Outcome, work: Work) -> None:
    work.disk_goes(*outcome.files.unwanted())
    try:
        live = _live_change(vm, spec, outcome)
        await carry_out(vm.kernel, outcome, vm.vmx, work, live)
        # A guest may have ended while files were made; what it changed must not come back.
        if live is None or vm.power_state != "poweredOn":
            keep_connections(outcome.config, vm.devices)
        tools_info.keep_guest_values(vm, outcome.config, spec)
        give_policies(vm, outcome)
        show(vm, outcome.config)
    finally:
        vm.coming_devices = ()
        outcome.release()
    unwanted = outcome.files.unwanted()
    work.disk_goes(*unwanted)
    await _delete_files(vm, unwanted)


async def _delete_files(vm: Machine, disks: Sequence[DatastorePath]) -> None:
    for path in disks:
        try:
            with disk_holds(vm.kernel).changing([path]):
                await vm.kernel.blocking(vm.store.delete, path)
        except (StorageError, OSError) as error:
            log.warning("%s stays: %s", path, error)


def give_policies(vm: Machine, outcome: Outcome) -> None:
    """Note which storage policies the machine and its disks have; disks that are gone have none."""
    there = {HOME, *(str(device.key) for device in outcome.config.hardware.device)}
    asked = {**vm.policies, **outcome.policies}
    vm.policies = {key: given for key, given in asked.items() if given is not None and key in there}


def _live_change(vm: Machine, spec: vim.vm.ConfigSpec, outcome: Outcome) -> LiveChange | None:
    """Return what the guest has to go through, None if it does not run."""
    if vm.power_state != "poweredOn":
        return None
    files = outcome.files
    live = LiveChange(vm, outcome.config, spec.deviceChange or [], files.extensions)
    files.extensions = []
    return live


async def carry_out(
    kernel: Kernel, outcome: Outcome, vmx: DatastorePath, work: Work, live: LiveChange | None = None
) -> None:
    """Make the files of an outcome and write the .vmx file; on failure nothing is left."""
    store = kernel.service(DiskStore)
    files = outcome.files
    with storage_faults(vmx):
        work.comes(*(each.path.parent for each in files.creations if each.makes_folder))
        work.disk_comes(*(each.path for each in files.creations))
    try:
        if files.creations or files.extensions:
            await to_its_end(kernel.blocking(files.apply, store))
        if live is not None:
            await live.apply()
        with storage_faults(vmx):
            await to_its_end(kernel.blocking(write_vmx, store.volumes, vmx, outcome.config))
    except BaseException:
        if live is not None:
            await live.undo()
        files.undo(store)  # on the loop: a lab that stops does not wait for a thread again
        raise


def show(vm: Machine, config: ConfigInfo) -> None:
    """Publish a changed configuration and what depends on it."""
    vm.publish(
        {
            "config": config,
            "name": config.name,
            **usage_limits(vm, config, is_on=vm.power_state == ON),
        }
    )
    vm.publish(tools_info.tools_changes(vm, vm.power_state))
    follow_devices(vm)


async def rename(vm: Machine, name: str) -> None:
    """Rename the machine, whose lock the caller has.

    Raises:
        vim.fault.InvalidName, vim.fault.DuplicateName: see `entity_name`.
    """
    stored = _checked_name(vm, name)
    if not vm.is_accessible:
        vm.publish({"name": stored})
        return
    config = copy.copy(vm.config)
    config.name = stored
    config.extraConfig = tools_info.without_guest_values(vm, config.extraConfig)
    with storage_faults(vm.vmx):
        await vm.kernel.blocking(write_vmx, vm.store.volumes, vm.vmx, config)
    vm.publish(vm.renamed(stored))


def _checked_name(vm: Machine, name: str) -> str:
    stored = entity_name(name)
    if vm.parent is not None:
        vm.parent.check_child_name(stored, but=vm)
    return stored


def keep_connections(config: ConfigInfo, now: Sequence[VirtualDevice]) -> None:
    """Let devices be connected as they are now, and new ones not yet."""
    by_key = {device.key: device for device in now}
    for device in config.hardware.device:
        if device.connectable is None:
            continue
        shown = getattr(by_key.get(device.key), "connectable", None)
        device.connectable.connected = shown is not None and shown.connected
        device.connectable.status = "untried" if shown is None else shown.status
