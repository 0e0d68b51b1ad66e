"""Clones of virtual machines: whole copies, or layers over a snapshot."""

from __future__ import annotations

import asyncio
import copy
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pyVmomi import vim, vmodl

from vmops.lab.kernel.fault_text import message
from vmops.lab.machine.config import bios_uuid, change_version, files_info, instance_uuid
from vmops.lab.machine.devices.disks import backing_of
from vmops.lab.machine.devices.nics import PortReservations, new_mac_address
from vmops.lab.machine.devices.parts import file_of, with_file
from vmops.lab.machine.machine import Place
from vmops.lab.machine.snapshots.disks import disks_of, path_of_disk
from vmops.lab.machine.snapshots.shown_tree import find_snapshot
from vmops.lab.machine.vmx_file import without_location
from vmops.lab.operations import power, properties
from vmops.lab.operations.clone.disks import ClonedDisks, DiskClone, disk_targets
from vmops.lab.operations.clone.spec import ClonePlan, clone_plan
from vmops.lab.operations.destroy import destroy_unlocked
from vmops.lab.operations.home import new_home, remove_home
from vmops.lab.operations.journal import Work, journal
from vmops.lab.operations.place import join
from vmops.lab.operations.power import ON
from vmops.lab.operations.reconfigure import carry_out, keep_connections, plan
from vmops.lab.operations.snapshots import create, remove
from vmops.lab.operations.snapshots.create import NewSnapshot
from vmops.lab.operations.snapshots.nics import plug_in
from vmops.lab.shielded import to_its_end
from vmops.lab.storage.paths import DatastorePath
from vmops.lab.storage.volumes import Volumes

if TYPE_CHECKING:
    from pyVmomi.vim.vm import ConfigInfo, ConfigSpec
    from pyVmomi.vim.vm.device import VirtualDevice
    from pyVmomi.VmomiSupport import ManagedObject as Reference

    from vmops.lab.kernel.task import TaskRun
    from vmops.lab.machine.machine import Machine

log = logging.getLogger(__name__)

_device = vim.vm.device
_Operation = _device.VirtualDeviceSpec.Operation


async def clone(
    vm: Machine, folder: Reference, name: str, spec: vim.vm.CloneSpec, run: TaskRun
) -> Reference:
    """Clone a machine, whose lock the caller has, or one of its snapshots; return the reference.

    The clone has UUIDs and, where they are not fixed by hand, MAC addresses of its own, no
    snapshots and no memory. A guest that runs goes on; the clone is what its disks hold at one
    moment, as after a power cut.

    Raises:
        vim.fault.DuplicateName: the name is taken in the folder.
        vmodl.fault.RequestCanceled: the task was cancelled.
        vim.fault.FileFault or one below it: a disk could not be read or made.
        As `clone_plan`, `virtual_machine_reconfigure.plan` and `power.power_on`
        do; nothing is left of the clone then.
    """
    wanted = clone_plan(vm, folder, name, spec)
    kernel = vm.kernel
    with wanted.folder.reserved(wanted.name), journal(kernel).work() as work:
        await _rehearse(vm, wanted)
        home = await new_home(kernel, DatastorePath(wanted.datastore), wanted.name, work)
        try:
            disks = await _disks(vm, wanted, home.vmx, run, work)
            try:
                made = await _machine(vm, wanted, home.vmx, disks, work)
            except BaseException:
                disks.undo()
                raise
        except BaseException:
            remove_home(kernel.service(Volumes), home)
            raise
        join(made)
    if wanted.power_on:
        try:
            await power.power_on(made, None)
        except BaseException:
            await destroy_unlocked(made)
            raise
    await properties.refresh_files(made)
    return made.ref


async def _rehearse(vm: Machine, wanted: ClonePlan) -> None:
    """Let changes that cannot be fail before gigabytes are copied."""
    outcome = await plan(
        vm.kernel,
        copy.deepcopy(wanted.source),
        copy.deepcopy(wanted.changes),
        vm.vmx,
        wanted.host,
        power.OFF,
    )
    outcome.release()


async def _disks(
    vm: Machine, wanted: ClonePlan, home: DatastorePath, run: TaskRun, work: Work
) -> ClonedDisks:
    loop = asyncio.get_running_loop()

    def show(percent: int) -> None:
        loop.call_soon_threadsafe(run.progress, percent * 9 // 10)

    async with _at_rest(vm, wanted, work) as devices:
        sources = [disk for disk in disks_of(devices) if disk.key in wanted.disks]
        targets = disk_targets(home, sources, {key: at for key, (at, _, _) in wanted.disks.items()})
        disks = ClonedDisks(
            vm.store,
            [
                DiskClone(
                    key=disk.key,
                    source=path_of_disk(disk),
                    target=targets[disk.key],
                    move_type=wanted.disks[disk.key][1],
                    provisioning=wanted.disks[disk.key][2],
                )
                for disk in sources
            ],
        )
        work.comes(*(each.parent for each in targets.values()))
        work.disk_comes(*targets.values())
        try:
            await to_its_end(vm.kernel.blocking(disks.make, show, lambda: run.cancelled))
        except asyncio.CancelledError:
            disks.undo()
            raise
    return disks


@asynccontextmanager
async def _at_rest(
    vm: Machine, wanted: ClonePlan, work: Work
) -> AsyncIterator[list[VirtualDevice]]:
    """Give the devices whose disks are cloned, and that nobody writes to meanwhile.

    A running machine gets a snapshot for that time, as vCenter does it.
    """
    if wanted.snapshot is not None:
        yield wanted.snapshot.config.hardware.device
        return
    if vm.power_state != ON:
        yield vm.devices
        return
    work.temporary_snapshot(vm.vmx, vm.snapshots.last_uid + 1)
    ref = await create.create(
        vm, NewSnapshot(name="clone-temp", description="", memory=False, quiesce=False)
    )
    snapshot = find_snapshot(vm, ref, "spec.snapshot")
    try:
        yield snapshot.config.hardware.device
    finally:
        try:
            await remove.remove(
                vm, frozenset({snapshot.uid}), merge_disks=True, progress=lambda _: None
            )
        except vmodl.MethodFault as fault:
            log.warning("%s needs consolidation after its cloning: %s", vm.name, message(fault))


async def _machine(
    vm: Machine, wanted: ClonePlan, home: DatastorePath, disks: ClonedDisks, work: Work
) -> Machine:
    """Write the clone's .vmx file and build its object, not yet in the inventory."""
    kernel = vm.kernel
    ports = PortReservations()
    try:
        config = _config(vm, wanted, home, disks)
        plug_in(None, config.hardware.device, wanted.host, ports)
        changes = _about_the_clone(wanted.changes, config.hardware.device)
        outcome = await plan(kernel, config, changes, home, wanted.host, power.OFF)
        try:
            keep_connections(config, ())
            await carry_out(kernel, outcome, home, work)
        finally:
            outcome.release()
    finally:
        ports.release()
    place = Place(
        folder=wanted.folder.ref, host=wanted.host.ref, pool=wanted.pool, browser=wanted.browser
    )
    return type(vm)(
        kernel, kernel.new_moid("vm"), name=wanted.name, vmx=home, config=config, place=place
    )


def _config(vm: Machine, wanted: ClonePlan, home: DatastorePath, disks: ClonedDisks) -> ConfigInfo:
    config = wanted.source
    config.name, config.template, config.managedBy = wanted.name, wanted.is_template, None
    config.uuid, config.instanceUuid = bios_uuid(), instance_uuid()
    config.extraConfig = without_location(config.extraConfig)
    config.files = files_info(home)
    config.createDate = config.modified = datetime.now(UTC)
    config.changeVersion = change_version(config.modified)
    for device in config.hardware.device:
        chain = disks.made.get(device.key)
        if chain is not None:
            device.backing = backing_of(chain, getattr(device.backing, "diskMode", None))
        elif isinstance(device, _device.VirtualEthernetCard):
            if device.addressType != "manual":
                device.macAddress = new_mac_address(vm.kernel)
        elif isinstance(device, _device.VirtualSerialPort):
            _take_along(device, vm.directory, home)
    return config


def _take_along(device: VirtualDevice, old: DatastorePath, home: DatastorePath) -> None:
    """Let a file of the machine's own folder be one of the clone's folder."""
    name = getattr(device.backing, "fileName", None)
    if name:
        path = DatastorePath.parse(name)
        if path.parent == old:
            device.backing = with_file(device, str(home.sibling(path.name)))


def _about_the_clone(changes: ConfigSpec, devices: list[VirtualDevice]) -> ConfigSpec:
    """Let edits of disks and cards, which a client has seen at the source, be of the clone's."""
    own = {device.key: device for device in devices}
    about = copy.copy(changes)
    about.deviceChange = copy.deepcopy(list(changes.deviceChange or ()))
    for change in about.deviceChange:
        mine = own.get(change.device.key)
        if change.operation != _Operation.edit or mine is None:
            continue
        if isinstance(mine, _device.VirtualDisk) and change.device.backing is not None:
            change.device.backing = with_file(change.device, file_of(mine))
        elif (
            isinstance(mine, _device.VirtualEthernetCard)
            and isinstance(change.device, _device.VirtualEthernetCard)
            and mine.addressType != "manual"
        ):
            change.device.macAddress = mine.macAddress
    return about
