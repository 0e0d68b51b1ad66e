"""How a virtual machine shows the tree of its snapshots."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pyVmomi import vim
from pyVmomi.VmomiSupport import ManagedObject as Reference

from vmops.lab.inventory.argument_faults import invalid_argument
from vmops.lab.machine.machine import Machine
from vmops.lab.machine.snapshot_tree import Snapshot, SnapshotTree


def snapshot_moid(vm: Machine, uid: int) -> str:
    """Return the id of a snapshot's object: the same after a restart, and of no other ever."""
    return f"snapshot-{vm.moid.rpartition('-')[2]}-{uid}"


def snapshot_ref(vm: Machine, uid: int) -> vim.vm.Snapshot:
    """Return the reference of a snapshot."""
    return vim.vm.Snapshot(snapshot_moid(vm, uid))


def find_snapshot(vm: Machine, ref: Reference, argument: str) -> Snapshot:
    """Return the machine's snapshot with this reference.

    Raises:
        vmodl.fault.ManagedObjectNotFound: there is none.
        vmodl.fault.InvalidArgument: it is another machine's; ``argument`` is said to be wrong.
    """
    moid = vm.kernel.registry.get(ref).moid
    for snapshot in vm.snapshots.snapshots:
        if snapshot_moid(vm, snapshot.uid) == moid:
            return snapshot
    raise invalid_argument(argument, "It is another machine's.")


def show_tree(vm: Machine, tree: SnapshotTree, changes: Mapping[str, object] | None = None) -> None:
    """Make a tree the machine's, together with other changes of its properties."""
    registry = vm.kernel.registry
    gone = {each.uid for each in vm.snapshots.snapshots} - {each.uid for each in tree.snapshots}
    vm.snapshots = tree
    for snapshot in tree.snapshots:
        values = {
            "config": snapshot.config,
            "childSnapshot": [snapshot_ref(vm, each.uid) for each in tree.children(snapshot.uid)],
        }
        moid = snapshot_moid(vm, snapshot.uid)
        if moid in registry:
            shown = registry.get(moid)
            new = {key: value for key, value in values.items() if shown.read(key) is not value}
            vm.kernel.update(shown, new)
        else:
            shown = vm.snapshot_object(snapshot.uid)
            shown.properties.update(values)
            vm.kernel.add(shown)
    vm.publish(
        {
            "snapshot": _info(vm, tree),
            "rootSnapshot": [snapshot_ref(vm, each.uid) for each in tree.children(None)],
            **(changes or {}),
        }
    )
    _forget(vm, gone)


def forget_snapshots(vm: Machine) -> None:
    """Take the snapshots of a machine that leaves the inventory with it."""
    _forget(vm, [each.uid for each in vm.snapshots.snapshots])


def _forget(vm: Machine, uids: Iterable[int]) -> None:
    registry = vm.kernel.registry
    for moid in [snapshot_moid(vm, uid) for uid in uids]:
        if moid in registry:
            vm.kernel.remove(registry.get(moid))


def _info(vm: Machine, tree: SnapshotTree) -> vim.vm.SnapshotInfo | None:
    if not tree.snapshots:
        return None
    current = None if tree.current is None else snapshot_ref(vm, tree.current)
    roots = [_node(vm, tree, each) for each in tree.children(None)]
    return vim.vm.SnapshotInfo(currentSnapshot=current, rootSnapshotList=roots)


def _node(vm: Machine, tree: SnapshotTree, snapshot: Snapshot) -> vim.vm.SnapshotTree:
    return vim.vm.SnapshotTree(
        snapshot=snapshot_ref(vm, snapshot.uid),
        vm=vm.ref,
        name=snapshot.name,
        description=snapshot.description,
        id=snapshot.uid,
        createTime=snapshot.created,
        state=snapshot.power_state,
        quiesced=snapshot.quiesced,
        childSnapshotList=[_node(vm, tree, each) for each in tree.children(snapshot.uid)],
        replaySupported=False,
    )
