"""A datacenter with its four folders."""

from __future__ import annotations

from pyVmomi import vim
from pyVmomi.VmomiSupport import ManagedObject as Reference

from vmops.lab.inventory.managed_entity import ManagedEntity
from vmops.lab.kernel.kernel import Kernel
from vmops.lab.objects.folder import (
    DATASTORE_CHILDREN,
    HOST_CHILDREN,
    NETWORK_CHILDREN,
    VM_CHILDREN,
    Folder,
)


class Datacenter(ManagedEntity):
    """A datacenter; ``folder_moids`` are those of its vm, host, datastore and network folders."""

    wire_type = vim.Datacenter

    def __init__(
        self,
        kernel: Kernel,
        moid: str,
        *,
        name: str,
        parent: Reference,
        folder_moids: tuple[str, ...],
    ) -> None:
        super().__init__(kernel, moid, name=name, parent=parent)
        vm, host, datastore, network = folder_moids
        self.vm_folder = Folder(kernel, vm, name="vm", parent=self.ref, child_type=VM_CHILDREN)
        self.host_folder = Folder(
            kernel, host, name="host", parent=self.ref, child_type=HOST_CHILDREN
        )
        self.datastore_folder = Folder(
            kernel, datastore, name="datastore", parent=self.ref, child_type=DATASTORE_CHILDREN
        )
        self.network_folder = Folder(
            kernel, network, name="network", parent=self.ref, child_type=NETWORK_CHILDREN
        )
        self.properties.update(
            vmFolder=self.vm_folder.ref,
            hostFolder=self.host_folder.ref,
            datastoreFolder=self.datastore_folder.ref,
            networkFolder=self.network_folder.ref,
            datastore=[],
            network=[],
            configuration=vim.Datacenter.ConfigInfo(),
        )

    def children(self) -> list[ManagedEntity]:
        """List the four folders."""
        return [self.vm_folder, self.host_folder, self.datastore_folder, self.network_folder]
