"""Removing snapshots: first from the tree, then what nobody needs of their disks."""

from __future__ import annotations

from typing import Any

from vmops.lab.inventory.argument_faults import invalid_state
from vmops.lab.machine.machine import Machine
from vmops.lab.machine.nfc_lease import HttpNfcLease
from vmops.lab.machine.own_disks import own_disks
from vmops.lab.machine.snapshots.files import delete_files, save_tree
from vmops.lab.machine.snapshots.shown_tree import show_tree, snapshot_ref
from vmops.lab.operations import properties
from vmops.lab.operations.journal import journal
from vmops.lab.operations.snapshots.merge import Progress, delete_unneeded, merge, show_need


async def remove(
    vm: Machine, uids: frozenset[int], *, merge_disks: bool, progress: Progress
) -> None:
    """Remove snapshots of a machine whose lock the caller has; the machine's disks read the same.

    Snapshots that stood on them stand on what is left. If disks cannot be merged, the snapshots are
    gone all the same, and ``runtime.consolidationNeeded`` is true, as on vSphere.

    Raises:
        vim.fault.InvalidState: one of them is being exported.
        vim.fault.FileFault or one below it: the list of snapshots could not be written, and nothing
            changed; or disks could not be merged.
        vim.fault.GenericVmConfigFault: the hypervisor could not merge disks.
    """
    _refuse_exported(vm, uids)
    gone = [vm.snapshots.get(uid) for uid in uids]
    before = await own_disks(vm)
    tree = vm.snapshots.without(uids)
    with journal(vm.kernel).work() as work:
        paths = [path for each in gone for path in (each.data, each.memory)]
        work.goes(*(path for path in paths if path is not None))
        work.disk_goes(*(path for path in before.parents if path.parent == vm.directory))
        await save_tree(vm, tree)
        show_tree(vm, tree)
        await vm.kernel.blocking(delete_files, vm, gone)
        await delete_unneeded(vm, before, work)
    if merge_disks:
        await consolidate(vm, progress)
        return
    await show_need(vm)
    await properties.refresh_files(vm)


async def remove_all(vm: Machine, *, merge_disks: bool, progress: Progress) -> None:
    """Remove all snapshots; see `remove`."""
    uids = frozenset(each.uid for each in vm.snapshots.snapshots)
    await remove(vm, uids, merge_disks=merge_disks, progress=progress)


async def consolidate(vm: Machine, progress: Progress) -> None:
    """Merge what can be merged of a machine's disks; the caller has its lock.

    Raises:
        vim.fault.InvalidState: the machine's files cannot be read.
        As `merge.merge` does.
    """
    vm.require_accessible()
    try:
        await merge(vm, progress)
    finally:
        await show_need(vm)
        await properties.refresh_files(vm)


def _refuse_exported(vm: Machine, uids: frozenset[int]) -> None:
    exported = {snapshot_ref(vm, uid) for uid in uids}
    for lease in vm.kernel.registry.all(HttpNfcLease):
        snapshot: Any = lease.snapshot
        if lease.state in {"initializing", "ready"} and snapshot in exported:
            raise invalid_state("The snapshot is being exported.")
