"""Relocation: a virtual machine gets another host, other datastores, another pool or folder.

Everything is checked and made ready at the new place before anything changes; then the guest is
moved, disk by disk and last its processor, and what is left at the old place is deleted. After
each disk the configuration says where it is now, so that whatever ends the lab in between loses
nothing. On failure disks that have moved are moved back.
"""

from __future__ import annotations

import asyncio
import copy
import logging
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from pyVmomi import vim

from vmops.lab.hypervisor.port import Progress
from vmops.lab.inventory.argument_faults import invalid_argument
from vmops.lab.inventory.file_faults import storage_faults
from vmops.lab.inventory.managed_entity import ManagedEntity
from vmops.lab.inventory.references import link, unlink
from vmops.lab.machine.config import files_info
from vmops.lab.machine.devices.disks import backing_of, chain_of
from vmops.lab.machine.devices.parts import file_of, with_file
from vmops.lab.machine.first_class_disks import FirstClassDisks
from vmops.lab.machine.guest_definition import read_chains, running_definition
from vmops.lab.machine.snapshots.files import stored_config
from vmops.lab.machine.snapshots.shown_tree import show_tree
from vmops.lab.machine.vmx_file import write_vmx
from vmops.lab.operations import properties
from vmops.lab.operations.destroy import needed_by_others
from vmops.lab.operations.disk_holds import disk_holds
from vmops.lab.operations.hypervisor_calls import cancellable, hypervisor_faults
from vmops.lab.operations.journal import Work, journal
from vmops.lab.operations.machine_events import post_moved
from vmops.lab.operations.place import follow_devices
from vmops.lab.operations.power import ON, move_to_host, wrong_state
from vmops.lab.operations.relocation.plan import Relocation, examine
from vmops.lab.operations.relocation.snapshots import moved_tree, write_snapshots
from vmops.lab.operations.relocation.target import RelocationTarget
from vmops.lab.shielded import to_its_end
from vmops.lab.storage.disks import DiskStore
from vmops.lab.storage.errors import FileInUse, StorageError
from vmops.lab.storage.paths import DatastorePath
from vmops.lab.storage.relocating import Watched

if TYPE_CHECKING:
    from pyVmomi.vim.vm import ConfigInfo
    from pyVmomi.vim.vm.device import VirtualDevice
    from pyVmomi.VmomiSupport import ManagedObject as Reference

    from vmops.lab.kernel.task import TaskRun
    from vmops.lab.machine.machine import Machine
    from vmops.lab.machine.snapshot_tree import SnapshotTree
    from vmops.lab.storage.disks import DiskInfo

log = logging.getLogger(__name__)

_device = vim.vm.device


async def relocate(vm: Machine, spec: vim.vm.RelocateSpec, run: TaskRun) -> None:
    """Move the machine, whose lock the caller has, to where a RelocateSpec says.

    A guest that runs goes on running all the time. On failure, or if the task is cancelled, the
    machine is where it was.

    Raises:
        vim.fault.GenericVmConfigFault: the hypervisor could not move the guest.
        vmodl.fault.RequestCanceled: the task was cancelled.
        As `examine` does, and file faults.
    """
    move = await examine(vm, spec)
    try:
        going = move.files.going()
        with storage_faults(vm.vmx), disk_holds(vm.kernel).changing(going):
            for path in needed_by_others(vm).intersection(going):
                raise FileInUse(path)  # since it was examined
            with journal(vm.kernel).work() as work:
                _note(vm, move, work)
                await _relocate(vm, move, run, work)
    finally:
        move.ports.release()


async def _relocate(vm: Machine, move: Relocation, run: TaskRun, work: Work) -> None:
    store = vm.store
    source = vm.host
    datastores = move.files.datastores()
    # What is made ready for a guest is empty until the guest has brought its content.
    is_running = vm.power_state == ON
    await _bring(vm, move, store, run, is_running=is_running)
    try:
        if is_running:
            await _move_guest(vm, move, store, run)
        await _switch(vm, move, store)
    except BaseException:
        await _back(vm, move, store)
        raise
    work.committed()
    await vm.kernel.blocking(FirstClassDisks(store).follow, move.files.renamed_disks())
    await vm.kernel.blocking(move.files.finish, store)
    await properties.refresh_files(vm)
    _tell_datastores(vm, datastores)
    post_moved(vm, source, datastores)


def _note(vm: Machine, move: Relocation, work: Work) -> None:
    files = move.files
    targets = files.targets()
    work.comes(files.home.parent, *(path.parent for path in targets))
    work.disk_comes(*targets)
    work.disk_goes(*files.going())
    if files.moves_home:
        own = [file.path for file in vm.files if file.disk_key is None]
        work.comes(files.home, *(files.home.sibling(path.name) for path in own))
        work.goes(vm.vmx, *own)
    work.goes(*(path.parent for path in files.going()), vm.directory)


async def _bring(
    vm: Machine, move: Relocation, store: DiskStore, run: TaskRun, *, is_running: bool
) -> None:
    """Make the new place ready."""
    loop = asyncio.get_running_loop()

    def show(percent: int) -> None:
        loop.call_soon_threadsafe(run.progress, percent // 2)

    watched = Watched(progress=show, cancelled=lambda: run.cancelled)
    plain = [each for each in vm.devices if not isinstance(each, _device.VirtualDisk)]

    def bring() -> None:
        move.files.prepare(store, running=is_running, watched=watched)
        try:
            move.files.bring_home(store, plain, running=is_running)
        except BaseException:
            move.files.undo(store)
            raise

    await to_its_end(vm.kernel.blocking(bring), lambda _: move.files.undo(store))


async def _move_guest(vm: Machine, move: Relocation, store: DiskStore, run: TaskRun) -> None:
    disks = move.files.disks
    for number, disk in enumerate(disks):
        run.check_cancelled()
        await _mirror(vm, store, disk.key, disk.links[0].target, run, _share(run, number, disks))
    if move.target.host is vm.host and not move.replugs:
        return
    run.check_cancelled()
    config = await _final_config(vm, move, store)
    chains = await vm.kernel.blocking(read_chains, store, config.hardware.device)
    machine = running_definition(vm, config, chains)
    with hypervisor_faults():
        await cancellable(vm.kernel.hypervisor.migrate(vm.moid, machine), run)


def _share(run: TaskRun, number: int, disks: Sequence[object]) -> Progress:
    return lambda percent: run.progress(50 + (number * 100 + percent) * 45 // (100 * len(disks)))


async def _mirror(
    vm: Machine,
    store: DiskStore,
    key: int,
    to: DatastorePath,
    run: TaskRun | None,
    progress: Progress | None,
) -> None:
    """Let the guest use another file for a disk, and say so in the configuration at once."""
    with storage_faults(to):
        chain = await vm.kernel.blocking(chain_of, store, to)
    moving = vm.kernel.hypervisor.mirror_disk(vm.moid, key, chain[0].layers, progress)
    with hypervisor_faults():
        await (moving if run is None else cancellable(moving, run))
    config = copy.copy(vm.config)
    config.hardware = copy.copy(config.hardware)
    config.hardware.device = [
        _with_chain(device, chain) if device.key == key else device for device in vm.devices
    ]
    # On the loop: between the guest's move and the file that tells of it nothing must happen.
    write_vmx(store.volumes, vm.vmx, stored_config(vm, config))
    vm.publish({"config.hardware.device": config.hardware.device})


def _with_chain(device: VirtualDevice, chain: Sequence[DiskInfo]) -> VirtualDevice:
    moved = copy.copy(device)
    moved.backing = backing_of(chain, getattr(device.backing, "diskMode", None))
    return moved


async def _final_config(vm: Machine, move: Relocation, store: DiskStore) -> ConfigInfo:
    """Return the configuration as it will be at the new place."""
    config = move.config
    config.files = files_info(move.files.home)
    renamed = {str(old): str(new) for old, new in move.files.home_files}
    targets = {disk.key: disk.links[0].target for disk in move.files.disks}
    for device in config.hardware.device:
        if device.key in targets:
            path = targets[device.key]
            with storage_faults(path):
                chain = await vm.kernel.blocking(chain_of, store, path)
            device.backing = backing_of(chain, getattr(device.backing, "diskMode", None))
        elif getattr(device.backing, "fileName", None) in renamed:
            device.backing = with_file(device, renamed[file_of(device)])
    return config


async def _switch(vm: Machine, move: Relocation, store: DiskStore) -> None:
    """Make the new place the machine's own."""
    config = await _final_config(vm, move, store)
    tree = await _final_snapshots(vm, move, store)
    now = {device.key: device.connectable for device in vm.devices}
    for device in config.hardware.device:
        device.connectable = now.get(device.key, device.connectable)
    config.extraConfig = vm.config.extraConfig
    with storage_faults(move.files.home):
        write_snapshots(store.volumes, tree)
        write_vmx(store.volumes, move.files.home, stored_config(vm, config))
    vm.vmx = move.files.home
    _change_place(vm, move.target)
    show_tree(vm, tree, {"config": config})
    follow_devices(vm)


async def _final_snapshots(vm: Machine, move: Relocation, store: DiskStore) -> SnapshotTree:
    """Return the snapshots as they will be at the new place."""
    if not vm.snapshots.snapshots:
        return vm.snapshots
    chains = {}
    for old, new in move.files.renamed_disks().items():
        with storage_faults(new):
            chains[old] = await vm.kernel.blocking(chain_of, store, new)
    renamed = {str(old): str(new) for old, new in move.files.home_files}
    return moved_tree(vm.snapshots, move.files.home, chains, renamed)


def _change_place(vm: Machine, target: RelocationTarget) -> None:
    kernel = vm.kernel
    move_to_host(vm, target.host)
    for name, holder_list, wanted in (
        ("resourcePool", "vm", target.pool),
        ("parent", "childEntity", target.folder.ref),
    ):
        before = vm.properties[name]
        if wanted is None or before is None or before._moId == wanted._moId:
            continue
        unlink(kernel, kernel.registry.get(before), holder_list, vm.ref)
        vm.publish({name: wanted})
        link(kernel, kernel.registry.get(wanted), holder_list, vm.ref)
    compute = target.host.parent
    if compute is not None and vm.properties["environmentBrowser"] is not None:
        browser = compute.properties["environmentBrowser"]
        if browser._moId != vm.properties["environmentBrowser"]._moId:
            vm.publish({"environmentBrowser": browser})


async def _back(vm: Machine, move: Relocation, store: DiskStore) -> None:
    """Bring back disks that have moved, and delete what is at the new place."""
    kept: list[DatastorePath] = []
    for disk in move.files.disks:
        device = next((each for each in vm.devices if each.key == disk.key), None)
        now = None if device is None else file_of(device)
        if now != str(disk.links[0].target):
            continue
        try:
            await _mirror(vm, store, disk.key, disk.links[0].source, None, None)
        except Exception:  # the guest may have ended: then its disk is where it is
            log.exception("disk %s of %s stays at its new place", disk.key, vm.name)
            kept += [each.target for each in disk.links]
    if not move.files.moves_home:
        with suppress(StorageError, OSError):  # what was about to be written may be there
            write_snapshots(store.volumes, vm.snapshots)
            write_vmx(store.volumes, vm.vmx, stored_config(vm, vm.config))
    move.files.undo(store, keep=kept)


def _tell_datastores(vm: Machine, names: set[str]) -> None:
    for datastore in vm.kernel.registry.all(ManagedEntity):
        if datastore.wire_type is vim.Datastore and datastore.name in names:
            vm.kernel.touch(datastore, "summary", "info")


async def migrate(
    vm: Machine, *, pool: Reference | None, host: Reference | None, state: str | None, run: TaskRun
) -> None:
    """Move the machine to another host or pool; its files stay.

    Raises:
        vmodl.fault.InvalidArgument: neither host nor pool is given.
        vim.fault.InvalidPowerState: ``state`` is given and not the machine's.
        As `relocate` does.
    """
    if host is None and pool is None:
        raise invalid_argument("host", "A host or a pool is needed.")
    if state is not None and vm.power_state != str(state):
        raise wrong_state(vm, str(state))
    await relocate(vm, vim.vm.RelocateSpec(host=host, pool=pool), run)
