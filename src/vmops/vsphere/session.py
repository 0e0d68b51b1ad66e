"""A logged-in session and everything that can be done through it."""

from __future__ import annotations

from collections import Counter
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Self

from vmops.model.datastore_path import DatastorePath
from vmops.vsphere.endpoint import Endpoint
from vmops.vsphere.live.inventory import Inventory
from vmops.vsphere.live.properties import Properties
from vmops.vsphere.live.stream import Stream
from vmops.vsphere.live.tasks import Tasks
from vmops.vsphere.live.watch_list import WatchList
from vmops.vsphere.managers.datacenters import Datacenters
from vmops.vsphere.managers.datastore_browser import DatastoreBrowser, FileEntry
from vmops.vsphere.managers.datastore_files import DatastoreFiles
from vmops.vsphere.managers.file_manager import FileManager
from vmops.vsphere.managers.performance import Performance
from vmops.vsphere.managers.search_index import SearchIndex
from vmops.vsphere.managers.storage_policies import StoragePolicies
from vmops.vsphere.managers.virtual_disk_manager import VirtualDiskManager
from vmops.vsphere.wire.address import ServerAddress
from vmops.vsphere.wire.client import Client
from vmops.vsphere.wire.coherence import OwnWrites
from vmops.vsphere.wire.http_access import HttpAccess
from vmops.vsphere.wire.limits import Limits
from vmops.vsphere.wire.moref import Moref
from vmops.vsphere.wire.pool import ConnectionPool
from vmops.vsphere.wire.secret import Secret
from vmops.vsphere.wire.trust import Trust

if TYPE_CHECKING:
    pass


class Session:
    """One login at a vCenter or an ESXi, for any number of threads. `vmops.connect` makes it.

    Close it when done: servers allow a limited number of sessions.
    """

    is_planning: ClassVar[bool] = False
    """Whether it changes nothing."""
    # What a session that only plans has others of; see `vmops.vsphere.planning.session`.
    client_kind: ClassVar[type[Client]] = Client
    properties_kind: ClassVar[type[Properties]] = Properties
    inventory_kind: ClassVar[type[Inventory]] = Inventory
    watch_list_kind: ClassVar[type[WatchList]] = WatchList
    tasks_kind: ClassVar[type[Tasks]] = Tasks
    http_kind: ClassVar[type[HttpAccess]] = HttpAccess

    def __init__(self, client: Client, address: ServerAddress) -> None:
        self.client = client
        # What a caller found instances to be called, by their UUIDs: for messages, where the
        # inventory does not know it.
        self.names_told: dict[str, str] = {}
        self.stream = Stream(client)
        self.properties = self.properties_kind(client)
        self.inventory = self.inventory_kind(self.stream)
        self.watch_list = self.watch_list_kind(client, self.stream, self.properties)
        # From the stream's start, because whoever joins later makes it load everything anew.
        self.stream.include(self.watch_list)
        self.tasks = self.tasks_kind(client, self.watch_list)
        self.search_index = SearchIndex(client)
        self.storage_policies = StoragePolicies(client)
        self.performance = Performance(client, self.properties)
        self.http = self.http_kind(client)
        datacenters = Datacenters(self.inventory)
        self.file_manager = FileManager(self.tasks, datacenters)
        self.virtual_disk_manager = VirtualDiskManager(self.tasks, datacenters)
        self.datastore_files = DatastoreFiles(self.http, datacenters)
        about = client.content.about
        self.endpoint = Endpoint(
            url=address.url,
            host=address.host,
            port=address.port,
            api_type=about.apiType or "",
            api_version=about.apiVersion or "",
            product_name=about.fullName or about.name or "",
            instance_uuid=about.instanceUuid or "",
        )

    @classmethod
    def open(
        cls,
        address: ServerAddress,
        trust: Trust,
        username: str,
        password: Secret,
        *,
        limits: Limits,
    ) -> Self:
        """Connect and log in; see `vmops.connect`."""
        pool = ConnectionPool(address, trust, limits)
        client = cls.client_kind(pool, address.path, username, password)
        try:
            client.open()
            return cls(client, address)
        except BaseException:
            client.close()
            raise

    def __repr__(self) -> str:
        return f"<Session at {self.endpoint.url} as {self.client.username}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def is_vcenter(self) -> bool:
        """Whether the endpoint is a vCenter; else it is a single ESXi."""
        return self.endpoint.is_vcenter

    @property
    def content(self) -> Any:
        """The server's ServiceContent: references to its singletons."""
        return self.client.content

    @property
    def own_writes(self) -> OwnWrites:
        """Which virtual machines the live inventory may lag behind this session in."""
        return self.client.own_writes

    @property
    def counts(self) -> Counter[str]:
        """How many calls of each method were sent so far."""
        return Counter(self.client.counts)

    def call(self, moref: Moref, method: str, /, **arguments: object) -> Any:
        """Call a method by its name on the wire; see `Client.call`."""
        return self.client.call(moref, method, **arguments)

    def run_task(self, moref: Moref, method: str, /, **arguments: object) -> Any:
        """Call a method that starts a task, and return the task's result; see `Tasks.run`."""
        return self.tasks.run(moref, method, **arguments)

    def browse(self, folder: DatastorePath, pattern: str = "*") -> tuple[FileEntry, ...]:
        """The entries of a folder on a datastore; see `DatastoreBrowser.search`.

        Raises:
            DatastoreNotFound: there is no such datastore.
            FileNotFound: there is no such folder.
        """
        datastore = self.inventory.datastore(folder.datastore)
        return DatastoreBrowser(self, datastore.moref).search(folder, pattern)

    def browse_below(
        self, folder: DatastorePath, pattern: str
    ) -> dict[DatastorePath, tuple[FileEntry, ...]]:
        """The same in all folders below one; see `DatastoreBrowser.search_below`."""
        datastore = self.inventory.datastore(folder.datastore)
        return DatastoreBrowser(self, datastore.moref).search_below(folder, pattern)

    def close(self) -> None:
        """Log out and end everything that runs for the session. Never raises."""
        self.stream.close()
        self.client.close()
        self.stream.join()
