"""First class disks: virtual disks with an id of their own, which no virtual machine needs to hold.

A vCenter and an ESXi both have a manager of them; an ESXi's methods have names of their own.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass

from pyVmomi import vim

from vmops.errors import NotFound, NotSupported
from vmops.units import MIB
from vmops.vsphere.live.records import DatastoreInfo
from vmops.vsphere.session import Session
from vmops.vsphere.wire.moref import Moref

_vslm = vim.vslm


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstClassDisk:
    """One of them; ``path`` is where its descriptor is.

    ``consumers`` are the instance UUIDs of the virtual machines that have it.
    """

    id: str
    name: str
    capacity_bytes: int
    path: str
    consumers: tuple[str, ...] = ()


class FirstClassDisks:
    """The manager of a session's endpoint. Each method is one call; see `is_there` first."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._manager = getattr(session.content, "vStorageObjectManager", None)

    @property
    def is_there(self) -> bool:
        """Whether the endpoint has such disks: vSphere 6.5 and later."""
        return self._manager is not None

    @property
    def takes_ids(self) -> bool:
        """Whether the caller chooses a new disk's id: vSphere 9.1 and later."""
        return self._session.endpoint.speaks(9, 1)

    def create(
        self,
        disk_id: str,
        name: str,
        datastore: Moref,
        capacity_bytes: int,
        *,
        profile_id: str = "",
    ) -> FirstClassDisk:
        """Create a thin disk, which stays when a virtual machine that has it is deleted.

        ``disk_id`` is its id where the server `takes_ids`. The capacity is rounded up to whole MiB.

        Raises:
            NoDiskSpace: the datastore is full.
        """
        spec = _vslm.CreateSpec(
            id=_vslm.ID(id=disk_id),
            name=name,
            keepAfterDeleteVm=True,
            capacityInMB=-(-capacity_bytes // MIB),
            backingSpec=_vslm.CreateSpec.DiskFileBackingSpec(
                datastore=datastore, provisioningType="thin"
            ),
        )
        if profile_id:
            spec.profile = [vim.vm.DefinedProfileSpec(profileId=profile_id)]
        method = self._method("CreateDisk_Task")
        return _disk(self._session.run_task(self._there, method, spec=spec))

    def ids(self, datastore: Moref) -> tuple[str, ...]:
        """The ids of a datastore's disks."""
        method = self._method("ListVStorageObject")
        found = self._session.call(self._there, method, datastore=datastore)
        return tuple(str(each.id) for each in found or ())

    def get(self, disk_id: str, datastore: Moref) -> FirstClassDisk:
        """One disk.

        Raises:
            NotFound: the datastore has none of this id.
        """
        method = self._method("RetrieveVStorageObject")
        named = {"id": _vslm.ID(id=disk_id), "datastore": datastore}
        return _disk(self._session.call(self._there, method, **named))

    def datastore_of(
        self, disk_id: str, datastores: Iterable[DatastoreInfo]
    ) -> DatastoreInfo | None:
        """The first of the datastores that has the disk; a call for each that is asked."""
        for datastore in datastores:
            with contextlib.suppress(NotFound):
                self.get(disk_id, datastore.moref)
                return datastore
        return None

    def delete(self, disk_id: str, datastore: Moref) -> None:
        """Delete a disk.

        Raises:
            NotFound: the datastore has none of this id.
            Conflict: a virtual machine has it.
        """
        method = self._method("DeleteVStorageObject_Task")
        self._session.run_task(self._there, method, id=_vslm.ID(id=disk_id), datastore=datastore)

    @property
    def _there(self) -> Moref:
        if self._manager is None:
            raise NotSupported("The endpoint has no first class disks: vSphere has them since 6.5.")
        manager: Moref = self._manager
        return manager

    def _method(self, name: str) -> str:
        is_host = isinstance(self._there, _vslm.host.VStorageObjectManager)
        return f"Host{name}" if is_host else name


def _disk(found: vim.vslm.VStorageObject) -> FirstClassDisk:
    config = found.config
    return FirstClassDisk(
        id=str(config.id.id),
        name=str(config.name),
        capacity_bytes=int(config.capacityInMB) * MIB,
        path=str(getattr(config.backing, "filePath", "") or ""),
        consumers=tuple(str(each.id) for each in config.consumerId or ()),
    )
