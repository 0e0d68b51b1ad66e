"""What folders have in common: what they hold, and which names are taken in them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from pyVmomi import vim
from pyVmomi.VmomiSupport import ManagedObject as Reference

from vmops.lab.inventory.managed_entity import ManagedEntity
from vmops.lab.inventory.references import link, unlink
from vmops.lab.kernel.kernel import Kernel


class Container(ManagedEntity):
    """A folder without its methods; ``child_type`` says what it may hold."""

    wire_type = vim.Folder

    def __init__(
        self,
        kernel: Kernel,
        moid: str,
        *,
        name: str,
        parent: Reference | None,
        child_type: Sequence[type],
    ) -> None:
        super().__init__(kernel, moid, name=name, parent=parent)
        self.properties.update(childType=list(child_type), childEntity=[])
        self._reserved: set[str] = set()

    @property
    def is_part_of_datacenter(self) -> bool:
        """Whether this is one of the folders every datacenter has, or the root folder."""
        return not isinstance(self.parent, Container)

    def children(self) -> list[ManagedEntity]:
        """List the entities in this folder."""
        find = self.kernel.registry.find
        return [find(ref, ManagedEntity) for ref in self.properties["childEntity"]]

    def holds(self, wire_type: type) -> bool:
        """Say whether objects of this type may be in this folder."""
        return any(issubclass(wire_type, held) for held in self.properties["childType"])

    def add_child(self, child: ManagedEntity) -> None:
        """Show the entity in this folder."""
        link(self.kernel, self, "childEntity", child.ref)

    def remove_child(self, child: ManagedEntity) -> None:
        """Show the entity no longer."""
        unlink(self.kernel, self, "childEntity", child.ref)

    def check_child_name(self, name: str, but: ManagedEntity | None = None) -> None:
        """Raise vim.fault.DuplicateName also for names of entities still being created."""
        super().check_child_name(name, but)
        if name in self._reserved:
            raise vim.fault.DuplicateName(
                name=name, object=self.ref, msg=f"The name '{name}' already exists."
            )

    @contextmanager
    def reserved(self, name: str) -> Iterator[None]:
        """Keep a name for an entity while it is being created.

        Raises:
            vim.fault.DuplicateName: the name is taken.
        """
        self.check_child_name(name)
        self._reserved.add(name)
        try:
            yield
        finally:
            self._reserved.discard(name)


def datacenter_of(entity: ManagedEntity) -> ManagedEntity:
    """Return the datacenter an entity lies in.

    Raises:
        LookupError: it lies in none (the root folder, or a folder of datacenters).
    """
    above: ManagedEntity | None = entity
    while above is not None:
        if above.wire_type is vim.Datacenter:
            return above
        above = above.parent
    raise LookupError(entity.name)
