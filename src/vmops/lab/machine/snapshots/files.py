"""The files that say what a virtual machine and its snapshots are: .vmx, .vmsd and .vmsn."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from pyVmomi import vmodl

from vmops.lab.inventory.file_faults import storage_faults
from vmops.lab.kernel.fault_text import message
from vmops.lab.machine.config import files_info
from vmops.lab.machine.load import load
from vmops.lab.machine.snapshot_tree import Snapshot, SnapshotTree
from vmops.lab.machine.snapshots.list_file import list_file, read_list, write_list
from vmops.lab.machine.tools_info import without_guest_values
from vmops.lab.machine.vmx_file import without_location, write_vmx
from vmops.lab.shielded import to_its_end
from vmops.lab.storage.disks import DiskStore
from vmops.lab.storage.errors import StorageError

if TYPE_CHECKING:
    from pyVmomi.vim.vm import ConfigInfo

    from vmops.lab.machine.machine import Machine
    from vmops.lab.storage.paths import DatastorePath

log = logging.getLogger(__name__)


def stored_config(vm: Machine, config: ConfigInfo) -> ConfigInfo:
    """Return a configuration of the machine as its files are to have it."""
    stored = copy.copy(config)
    stored.extraConfig = without_guest_values(vm, config.extraConfig)
    return stored


async def save_config(vm: Machine, config: ConfigInfo) -> None:
    """Write the .vmx file.

    Raises:
        vim.fault.NoDiskSpace, vim.fault.FileFault: the file is as it was.
    """
    await _write(vm, vm.vmx, stored_config(vm, config))


async def save_snapshot(vm: Machine, snapshot: Snapshot) -> None:
    """Write a snapshot's .vmsn file.

    Raises:
        vim.fault.NoDiskSpace, vim.fault.FileFault: the file is as it was.
    """
    await _write(vm, snapshot.data, snapshot.config)


async def save_tree(vm: Machine, tree: SnapshotTree) -> None:
    """Write the .vmsd file.

    Raises:
        vim.fault.NoDiskSpace, vim.fault.FileFault: the file is as it was.
    """
    with storage_faults(list_file(vm.vmx)):
        await to_its_end(vm.kernel.blocking(write_list, vm.store.volumes, vm.vmx, tree))


async def _write(vm: Machine, path: DatastorePath, config: ConfigInfo) -> None:
    with storage_faults(path):
        await to_its_end(vm.kernel.blocking(write_vmx, vm.store.volumes, path, config))


def delete_files(vm: Machine, snapshots: Iterable[Snapshot]) -> None:
    """Delete the .vmsn and memory files of snapshots. Blocking; what cannot be deleted stays."""
    for snapshot in snapshots:
        for path in filter(None, (snapshot.data, snapshot.memory)):
            with suppress(StorageError, OSError):
                vm.store.volumes.resolve(path).unlink(missing_ok=True)


async def load_tree(vm: Machine) -> SnapshotTree:
    """Read the snapshots of a machine found again from its files.

    Those whose files cannot be used are left out, noted in the log.
    """
    kernel = vm.kernel
    volumes = kernel.service(DiskStore).volumes
    try:
        said = await kernel.blocking(read_list, volumes, vm.vmx)
    except (StorageError, OSError) as error:
        log.warning("%s has lost its snapshots: %s", vm.name, error)
        return SnapshotTree()
    found: list[Snapshot] = []
    lost: dict[int, int | None] = {}
    for each in said.listed:
        try:
            config = await load(kernel, each.data, vm.host)
        except vmodl.MethodFault as fault:
            log.warning("%s has lost its snapshot '%s': %s", vm.name, each.name, message(fault))
            lost[each.uid] = each.parent
            continue
        config.files, config.name = files_info(vm.vmx), vm.name
        config.extraConfig = without_location(config.extraConfig)
        found.append(
            Snapshot(
                uid=each.uid,
                parent=each.parent,
                name=each.name,
                description=each.description,
                created=each.created,
                power_state=each.power_state,
                quiesced=each.quiesced,
                config=config,
                data=each.data,
                memory=each.memory,
            )
        )
    return _whole(found, lost, said.current, said.last_uid)


def _whole(
    found: list[Snapshot], lost: dict[int, int | None], current: int | None, last_uid: int
) -> SnapshotTree:
    """Return a tree in which nothing stands on what is not there, or on itself."""
    known = {each.uid for each in found}

    def there(uid: int | None) -> int | None:
        seen: set[int] = set()
        while uid is not None and uid in lost and uid not in seen:
            seen.add(uid)
            uid = lost[uid]
        return uid if uid in known else None

    tree = SnapshotTree((), None, last_uid)
    for each in sorted(found, key=lambda one: one.uid):
        parent = there(each.parent)
        is_older = parent is not None and parent < each.uid
        tree = tree.added(replace(each, parent=parent if is_older else None))
    return SnapshotTree(tree.snapshots, there(current), last_uid)
