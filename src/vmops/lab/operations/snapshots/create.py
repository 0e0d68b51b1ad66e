"""Taking a snapshot: all is prepared, then the disks switch at one moment, or nothing happened."""

from __future__ import annotations

import copy
import logging
import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from pyVmomi import vim
from pyVmomi.VmomiSupport import ManagedObject as Reference

from vmops.lab.hypervisor.errors import HypervisorError
from vmops.lab.inventory.argument_faults import entity_name, invalid_state
from vmops.lab.inventory.file_faults import storage_faults
from vmops.lab.machine.machine import Machine
from vmops.lab.machine.snapshot_tree import DEEPEST, Snapshot, SnapshotTree
from vmops.lab.machine.snapshots.disks import (
    NewLayers,
    config_with_chains,
    disks_of,
    is_independent,
    path_of_disk,
    snapshotted_disks,
    with_chains,
)
from vmops.lab.machine.snapshots.files import (
    delete_files,
    save_config,
    save_snapshot,
    save_tree,
    stored_config,
)
from vmops.lab.machine.snapshots.list_file import data_file, list_text, memory_file
from vmops.lab.machine.snapshots.shown_tree import show_tree, snapshot_ref
from vmops.lab.operations import properties
from vmops.lab.operations.hypervisor_calls import hypervisor_faults
from vmops.lab.operations.journal import Work, journal
from vmops.lab.operations.power import OFF, ON, SUSPENDED
from vmops.lab.operations.power import memory_file as suspended_memory
from vmops.lab.operations.tools import quiesce
from vmops.lab.shielded import to_its_end
from vmops.lab.storage.consolidating import commit
from vmops.lab.storage.disks import DiskInfo
from vmops.lab.storage.errors import StorageError
from vmops.lab.storage.paths import DatastorePath

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSnapshot:
    """What CreateSnapshot_Task is asked for."""

    name: str
    description: str
    memory: bool
    """Keep the guest's memory; without effect on a machine that is off."""
    quiesce: bool
    """Hold the guest's file systems still; without effect where no tools run.

    With the memory kept the guest is not held still: it would wake up so after a revert.
    """


async def create(vm: Machine, wanted: NewSnapshot) -> Reference:
    """Take a snapshot of a machine, whose lock the caller has; return its reference.

    Raises:
        vim.fault.InvalidName: see `entity_name`.
        vim.fault.InvalidState: it is a template, or its files cannot be read.
        vim.fault.TooManySnapshotLevels: it would stand on more than 32.
        vim.fault.MemorySnapshotOnIndependentDisk: a disk is independent and the memory is asked
            for.
        vim.fault.ApplicationQuiesceFault, vim.fault.FilesystemQuiesceFault: the guest's tools
            failed.
        vim.fault.GenericVmConfigFault: the hypervisor could not.
        vim.fault.FileFault or one below it: a file could not be made.
    """
    snapshot = _planned(vm, wanted)
    with journal(vm.kernel).work() as work:
        await _create(vm, snapshot, work, quiesced=wanted.quiesce)
    await properties.refresh_files(vm)
    return snapshot_ref(vm, snapshot.uid)


async def _create(vm: Machine, snapshot: Snapshot, work: Work, *, quiesced: bool) -> None:
    tree = vm.snapshots.added(snapshot)
    layers = NewLayers(vm.store)
    below = [path_of_disk(disk) for disk in snapshotted_disks(vm.devices)]
    old = vm.config
    try:
        await _note(vm, snapshot, tree, work)
        await to_its_end(vm.kernel.blocking(layers.make, below, work.disk_comes))
        await save_snapshot(vm, snapshot)
        # First the files: a guest that writes to a layer which no file names would lose it when
        # the lab is killed in between.
        await save_config(vm, config_with_chains(old, layers.made))
        try:
            async with _switched(vm, snapshot, layers.made, quiesced=quiesced) as held_still:
                snapshot = replace(snapshot, quiesced=held_still)
                tree = tree.replaced(snapshot)
                await save_tree(vm, tree)
        except BaseException:
            await save_config(vm, old)
            raise
    except BaseException:
        layers.undo()
        delete_files(vm, [snapshot])
        raise
    show_tree(vm, tree, {"config.hardware.device": with_chains(vm.devices, layers.made)})


async def _note(vm: Machine, snapshot: Snapshot, tree: SnapshotTree, work: Work) -> None:
    work.comes(*(path for path in (snapshot.data, snapshot.memory) if path is not None))
    with storage_faults(vm.vmx):
        read = vm.store.volumes.resolve(vm.vmx).read_text
        work.snapshot(vm.vmx, snapshot.uid, await vm.kernel.blocking(read), list_text(tree))


def _planned(vm: Machine, wanted: NewSnapshot) -> Snapshot:
    entity_name(wanted.name)
    if vm.is_template:
        raise invalid_state("A template has no snapshots.")
    tree = vm.snapshots
    if tree.depth(tree.current) >= DEEPEST:
        raise vim.fault.TooManySnapshotLevels(
            msg=f"A machine stands on at most {DEEPEST} snapshots."
        )
    has_memory = wanted.memory and vm.power_state != OFF
    if has_memory and any(map(is_independent, disks_of(vm.devices))):
        raise vim.fault.MemorySnapshotOnIndependentDisk(
            msg="The memory of a machine with an independent disk cannot be kept."
        )
    uid = tree.last_uid + 1
    return Snapshot(
        uid=uid,
        parent=tree.current,
        name=wanted.name,
        description=wanted.description,
        created=datetime.now(UTC),
        power_state=vm.power_state if has_memory else OFF,
        quiesced=False,
        config=copy.deepcopy(stored_config(vm, vm.config)),
        data=data_file(vm.vmx, uid),
        memory=memory_file(vm.vmx, uid) if has_memory else None,
    )


@asynccontextmanager
async def _switched(
    vm: Machine, snapshot: Snapshot, made: Mapping[DatastorePath, list[DiskInfo]], *, quiesced: bool
) -> AsyncIterator[bool]:
    """Let a running guest write to its new layers, or no longer if the block fails.

    Gives whether its file systems were held still. A suspended machine's memory is copied.
    """
    memory = None
    if snapshot.memory is not None:
        volumes = vm.store.volumes
        memory = volumes.resolve(snapshot.memory)
        with storage_faults(snapshot.memory):
            needed = vm.memory_mib * 1024**2
            await vm.kernel.blocking(volumes.require, snapshot.memory.datastore, needed)
            await vm.kernel.blocking(lambda: memory.unlink(missing_ok=True))
            if vm.power_state == SUSPENDED:
                source = volumes.resolve(suspended_memory(vm))
                await to_its_end(vm.kernel.blocking(shutil.copyfile, source, memory))
    if vm.power_state != ON:
        yield False
        return
    held_still = False
    switched = False
    try:
        if quiesced and memory is None:
            async with quiesce(vm) as held_still:
                await switch(vm, made, None)
                switched = True
        else:
            await switch(vm, made, memory)
            switched = True
        yield held_still
    except BaseException:
        if switched:
            await switch_back(vm, made)
        raise


async def switch(
    vm: Machine, made: Mapping[DatastorePath, list[DiskInfo]], memory: Path | None
) -> None:
    """Let a running guest write to new layers of its disks, given by the disks below them.

    Raises:
        vim.fault.GenericVmConfigFault: the hypervisor could not; nothing changed.
    """
    tops = {
        disk.key: made[path_of_disk(disk)][0].layers[0]
        for disk in disks_of(vm.devices)
        if path_of_disk(disk) in made
    }
    with hypervisor_faults():
        await to_its_end(vm.kernel.hypervisor.snapshot_disks(vm.moid, tops, memory))


async def switch_back(vm: Machine, made: Mapping[DatastorePath, list[DiskInfo]]) -> None:
    """Let a running guest write to its old layers again; what it wrote since goes there too."""
    for disk in disks_of(vm.devices):
        chain = made.get(path_of_disk(disk))
        if chain is None:
            continue
        top, into = (layer.file for layer in chain[0].layers[:2])
        try:
            await vm.kernel.hypervisor.collapse(vm.moid, disk.key, top, into)
        except HypervisorError as error:
            log.warning("disk %d of %s cannot be put back: %s", disk.key, vm.name, error)
            # The guest may have ended; then what it wrote is brought down without it.
            with suppress(StorageError, OSError):
                await vm.kernel.blocking(commit, vm.store.volumes, chain[0].path, chain[1].path)
