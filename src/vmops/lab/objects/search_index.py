"""Finding entities by UUID, by path and by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from pyVmomi import vim
from pyVmomi.VmomiSupport import ManagedObject as Reference

from vmops.lab.inventory.container import Container, datacenter_of
from vmops.lab.inventory.host_system import HostSystem
from vmops.lab.inventory.managed_entity import ManagedEntity
from vmops.lab.kernel.kernel import ManagedObject
from vmops.lab.machine.config import normal_uuid
from vmops.lab.machine.machine import Machine
from vmops.lab.objects.datacenter import Datacenter

Obj = TypeVar("Obj", bound=ManagedEntity)


class SearchIndex(ManagedObject):
    """The search index; it always sees the inventory as it is now."""

    wire_type = vim.SearchIndex

    def FindAllByUuid(
        self,
        uuid: str,
        vmSearch: bool,
        datacenter: Reference | None = None,
        instanceUuid: bool | None = None,
    ) -> list[Reference]:
        """Find virtual machines by BIOS or instance UUID, or hosts by hardware UUID."""
        wanted = normal_uuid(uuid, "uuid")
        if not vmSearch:
            return self._all(HostSystem, datacenter, lambda host: host.uuid == wanted)
        if instanceUuid:
            return self._all(Machine, datacenter, lambda vm: vm.instance_uuid == wanted)
        return self._all(Machine, datacenter, lambda vm: vm.bios_uuid == wanted)

    def FindByUuid(
        self,
        uuid: str,
        vmSearch: bool,
        datacenter: Reference | None = None,
        instanceUuid: bool | None = None,
    ) -> Reference | None:
        """Find the first of `FindAllByUuid`."""
        return _first(self.FindAllByUuid(uuid, vmSearch, datacenter, instanceUuid))

    def FindByDatastorePath(self, datacenter: Reference | None, path: str) -> Reference | None:
        """Find the virtual machine of a .vmx file."""
        return _first(self._all(Machine, datacenter, lambda vm: vm.vmx_path == path))

    def FindByInventoryPath(self, inventoryPath: str) -> Reference | None:
        """Find the entity at a path from the root folder, ``DC0/vm/folder/name``."""
        entity: ManagedEntity | None = self._root()
        for name in inventoryPath.split("/"):
            if name and entity is not None:
                entity = _child(entity, name)
        return None if entity is None else entity.ref

    def FindChild(self, entity: Reference, name: str) -> Reference | None:
        """Find the entity of that name right below another."""
        child = _child(self.kernel.registry.find(entity, ManagedEntity), name)
        return None if child is None else child.ref

    def FindAllByIp(
        self, ip: str, vmSearch: bool, datacenter: Reference | None = None
    ) -> list[Reference]:
        """Find virtual machines by the address their tools report."""
        if not vmSearch:
            return []
        return self._all(Machine, datacenter, lambda vm: vm.guest_address("ipAddress") == ip)

    def FindByIp(
        self, ip: str, vmSearch: bool, datacenter: Reference | None = None
    ) -> Reference | None:
        """Find the first of `FindAllByIp`."""
        return _first(self.FindAllByIp(ip, vmSearch, datacenter))

    def FindAllByDnsName(
        self, dnsName: str, vmSearch: bool, datacenter: Reference | None = None
    ) -> list[Reference]:
        """Find virtual machines by the name their tools report, or hosts by theirs."""
        wanted = dnsName.casefold()
        if not vmSearch:
            return self._all(HostSystem, datacenter, lambda host: host.name.casefold() == wanted)
        return self._all(
            Machine,
            datacenter,
            lambda vm: (vm.guest_address("hostName") or "").casefold() == wanted,
        )

    def FindByDnsName(
        self, dnsName: str, vmSearch: bool, datacenter: Reference | None = None
    ) -> Reference | None:
        """Find the first of `FindAllByDnsName`."""
        return _first(self.FindAllByDnsName(dnsName, vmSearch, datacenter))

    def _root(self) -> Container:
        for folder in self.kernel.registry.all(Container):
            if folder.parent is None:
                return folder
        raise LookupError("the inventory has no root folder")

    def _all(
        self, cls: type[Obj], datacenter: Reference | None, fits: Callable[[Obj], bool]
    ) -> list[Reference]:
        inside = None
        if datacenter is not None:
            inside = self.kernel.registry.find(datacenter, Datacenter)
        return [
            found.ref
            for found in self.kernel.registry.all(cls)
            if fits(found) and (inside is None or datacenter_of(found) is inside)
        ]


def _first(refs: list[Reference]) -> Reference | None:
    return refs[0] if refs else None


def _child(entity: ManagedEntity, name: str) -> ManagedEntity | None:
    for child in entity.children():
        if child.name == name:
            return child
    return None
