"""Resource pools."""

from __future__ import annotations

from collections.abc import Sequence

from pyVmomi import vim, vmodl
from pyVmomi.VmomiSupport import ManagedObject as Reference

from vmops.lab.inventory import host_hardware
from vmops.lab.inventory.argument_faults import entity_name, invalid_argument
from vmops.lab.inventory.managed_entity import ManagedEntity
from vmops.lab.inventory.references import link, unlink
from vmops.lab.inventory.wire_defaults import filled
from vmops.lab.kernel.kernel import Kernel
from vmops.lab.kernel.task import TaskRun, start_task
from vmops.lab.machine.allocations import unlimited
from vmops.lab.objects.import_vapp import import_vapp


class ResourcePool(ManagedEntity):
    """A resource pool; the root pool's parent is the compute resource itself."""

    wire_type = vim.ResourcePool

    def __init__(
        self,
        kernel: Kernel,
        moid: str,
        *,
        name: str,
        parent: Reference,
        owner: Reference,
        config: vim.ResourceConfigSpec | None = None,
    ) -> None:
        super().__init__(kernel, moid, name=name, parent=parent)
        self.properties.update(
            owner=owner,
            config=_pool_config(self.ref, config),
            runtime=_runtime(),
            resourcePool=[],
            vm=[],
            childConfiguration=[],
        )
        self.computed["summary"] = self._summary

    @property
    def is_root(self) -> bool:
        """Whether this is the pool of all of its compute resource."""
        return not isinstance(self.parent, ResourcePool)

    def children(self) -> list[ManagedEntity]:
        """List the pools below."""
        find = self.kernel.registry.find
        return [find(ref, ManagedEntity) for ref in self.properties["resourcePool"]]

    def _summary(self) -> vim.ResourcePool.Summary:
        return vim.ResourcePool.Summary(
            name=self.name,
            config=self.properties["config"],
            runtime=self.properties["runtime"],
            configuredMemoryMB=0,
        )

    def CreateResourcePool(self, name: str, spec: vim.ResourceConfigSpec) -> Reference:
        """Create a pool below this one.

        Raises:
            vim.fault.DuplicateName, vim.fault.InvalidName: as for every entity.
        """
        stored = entity_name(name)
        self.check_child_name(stored)
        pool = ResourcePool(
            self.kernel,
            self.kernel.new_moid("resgroup"),
            name=stored,
            parent=self.ref,
            owner=self.properties["owner"],
            config=spec,
        )
        self.kernel.add(pool)
        link(self.kernel, self, "resourcePool", pool.ref)
        return pool.ref

    def UpdateConfig(
        self, name: str | None = None, config: vim.ResourceConfigSpec | None = None
    ) -> None:
        """Change the pool's name, its allocations, or both."""
        if self.is_root:
            raise vmodl.fault.NotSupported(msg="The root resource pool cannot be changed.")
        if name is not None and name != self.name:
            self.rename(name)
        if config is not None:
            self.kernel.update(self, {"config": _pool_config(self.ref, config)})
        self.kernel.touch(self, "summary")

    def MoveIntoResourcePool(self, list: Sequence[Reference]) -> None:  # noqa: A002 - the wire's name
        """Move virtual machines and pools of the same compute resource into this pool.

        Raises:
            vmodl.fault.InvalidArgument: something cannot be moved here; nothing was.
            vim.fault.DuplicateName: a pool of that name is here; nothing was moved.
        """
        moved = [self.kernel.registry.find(ref, ManagedEntity) for ref in list]
        for entity in moved:
            self._check_move(entity)
        for entity in moved:
            if isinstance(entity, ResourcePool):
                source = entity.parent
                if source is not None:
                    unlink(self.kernel, source, "resourcePool", entity.ref)
                self.kernel.update(entity, {"parent": self.ref})
                link(self.kernel, self, "resourcePool", entity.ref)
                continue
            old = self.kernel.registry.find(entity.properties["resourcePool"], ResourcePool)
            unlink(self.kernel, old, "vm", entity.ref)
            self.kernel.update(entity, {"resourcePool": self.ref})
            link(self.kernel, self, "vm", entity.ref)

    def _check_move(self, entity: ManagedEntity) -> None:
        if isinstance(entity, ResourcePool):
            above: ManagedEntity | None = self
            while above is not None and above is not entity:
                above = above.parent
            if entity.is_root or above is entity:
                raise invalid_argument("list", "The pool cannot be moved here.")
            if entity.parent is not self:
                self.check_child_name(entity.name)
        pool = entity if isinstance(entity, ResourcePool) else None
        held = entity.properties.get("resourcePool")
        if pool is None and isinstance(held, vim.ResourcePool):
            pool = self.kernel.registry.find(held, ResourcePool)
        if pool is None or pool.properties["owner"] != self.properties["owner"]:
            raise invalid_argument("list", "It belongs to another compute resource.")

    def Destroy_Task(self) -> vim.Task:
        """Destroy the pool; what is in it moves to the pool above.

        Raises (in the task):
            vmodl.fault.NotSupported: it is a root pool.
        """

        async def run(_: TaskRun) -> None:
            self.destroy()

        return start_task(self, "ResourcePool.destroy", run)

    def destroy(self) -> None:
        """See `Destroy_Task`."""
        above = self.parent
        if not isinstance(above, ResourcePool):
            raise vmodl.fault.NotSupported(msg="The root resource pool cannot be destroyed.")
        above.MoveIntoResourcePool([*self.properties["vm"], *self.properties["resourcePool"]])
        unlink(self.kernel, above, "resourcePool", self.ref)
        self.kernel.remove(self)

    def DestroyChildren(self) -> None:
        """Destroy all pools below; their machines move to this pool."""
        for child in self.children():
            if isinstance(child, ResourcePool):
                child.DestroyChildren()
                child.destroy()

    def ImportVApp(
        self, spec: vim.ImportSpec, folder: Reference | None = None, host: Reference | None = None
    ) -> Reference:
        """Create a virtual machine whose disks the client then uploads; see `import_vapp`."""
        return import_vapp(self.kernel, self, spec, folder, host)

    def RefreshRuntime(self) -> None:
        """Recompute the runtime: it is never stale."""


def _pool_config(ref: Reference, spec: vim.ResourceConfigSpec | None) -> vim.ResourceConfigSpec:
    config = vim.ResourceConfigSpec(
        entity=ref,
        changeVersion="",
        cpuAllocation=unlimited("normal", 4000),
        memoryAllocation=unlimited("normal", 163840),
    )
    if spec is not None:
        for name in ("cpuAllocation", "memoryAllocation"):
            given = getattr(spec, name)
            if given is not None:
                setattr(config, name, given)
    return config


def _runtime() -> vim.ResourcePool.RuntimeInfo:
    machine = host_hardware.this_machine()
    memory = machine.memory_bytes
    cpu = machine.mhz * machine.threads
    return vim.ResourcePool.RuntimeInfo(
        memory=filled(
            vim.ResourcePool.ResourceUsage,
            unreservedForPool=memory,
            unreservedForVm=memory,
            maxUsage=memory,
        ),
        cpu=filled(
            vim.ResourcePool.ResourceUsage, unreservedForPool=cpu, unreservedForVm=cpu, maxUsage=cpu
        ),
        overallStatus=vim.ManagedEntity.Status.green,
    )
