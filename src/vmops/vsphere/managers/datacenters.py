"""Which datacenter a datastore path is meant in."""

from __future__ import annotations

from vmops.model.datastore_path import DatastorePath
from vmops.vsphere.live.inventory import Inventory
from vmops.vsphere.live.records import DatacenterInfo
from vmops.vsphere.wire.moref import Moref


class Datacenters:
    """Names of datastores are unique only within a datacenter; ``only`` is its moid, "" for any."""

    def __init__(self, inventory: Inventory, only: str = "") -> None:
        self.inventory = inventory
        self._only = only

    def info(self, path: DatastorePath) -> DatacenterInfo:
        """The datacenter of the path's datastore.

        Raises:
            DatastoreNotFound: there is no such datastore.
            InvalidArgument: several datacenters have one.
        """
        datastore = self.inventory.datastore(path.datastore, self._only)
        return self.inventory.datacenter_of(datastore.moid)

    def moref(self, path: DatastorePath) -> Moref:
        """The reference to that datacenter."""
        return self.info(path).moref
