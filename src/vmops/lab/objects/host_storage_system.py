"""A host's storage adapters: it has none. iSCSI and all else that needs one is NotSupported."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from pyVmomi import vim

from vmops.lab.kernel.managed_object import ManagedObject

if TYPE_CHECKING:
    from vmops.lab.kernel.kernel import Kernel
    from vmops.lab.objects.datastore import Datastore


class HostStorageSystem(ManagedObject):
    """The storage of one host: datastores that are always there."""

    wire_type = vim.host.StorageSystem

    def __init__(self, kernel: Kernel, moid: str) -> None:
        super().__init__(kernel, moid)
        self.properties.update(
            storageDeviceInfo=vim.host.StorageDeviceInfo(
                hostBusAdapter=[], scsiLun=[], softwareInternetScsiEnabled=False
            ),
            systemFile=[],
        )

    def RescanAllHba(self) -> None:
        """Look for new devices: there are no adapters that could have some."""

    async def RescanVmfs(self) -> None:
        """Look for datastores that are gone or there again; there are no new ones."""
        for datastore in self.kernel.registry.of_wire_type(vim.Datastore):
            await cast("Datastore", datastore).RefreshDatastore()

    async def RefreshStorageSystem(self) -> None:
        """Look at the datastores again."""
        await self.RescanVmfs()
