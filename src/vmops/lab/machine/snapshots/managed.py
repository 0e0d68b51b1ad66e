"""A snapshot as a managed object, and how a virtual machine shows its tree of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from pyVmomi import vim

from vmops.lab.kernel.managed_object import ManagedObject

if TYPE_CHECKING:
    from vmops.lab.machine.snapshots.tree import Snapshot, SnapshotTree
    from vmops.lab.objects.virtual_machine import VirtualMachine


class VirtualMachineSnapshot(ManagedObject):
    """A snapshot of a machine; what happens to it happens to the machine, which has the methods."""

    wire_type = vim.vm.Snapshot

    def __init__(self, machine: VirtualMachine, uid: int) -> None:
        super().__init__(machine.kernel, snapshot_moid(machine, uid))
        self.machine = machine
        self.uid = uid
        self.properties.update(vm=machine.ref, childSnapshot=[], value=[], availableField=[])

    def RevertToSnapshot_Task(self, host: Any = None, suppressPowerOn: bool | None = None) -> Any:
        """Put the machine back to what it was; see `snapshot_revert.revert`."""
        return self.machine.start_revert(self.uid, host, stay_off=bool(suppressPowerOn))

    def RemoveSnapshot_Task(self, removeChildren: bool, consolidate: bool | None = None) -> Any:
        """Forget the snapshot, and what nobody needs of its disks; see `snapshot_remove.remove`.

        Disks are merged unless ``consolidate`` is false.
        """
        return self.machine.start_removal(
            self.uid, with_children=bool(removeChildren), merge=consolidate is not False
        )

    async def RenameSnapshot(self, name: str | None = None, description: str | None = None) -> None:
        """Change the name, the description, or both.

        Raises:
            vim.fault.InvalidName: the name is empty or too long.
        """
        await self.machine.rename_snapshot(self.uid, name, description)

    def ExportSnapshot(self) -> Any:
        """Return a lease to fetch the snapshot's disks, also while the machine runs."""
        return self.machine.export_snapshot(self.uid)


def snapshot_moid(vm: VirtualMachine, uid: int) -> str:
    """Return the id of a snapshot's object: the same after a restart, and of no other ever."""
    return f"snapshot-{vm.moid.rpartition('-')[2]}-{uid}"


def snapshot_ref(vm: VirtualMachine, uid: int) -> Any:
    """Return the reference of a snapshot."""
    return vim.vm.Snapshot(snapshot_moid(vm, uid))


def show_tree(
    vm: VirtualMachine, tree: SnapshotTree, changes: Mapping[str, Any] | None = None
) -> None:
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
            shown = VirtualMachineSnapshot(vm, snapshot.uid)
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


def forget_snapshots(vm: VirtualMachine) -> None:
    """Take the snapshots of a machine that leaves the inventory with it."""
    _forget(vm, [each.uid for each in vm.snapshots.snapshots])


def _forget(vm: VirtualMachine, uids: Iterable[int]) -> None:
    registry = vm.kernel.registry
    for moid in [snapshot_moid(vm, uid) for uid in uids]:
        if moid in registry:
            vm.kernel.remove(registry.get(moid))


def _info(vm: VirtualMachine, tree: SnapshotTree) -> Any:
    if not tree.snapshots:
        return None
    current = None if tree.current is None else snapshot_ref(vm, tree.current)
    roots = [_node(vm, tree, each) for each in tree.children(None)]
    return vim.vm.SnapshotInfo(currentSnapshot=current, rootSnapshotList=roots)


def _node(vm: VirtualMachine, tree: SnapshotTree, snapshot: Snapshot) -> Any:
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
