"""Folders of the inventory, and the creation and registration of virtual machines in them."""

from __future__ import annotations

from collections.abc import Sequence

from pyVmomi import vim, vmodl
from pyVmomi.VmomiSupport import ManagedObject as Reference

from vmops.lab.inventory.argument_faults import entity_name, invalid_argument
from vmops.lab.inventory.container import Container
from vmops.lab.inventory.managed_entity import ManagedEntity
from vmops.lab.kernel.task import TaskRun, start_task
from vmops.lab.machine.machine import Machine
from vmops.lab.objects.virtual_machine_create import create_virtual_machine
from vmops.lab.objects.virtual_machine_register import Registration, register
from vmops.lab.operations.destroy import destroy

VM_CHILDREN = (vim.Folder, vim.VirtualMachine, vim.VirtualApp)
HOST_CHILDREN = (vim.Folder, vim.ComputeResource)
DATASTORE_CHILDREN = (vim.Folder, vim.Datastore, vim.StoragePod)
NETWORK_CHILDREN = (vim.Folder, vim.Network, vim.DistributedVirtualSwitch)
ROOT_CHILDREN = (vim.Folder, vim.Datacenter)


class Folder(Container):
    """A folder of the inventory."""

    wire_type = vim.Folder

    def CreateFolder(self, name: str) -> Reference:
        """Create a folder of the same kind below this one."""
        if not self.holds(vim.Folder):
            raise vmodl.fault.NotSupported()
        stored = entity_name(name)
        self.check_child_name(stored)
        folder = Folder(
            self.kernel,
            self.kernel.new_moid("group-v"),
            name=stored,
            parent=self.ref,
            child_type=self.properties["childType"],
        )
        self.kernel.add(folder)
        self.add_child(folder)
        return folder.ref

    def CreateVM_Task(
        self, config: vim.vm.ConfigSpec, pool: Reference, host: Reference | None = None
    ) -> vim.Task:
        """Create a virtual machine here; see `virtual_machine_create`."""

        async def run(run: TaskRun) -> object:
            vm = await create_virtual_machine(
                self.kernel, self, config, pool, host, on_created=lambda _: run.progress(90)
            )
            return vm.ref

        return start_task(self, "Folder.createVm", run, cancelable=False)

    def RegisterVM_Task(
        self,
        path: str,
        name: str | None = None,
        asTemplate: bool = False,
        pool: Reference | None = None,
        host: Reference | None = None,
    ) -> vim.Task:
        """Add the virtual machine of a .vmx file; see `virtual_machine_register`."""
        wanted = Registration(
            path=path, name=name, as_template=bool(asTemplate), pool=pool, host=host
        )

        async def run(_: TaskRun) -> object:
            vm = await register(self.kernel, self, wanted)
            return vm.ref

        return start_task(self, "Folder.registerVm", run, cancelable=False)

    def MoveIntoFolder_Task(self, list: Sequence[Reference]) -> vim.Task:  # noqa: A002 - the wire's name
        """Move entities of this folder's kind into it, all or none.

        Raises (in the task):
            vim.fault.InvalidFolder: an entity would come to lie below itself.
            vim.fault.DuplicateName: a name is taken here.
        """

        async def run(_: TaskRun) -> None:
            moved = [self.kernel.registry.find(ref, ManagedEntity) for ref in list]
            for entity in moved:
                self._check_move(entity)
            for entity in moved:
                source = entity.parent
                if isinstance(source, Container):
                    source.remove_child(entity)
                self.kernel.update(entity, {"parent": self.ref})
                self.add_child(entity)

        return start_task(self, "Folder.moveInto", run, cancelable=False)

    def _check_move(self, entity: ManagedEntity) -> None:
        if not self.holds(entity.wire_type) or not isinstance(entity.parent, Container):
            raise invalid_argument("list", "This folder cannot hold the entity.")
        if isinstance(entity, Folder) and (
            entity.is_part_of_datacenter
            or entity.properties["childType"] != self.properties["childType"]
        ):
            raise invalid_argument("list", "This folder cannot hold the entity.")
        above: ManagedEntity | None = self
        while above is not None:
            if above is entity:
                raise vim.fault.InvalidFolder(
                    target=self.ref, msg="A folder cannot be moved into itself."
                )
            above = above.parent
        if entity.parent is not self:
            self.check_child_name(entity.name)

    def Destroy_Task(self) -> vim.Task:
        """Destroy the folder and all that is in it, virtual machines with their files.

        Raises (in the task):
            vmodl.fault.NotSupported: the folder is part of its datacenter.
            vim.fault.InvalidState: a virtual machine below is not powered off.
        """

        async def run(_: TaskRun) -> None:
            if self.is_part_of_datacenter:
                raise vmodl.fault.NotSupported(msg="This folder belongs to its datacenter.")
            _check_all_off(self)
            await _destroy(self)

        return start_task(self, "Folder.destroy", run, cancelable=False)


def _check_all_off(folder: Folder) -> None:
    for child in folder.children():
        if isinstance(child, Folder):
            _check_all_off(child)
        elif not isinstance(child, Machine):
            raise vmodl.fault.NotSupported(msg=f"'{child.name}' cannot be destroyed.")
        elif child.power_state != "poweredOff":
            raise vim.fault.InvalidState(msg=f"'{child.name}' is not powered off.")


async def _destroy(folder: Folder) -> None:
    for child in folder.children():
        if isinstance(child, Folder):
            await _destroy(child)
        elif isinstance(child, Machine):
            await destroy(child)
    above = folder.parent
    if isinstance(above, Container):
        above.remove_child(folder)
    folder.kernel.remove(folder)
