"""The end of a virtual machine and of its files."""

from __future__ import annotations

import logging
from contextlib import suppress

from vmops.lab.inventory.file_faults import storage_faults
from vmops.lab.machine.files import delete_own_files
from vmops.lab.machine.first_class_disks import forget_deleted, kept_disks
from vmops.lab.machine.machine import Machine
from vmops.lab.machine.own_disks import own_disks
from vmops.lab.machine.snapshots.disks import all_disk_files, disks_of, path_of_disk
from vmops.lab.operations.disk_holds import disk_holds
from vmops.lab.operations.journal import journal
from vmops.lab.operations.place import forget
from vmops.lab.operations.power import refuse_if_on
from vmops.lab.storage.errors import StorageError
from vmops.lab.storage.paths import DatastorePath

log = logging.getLogger(__name__)


async def destroy(vm: Machine) -> None:
    """Remove a machine from the inventory and delete its files, after what it is doing now.

    Raises:
        vim.fault.InvalidPowerState: it is on.
    """
    async with vm.lock:
        if vm.moid in vm.kernel.registry:
            await destroy_unlocked(vm)


async def destroy_unlocked(vm: Machine) -> None:
    """Remove a machine, whose lock the caller has, from the inventory, and delete its files.

    Disks that another machine has, or is based on, stay. So do files in the folder that are not
    the machine's.

    Raises:
        vim.fault.InvalidPowerState: it is on.
        vim.fault.FileLocked: a disk is just being given to another machine; nothing changed.
    """
    refuse_if_on(vm)
    store = vm.store
    disks = list((await own_disks(vm)).parents)
    disks += [path for path in await vm.kernel.blocking(_copied, vm) if path not in disks]
    first_class = await vm.kernel.blocking(kept_disks, store, disks)
    kept = first_class | needed_by_others(vm)
    devices = vm.devices
    gone = [path for path in disks if path not in kept]
    with (
        storage_faults(vm.vmx),
        disk_holds(vm.kernel).changing(gone),
        journal(vm.kernel).work() as work,
    ):
        work.disk_goes(*gone)
        work.goes(vm.directory, *_own_files(vm, kept))
        forget(vm)
        work.committed()  # from here on the machine is gone, and its files go, whatever happens
        left = await vm.kernel.blocking(delete_own_files, store, vm.vmx, devices, disks, kept)
        await vm.kernel.blocking(forget_deleted, store, disks)
    for path in left:
        log.warning("%s could not be deleted with its virtual machine", path)


def _copied(vm: Machine) -> list[DatastorePath]:
    """List disks that were copied for the machine's own to stand on. Blocking."""
    found = []
    for disk in disks_of(vm.devices):
        with suppress(StorageError, OSError):
            chain = vm.store.inspect_chain(path_of_disk(disk))
            found += [info.path for info in chain if info.is_copied]
    return found


def _own_files(vm: Machine, kept: frozenset[DatastorePath]) -> list[DatastorePath]:
    own = [file.path for file in vm.files if file.disk_key is None and file.path not in kept]
    return [vm.vmx, *own] if vm.directory.path else own


def needed_by_others(vm: Machine) -> frozenset[DatastorePath]:
    """List the files that other machines have: disks with those they stand on, .vmx files."""
    needed: set[DatastorePath] = set()
    for other in vm.kernel.registry.all(Machine):
        if other is vm:
            continue
        needed.add(other.vmx)
        needed |= all_disk_files(other)
    return frozenset(needed)
