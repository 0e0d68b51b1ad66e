"""A host's storage adapters: it has none, so there is no iSCSI, which it says when asked."""

from __future__ import annotations

from collections.abc import Sequence

from pyVmomi import vim, vmodl

from vmops.lab.inventory.managed_entity import ManagedEntity
from vmops.lab.kernel.kernel import Kernel, ManagedObject


class HostStorageSystem(ManagedObject):
    """The storage of one host: datastores that are always there."""

    wire_type = vim.host.StorageSystem

    def __init__(self, kernel: Kernel, moid: str) -> None:
        super().__init__(kernel, moid)
        self.properties.update(
            storageDeviceInfo=vim.host.StorageDeviceInfo(
                hostBusAdapter=[],
                scsiLun=[],
                scsiTopology=vim.host.ScsiTopology(adapter=[]),
                softwareInternetScsiEnabled=False,
            ),
            systemFile=[],
        )

    def RescanAllHba(self) -> None:
        """Look for new devices: there are no adapters that could have some."""

    def RescanHba(self, hbaDevice: str) -> None:
        """Raise vim.fault.NotFound: there is no adapter of any name."""
        raise vim.fault.NotFound(msg=f"The host has no storage adapter '{hbaDevice}'.")

    def UpdateSoftwareInternetScsiEnabled(self, enabled: bool) -> None:
        """Leave software iSCSI off.

        Raises:
            vmodl.fault.NotSupported: it is to be on.
        """
        if enabled:
            raise _no_iscsi()

    def AddInternetScsiSendTargets(
        self, iScsiHbaDevice: str, targets: Sequence[vim.host.InternetScsiHba.SendTarget]
    ) -> None:
        """Raise vmodl.fault.NotSupported: the lab's hosts reach no iSCSI targets."""
        raise _no_iscsi()

    def AddInternetScsiStaticTargets(
        self, iScsiHbaDevice: str, targets: Sequence[vim.host.InternetScsiHba.StaticTarget]
    ) -> None:
        """Raise vmodl.fault.NotSupported, as for send targets."""
        raise _no_iscsi()

    def RemoveInternetScsiSendTargets(
        self,
        iScsiHbaDevice: str,
        targets: Sequence[vim.host.InternetScsiHba.SendTarget],
        force: bool | None = None,
    ) -> None:
        """Raise vmodl.fault.NotSupported, as for adding them."""
        raise _no_iscsi()

    def RemoveInternetScsiStaticTargets(
        self, iScsiHbaDevice: str, targets: Sequence[vim.host.InternetScsiHba.StaticTarget]
    ) -> None:
        """Raise vmodl.fault.NotSupported, as for adding them."""
        raise _no_iscsi()

    def UpdateInternetScsiAuthenticationProperties(
        self,
        iScsiHbaDevice: str,
        authenticationProperties: vim.host.InternetScsiHba.AuthenticationProperties,
        targetSet: vim.host.InternetScsiHba.TargetSet | None = None,
    ) -> None:
        """Raise vmodl.fault.NotSupported: there is nobody to log in to."""
        raise _no_iscsi()

    async def RescanVmfs(self) -> None:
        """Look for datastores that are gone or there again; there are no new ones."""
        registry = self.kernel.registry
        refs = [each.ref for each in registry.of_wire_type(vim.Datastore)]
        for datastore in registry.present(refs, ManagedEntity):
            await datastore.look_again()

    async def RefreshStorageSystem(self) -> None:
        """Look at the datastores again."""
        await self.RescanVmfs()


def _no_iscsi() -> vmodl.fault.NotSupported:
    return vmodl.fault.NotSupported(
        msg="The lab's hosts have no iSCSI adapter; volumes are disks on its datastores."
    )
