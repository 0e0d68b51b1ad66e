"""Which disks a virtual machine still needs: the others are deleted, or merged with their child.

A disk is needed if the machine writes to it now, or if it is a snapshot's. One that is not, and has
a single child, takes in what the child holds and stands in its place, as on vSphere. Only layers
that are the machine's own are merged, see `own_disks`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from pyVmomi import vmodl

from vmops.lab.inventory.file_faults import storage_faults
from vmops.lab.machine.devices.disks import chain_of, disk_files
from vmops.lab.machine.own_disks import OwnDisks, own_disks
from vmops.lab.machine.snapshot_tree import SnapshotTree
from vmops.lab.machine.snapshots.disks import (
    all_disk_files,
    config_with_chains,
    disks_of,
    held_disks,
    path_of_disk,
    with_chains,
)
from vmops.lab.machine.snapshots.files import save_config, save_snapshot
from vmops.lab.machine.snapshots.shown_tree import show_tree
from vmops.lab.operations.destroy import needed_by_others
from vmops.lab.operations.disk_holds import disk_holds
from vmops.lab.operations.hypervisor_calls import hypervisor_faults
from vmops.lab.operations.journal import Work, journal
from vmops.lab.operations.power import ON
from vmops.lab.shielded import to_its_end
from vmops.lab.storage.consolidating import check_commit, children, commit, drop_committed
from vmops.lab.storage.disks import DiskInfo, DiskStore
from vmops.lab.storage.errors import DiskHasChildren, FileInUse, StorageError
from vmops.lab.storage.paths import DatastorePath

if TYPE_CHECKING:
    from pyVmomi.vim.vm.device import VirtualDisk

    from vmops.lab.machine.machine import Machine

log = logging.getLogger(__name__)

Progress = Callable[[int], None]


async def delete_unneeded(vm: Machine, before: OwnDisks, work: Work) -> None:
    """Delete layers that were the machine's and are below nothing it needs any more.

    What others need stays, and so does a whole disk that lies in another folder than the machine:
    a volume is not a part of the machine that had it. What cannot be deleted is noted in the log.
    """
    now = await own_disks(vm)
    for path in [path for path in before.parents if path not in now.parents]:
        if before.parents[path] is None and path.parent != vm.directory:
            continue
        if path in needed_by_others(vm):
            continue
        work.disk_goes(path)
        try:
            with disk_holds(vm.kernel).changing([path]):
                await to_its_end(vm.kernel.blocking(_delete, vm.store, path))
        except (StorageError, OSError) as error:
            log.warning("%s stays: %s", path, error)


def _delete(store: DiskStore, path: DatastorePath) -> None:
    standing = children(store.volumes, path)
    if standing:
        raise DiskHasChildren(path, standing)
    store.delete(path)


async def show_need(vm: Machine) -> None:
    """Publish ``runtime.consolidationNeeded``: whether a consolidation would do anything."""
    others = _left_to_others(vm)
    needed = False
    for top, into in (await own_disks(vm)).mergeable():
        with suppress(vmodl.MethodFault):
            needed = needed or (into not in others and await _may_merge(vm, top, into))
    if vm.properties["runtime"].consolidationNeeded is not needed:
        vm.publish({"runtime.consolidationNeeded": needed})


async def merge(vm: Machine, progress: Progress) -> None:
    """Merge all that can be, of a machine whose lock the caller has, also while it runs.

    What stands under other machines' disks stays as it is, and so does a disk that another machine
    writes to. Of a disk that another one has, which is off, nothing is known here, as on vSphere.

    Raises:
        vim.fault.FileFault or one below it: a disk's data could not be moved.
        vim.fault.GenericVmConfigFault: the hypervisor could not move it.
    """
    left_alone: set[DatastorePath] = set()
    done = 0
    while True:
        own = await own_disks(vm)
        left = left_alone | _left_to_others(vm)
        found = [each for each in own.mergeable() if each[1] not in left]
        if not found:
            return
        span = 100 // (done + len(found))

        def show(percent: int, base: int = done * span, span: int = span) -> None:
            progress(base + percent * span // 100)

        top, into = found[0]
        try:
            with disk_holds(vm.kernel).changing(own.between(top, into)):
                merged = await _may_merge(vm, top, into)
                if merged:
                    with journal(vm.kernel).work() as work:
                        work.disk_goes(*own.between(top, into)[:-1])
                        await _merge(vm, top, into, show)
                    done += 1
        except FileInUse as error:  # by somebody who is about to stand on it
            log.info("%s: %s", vm.name, error)
            merged = False
        if not merged:
            left_alone.add(into)


def _left_to_others(vm: Machine) -> set[DatastorePath]:
    left: set[DatastorePath] = set()
    for other in vm.kernel.registry.all(type(vm)):
        if other is vm:
            continue
        files = all_disk_files(other)
        if other.power_state != ON:
            below = {path for disk in disks_of(other.devices) for path in _below(disk)}
            own = set(map(path_of_disk, disks_of(other.devices)))
            files -= own - below - held_disks(other.snapshots)
        left |= files
    return left


def _below(disk: VirtualDisk) -> list[DatastorePath]:
    return [DatastorePath.parse(name) for name in disk_files(disk)[1:]]


async def _may_merge(vm: Machine, top: DatastorePath, into: DatastorePath) -> bool:
    with storage_faults(into):
        try:
            await vm.kernel.blocking(check_commit, vm.store.volumes, top, into)
        except DiskHasChildren as error:
            log.info("%s: %s", vm.name, error)
            return False
    return True


async def _merge(vm: Machine, top: DatastorePath, into: DatastorePath, progress: Progress) -> None:
    kernel = vm.kernel
    volumes = kernel.service(DiskStore).volumes
    disk = _running_on(vm, top)
    loop = asyncio.get_running_loop()

    def from_thread(percent: int) -> None:
        loop.call_soon_threadsafe(progress, percent)

    def point() -> None:
        asyncio.run_coroutine_threadsafe(_point(vm, top, into), loop).result()

    # No file may name what is gone, so the names change before the files go.
    with storage_faults(into):
        if disk is None:
            merging = partial(commit, volumes, top, into, from_thread, before_drop=point)
            await to_its_end(kernel.blocking(merging))
        else:
            await _collapse(vm, disk, top, into, progress)
            await _point(vm, top, into, is_so=True)
            await to_its_end(kernel.blocking(drop_committed, volumes, top, into))
    await show_backings(vm)


def _running_on(vm: Machine, path: DatastorePath) -> VirtualDisk | None:
    """Return the disk of a running machine that a layer is part of; None if there is none."""
    if vm.power_state == ON:
        for disk in disks_of(vm.devices):
            if str(path) in disk_files(disk):
                return disk
    return None


async def _collapse(
    vm: Machine, disk: VirtualDisk, top: DatastorePath, into: DatastorePath, progress: Progress
) -> None:
    inspect = vm.store.inspect
    upper = (await vm.kernel.blocking(inspect, top)).layers[0].file
    lower = (await vm.kernel.blocking(inspect, into)).layers[0].file
    with hypervisor_faults():
        await vm.kernel.hypervisor.collapse(vm.moid, disk.key, upper, lower, progress)


async def _point(
    vm: Machine, old: DatastorePath, new: DatastorePath, *, is_so: bool = False
) -> None:
    """Let the machine and its snapshots have one disk in the place of another with its content.

    What cannot be written down does not change; unless it ``is_so``, because the guest runs on it.
    """
    chains = {old: await vm.kernel.blocking(chain_of, vm.store, new)}
    tree = vm.snapshots
    changed = []
    for snapshot in tree.snapshots:
        if old in held_disks(SnapshotTree((snapshot,))):
            changed.append(replace(snapshot, config=config_with_chains(snapshot.config, chains)))
            tree = tree.replaced(changed[-1])

    def show() -> None:
        show_tree(vm, tree, {"config.hardware.device": with_chains(vm.devices, chains)})

    try:
        for snapshot in changed:
            await save_snapshot(vm, snapshot)
        if old in map(path_of_disk, disks_of(vm.devices)):
            await save_config(vm, config_with_chains(vm.config, chains))
    except BaseException:
        if is_so:
            show()
        raise
    show()


async def show_backings(vm: Machine) -> None:
    """Publish of all disks what their files now say of what they stand on."""
    paths = held_disks(vm.snapshots) | set(map(path_of_disk, disks_of(vm.devices)))
    chains = await vm.kernel.blocking(_chains, vm.store, paths)
    tree = vm.snapshots
    for snapshot in tree.snapshots:
        tree = tree.replaced(replace(snapshot, config=config_with_chains(snapshot.config, chains)))
    show_tree(vm, tree, {"config.hardware.device": with_chains(vm.devices, chains)})


def _chains(
    store: DiskStore, paths: Iterable[DatastorePath]
) -> dict[DatastorePath, list[DiskInfo]]:
    found = {}
    for path in paths:
        with suppress(StorageError, OSError):  # what cannot be read is shown as it was
            found[path] = chain_of(store, path)
    return found
