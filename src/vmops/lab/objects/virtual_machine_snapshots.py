"""The methods of a virtual machine that are about its snapshots."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from pyVmomi import vim, vmodl

from vmops.lab.inventory.argument_faults import entity_name, invalid_state
from vmops.lab.inventory.managed_entity import ManagedEntity
from vmops.lab.machine.snapshots.files import save_tree
from vmops.lab.machine.snapshots.managed import show_tree, snapshot_ref
from vmops.lab.machine.snapshots.tree import SnapshotTree
from vmops.lab.operations.export_vm import export_snapshot
from vmops.lab.operations.snapshots import create, remove, revert
from vmops.lab.operations.snapshots.create import NewSnapshot

if TYPE_CHECKING:
    from vmops.lab.kernel.task import TaskRun
    from vmops.lab.objects.virtual_machine import VirtualMachine


class MachineWithSnapshots(ManagedEntity):
    """The part of `VirtualMachine` that has snapshots."""

    snapshots = SnapshotTree()
    """Its snapshots; changed by `show_tree` alone."""

    def CreateSnapshot_Task(
        self,
        name: str,
        description: str | None = None,
        memory: bool = False,
        quiesce: bool = False,
    ) -> Any:
        """Take a snapshot; see `create.create`."""
        wanted = NewSnapshot(
            name=name, description=description or "", memory=bool(memory), quiesce=bool(quiesce)
        )
        vm = self._machine
        return vm.start_task("createSnapshot", lambda _: create.create(vm, wanted))

    def CreateSnapshotEx_Task(
        self,
        name: str,
        description: str | None = None,
        memory: bool = False,
        quiesceSpec: Any = None,
    ) -> Any:
        """Take a snapshot; ``quiesceSpec`` asks for a guest held still, its details count not."""
        return self.CreateSnapshot_Task(name, description, memory, quiesceSpec is not None)

    def RevertToCurrentSnapshot_Task(
        self, host: Any = None, suppressPowerOn: bool | None = None
    ) -> Any:
        """Put the machine back to the snapshot it stands on.

        Raises:
            vim.fault.NotFound: it stands on none.
        """
        vm = self._machine

        async def work(_: TaskRun) -> None:
            if vm.snapshots.current is None:
                raise vim.fault.NotFound(msg="The machine has no current snapshot.")
            await revert.revert(vm, vm.snapshots.current, host, stay_off=bool(suppressPowerOn))

        return vm.start_task("revertToCurrentSnapshot", work)

    def RemoveAllSnapshots_Task(self, consolidate: bool | None = None, spec: Any = None) -> Any:
        """Remove all snapshots, and merge their disks unless ``consolidate`` is false.

        Raises:
            vmodl.fault.NotSupported: ``spec`` selects some of them.
        """
        if spec is not None:
            raise vmodl.fault.NotSupported(msg="Snapshots are removed one by one, or all.")
        vm = self._machine

        async def work(run: TaskRun) -> None:
            uids = frozenset(each.uid for each in vm.snapshots.snapshots)
            await remove.remove(
                vm, uids, merge_disks=consolidate is not False, progress=run.progress
            )

        return vm.start_task("removeAllSnapshots", work)

    def ConsolidateVMDisks_Task(self) -> Any:
        """Merge disks that no snapshot needs any more; see `remove.consolidate`."""
        vm = self._machine

        async def work(run: TaskRun) -> None:
            if not vm.is_accessible:
                raise invalid_state(f"The files of '{vm.name}' are not accessible.")
            await remove.consolidate(vm, run.progress)

        return vm.start_task("consolidateDisks", work)

    def start_revert(self, uid: int, host: Any, *, stay_off: bool) -> Any:
        """Start the task of RevertToSnapshot_Task."""
        vm = self._machine

        async def work(_: TaskRun) -> None:
            await revert.revert(vm, uid, host, stay_off=stay_off)

        return self._start_with(uid, "revertToSnapshot", work)

    def start_removal(self, uid: int, *, with_children: bool, merge: bool) -> Any:
        """Start the task of RemoveSnapshot_Task."""
        vm = self._machine

        async def work(run: TaskRun) -> None:
            uids = vm.snapshots.with_all_below(uid) if with_children else frozenset({uid})
            await remove.remove(vm, uids, merge_disks=merge, progress=run.progress)

        return self._start_with(uid, "removeSnapshot", work)

    async def rename_snapshot(self, uid: int, name: str | None, description: str | None) -> None:
        """Change what a snapshot is called; see `VirtualMachineSnapshot.RenameSnapshot`."""
        if name is not None:
            entity_name(name)
        vm = self._machine
        async with vm.lock:
            self._check_there(uid)
            old = vm.snapshots.get(uid)
            tree = vm.snapshots.replaced(
                replace(
                    old,
                    name=old.name if name is None else name,
                    description=old.description if description is None else description,
                )
            )
            await save_tree(vm, tree)
            show_tree(vm, tree)

    def export_snapshot(self, uid: int) -> Any:
        """Return a lease to fetch a snapshot's disks."""
        vm = self._machine
        return export_snapshot(vm.kernel, vm, vm.snapshots.get(uid))

    def _start_with(self, uid: int, method: str, work: Callable[[TaskRun], Awaitable[None]]) -> Any:
        async def checked(run: TaskRun) -> None:
            self._check_there(uid)
            await work(run)

        return self._machine.start_task(method, checked)

    def _check_there(self, uid: int) -> None:
        """Refuse a snapshot that was removed while its method waited for its turn."""
        if all(each.uid != uid for each in self.snapshots.snapshots):
            raise vmodl.fault.ManagedObjectNotFound(obj=snapshot_ref(self._machine, uid))

    @property
    def _machine(self) -> VirtualMachine:
        return cast("VirtualMachine", self)
