"""A resource pool, as the place where virtual machines are imported."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vmops.vsphere.objects.nfc_lease import NfcLease
from vmops.vsphere.session import Session
from vmops.vsphere.wire.moref import Moref

if TYPE_CHECKING:
    from pyVmomi import vim


class ResourcePool:
    """Imports virtual machines."""

    def __init__(self, session: Session, moref: Moref) -> None:
        self._session = session
        self.moref = moref

    def import_vapp(
        self, spec: vim.ImportSpec, folder: Moref, host: Moref | None = None
    ) -> NfcLease:
        """Begin to import what an ``ImportSpec`` describes; the lease takes the disks' bytes.

        Raises:
            DuplicateName: the folder has one of this name.
            NoDiskSpace: the datastore is full.
        """
        lease = self._session.call(self.moref, "ImportVApp", spec=spec, folder=folder, host=host)
        return NfcLease(self._session, lease)
