"""A snapshot of a virtual machine: its methods, which are the machine's tasks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

from pyVmomi import vim, vmodl
from pyVmomi.VmomiSupport import ManagedObject as Reference

from vmops.lab.inventory.argument_faults import entity_name
from vmops.lab.kernel.kernel import ManagedObject
from vmops.lab.kernel.task import TaskRun
from vmops.lab.machine.machine import Machine
from vmops.lab.machine.snapshots.files import save_tree
from vmops.lab.machine.snapshots.shown_tree import show_tree, snapshot_moid
from vmops.lab.operations.export_vm import export_snapshot
from vmops.lab.operations.snapshots import remove, revert


class VirtualMachineSnapshot(ManagedObject):
    """A snapshot of a machine; what happens to it happens to the machine."""

    wire_type = vim.vm.Snapshot

    def __init__(self, machine: Machine, uid: int) -> None:
        super().__init__(machine.kernel, snapshot_moid(machine, uid))
        self.machine = machine
        self.uid = uid
        self.properties.update(vm=machine.ref, childSnapshot=[], value=[], availableField=[])

    def RevertToSnapshot_Task(
        self, host: Reference | None = None, suppressPowerOn: bool | None = None
    ) -> vim.Task:
        """Put the machine back to what it was; see `revert.revert`."""

        async def work(_: TaskRun) -> None:
            await revert.revert(self.machine, self.uid, host, stay_off=bool(suppressPowerOn))

        return self._start_task("revertToSnapshot", work)

    def RemoveSnapshot_Task(
        self, removeChildren: bool, consolidate: bool | None = None
    ) -> vim.Task:
        """Forget the snapshot, and what nobody needs of its disks; see `remove.remove`.

        Disks are merged unless ``consolidate`` is false.
        """

        async def work(run: TaskRun) -> None:
            tree, merges = self.machine.snapshots, consolidate is not False
            uids = tree.with_all_below(self.uid) if removeChildren else frozenset({self.uid})
            await remove.remove(self.machine, uids, merge_disks=merges, progress=run.progress)

        return self._start_task("removeSnapshot", work)

    async def RenameSnapshot(self, name: str | None = None, description: str | None = None) -> None:
        """Change the name, the description, or both.

        Raises:
            vim.fault.InvalidName: the name is empty or too long.
        """
        if name is not None:
            entity_name(name)
        vm = self.machine
        async with vm.lock:
            self._check_there()
            old = vm.snapshots.get(self.uid)
            tree = vm.snapshots.replaced(
                replace(
                    old,
                    name=old.name if name is None else name,
                    description=old.description if description is None else description,
                )
            )
            await save_tree(vm, tree)
            show_tree(vm, tree)

    def ExportSnapshot(self) -> Reference:
        """Return a lease to fetch the snapshot's disks, also while the machine runs."""
        vm = self.machine
        return export_snapshot(vm.kernel, vm, vm.snapshots.get(self.uid))

    def _start_task(self, method: str, work: Callable[[TaskRun], Awaitable[None]]) -> vim.Task:
        async def checked(run: TaskRun) -> None:
            self._check_there()
            await work(run)

        return self.machine.start_task(method, checked)

    def _check_there(self) -> None:
        """Refuse a snapshot that was removed while its method waited for its turn."""
        if all(each.uid != self.uid for each in self.machine.snapshots.snapshots):
            raise vmodl.fault.ManagedObjectNotFound(obj=self.ref)
