"""What every entity of the inventory tree has: a name, a parent, a status, and renaming."""

from __future__ import annotations

from pyVmomi import vim, vmodl
from pyVmomi.VmomiSupport import ManagedObject as Reference

from vmops.lab.inventory.argument_faults import entity_name
from vmops.lab.kernel.kernel import Kernel, ManagedObject
from vmops.lab.kernel.task import TaskRun, Tasks, start_task


class ManagedEntity(ManagedObject):
    """An object of the inventory tree."""

    def __init__(
        self, kernel: Kernel, moid: str, *, name: str, parent: Reference | None = None
    ) -> None:
        super().__init__(kernel, moid)
        self.properties.update(
            name=name,
            overallStatus=vim.ManagedEntity.Status.green,
            configStatus=vim.ManagedEntity.Status.green,
            configIssue=[],
            effectiveRole=[-1],
            permission=[],
            disabledMethod=[],
            declaredAlarmState=[],
            triggeredAlarmState=[],
            alarmActionsEnabled=True,
            tag=[],
            value=[],
            availableField=[],
            customValue=[],
        )
        self.computed["recentTask"] = lambda: kernel.service(Tasks).recent_of(self)
        if parent is not None:
            self.properties["parent"] = parent

    @property
    def name(self) -> str:
        """The name as stored (see `entity_name`)."""
        return str(self.properties["name"])

    @property
    def parent(self) -> ManagedEntity | None:
        """The entity above, None for the root folder."""
        ref = self.properties.get("parent")
        return None if ref is None else self.kernel.registry.find(ref, ManagedEntity)

    def children(self) -> list[ManagedEntity]:
        """List the entities one level below in inventory paths; none unless overridden."""
        return []

    async def look_again(self) -> None:
        """Follow what happened to what the entity stands on; nothing unless overridden."""

    def start_migration(self, host: Reference) -> vim.Task:
        """Start the task of moving to another host, as DRS does it."""
        raise vmodl.fault.NotSupported(msg=f"'{self.name}' stays on its host '{host._moId}'.")

    def check_child_name(self, name: str, but: ManagedEntity | None = None) -> None:
        """Raise vim.fault.DuplicateName if an entity below other than ``but`` has the name."""
        for child in self.children():
            if child.name == name and child is not but:
                raise vim.fault.DuplicateName(
                    name=name, object=child.ref, msg=f"The name '{name}' already exists."
                )

    def rename(self, name: str) -> None:
        """Give the entity another name.

        Raises:
            vim.fault.InvalidName: see `entity_name`.
            vim.fault.DuplicateName: a sibling has it.
        """
        stored = entity_name(name)
        if self.parent is not None:
            self.parent.check_child_name(stored, but=self)
        self.kernel.update(self, self.renamed(stored))

    def renamed(self, name: str) -> dict[str, object]:
        """Return the property changes a new name means; entities that show it twice add theirs."""
        return {"name": name}

    def Rename_Task(self, newName: str) -> vim.Task:
        """Rename in a task."""

        async def run(_: TaskRun) -> None:
            self.rename(newName)

        return start_task(self, f"{self.wire_type.__name__.split('.')[-1]}.rename", run)

    async def Reload(self) -> None:
        """Re-read the entity: there is nothing cached to re-read."""
