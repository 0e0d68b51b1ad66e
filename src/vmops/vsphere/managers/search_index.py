"""Finding a virtual machine by what identifies it."""

from __future__ import annotations

from vmops.errors import NotSupported
from vmops.model.datastore_path import DatastorePath
from vmops.model.entity_name import escaped
from vmops.vsphere.wire.client import Client
from vmops.vsphere.wire.moref import Moref


class SearchIndex:
    """The server's index; each question is one call."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def virtual_machines(self, instance_uuid: str) -> tuple[Moref, ...]:
        """All virtual machines with this instance UUID; it is unique in one vCenter."""
        index = self._client.content.searchIndex
        # vCenter compares without regard to case, vcsim does not; both write lower case.
        asked = {"uuid": instance_uuid.lower(), "vmSearch": True, "instanceUuid": True}
        try:
            found = self._client.call(index, "FindAllByUuid", **asked)
        except NotSupported:
            one = self._client.call(index, "FindByUuid", **asked)
            found = [] if one is None else [one]
        return tuple(found or ())

    def by_bios_uuid(self, uuid: str) -> tuple[Moref, ...]:
        """All virtual machines with this BIOS UUID, which a copy shares with its original."""
        index = self._client.content.searchIndex
        asked = {"uuid": uuid.lower(), "vmSearch": True, "instanceUuid": False}
        return tuple(self._client.call(index, "FindAllByUuid", **asked) or ())

    def by_file(self, datacenter: Moref, file: DatastorePath) -> Moref | None:
        """The virtual machine of a .vmx file, in the datacenter of its datastore."""
        index = self._client.content.searchIndex
        found: Moref | None = self._client.call(
            index, "FindByDatastorePath", datacenter=datacenter, path=str(file)
        )
        return found

    def child(self, parent: Moref, name: str) -> Moref | None:
        """The child of this name of a folder or another entity; one call."""
        index = self._client.content.searchIndex
        found: Moref | None = self._client.call(
            index, "FindChild", entity=parent, name=escaped(name)
        )
        return found
