"""The parts of a session that let reads through, and what is planned show in their answers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from pyVmomi import VmomiSupport, vim

from vmops.errors import FileNotFound, ManagedObjectNotFound
from vmops.model.datastore_path import DatastorePath
from vmops.vsphere.live.inventory import Inventory
from vmops.vsphere.live.kinds import BUILDERS, KINDS
from vmops.vsphere.live.properties import Properties, Selection, Values
from vmops.vsphere.live.records import VmInfo
from vmops.vsphere.live.stream import STREAM_METHODS
from vmops.vsphere.live.tasks import Tasks
from vmops.vsphere.live.watch_list import Watched, WatchList
from vmops.vsphere.planning.world import World
from vmops.vsphere.wire.client import Client, ordered_arguments
from vmops.vsphere.wire.coherence import is_read
from vmops.vsphere.wire.moref import Moref, describe, moid
from vmops.vsphere.wire.stub import wire_method

if TYPE_CHECKING:
    from pyVmomi.VmomiSupport import MethodInfo

SEARCH = "SearchDatastore_Task"
# Nothing else than these, the reads and what a session makes for its own stream
# is ever sent. The search leaves no trace but its line in the list of recent tasks.
READS = frozenset(
    {
        SEARCH,
        "SearchDatastoreSubFolders_Task",
        "ContinueRetrievePropertiesEx",
        "CancelRetrievePropertiesEx",
    }
)
_VM_PATHS = next(k.paths + k.optional for k in KINDS if k.wire_type == "VirtualMachine")


def is_sent(method: str) -> bool:
    """Whether a planning session sends such calls; a method that nobody knows is a change."""
    if method in READS or method in STREAM_METHODS:
        return True
    return is_read(method) and not method.endswith("_Task")


class Planner(Protocol):
    """What becomes of the calls that are not sent."""

    def plan(self, moref: Moref, info: MethodInfo, arguments: dict[str, object]) -> Any:
        """Record a call and give what the server would: a placeholder where that is an object."""

    def is_empty(self, folder: DatastorePath) -> bool:
        """Whether nothing would be left in a folder whose virtual machine is destroyed."""


class PlanningClient(Client):
    """Sends reads only; all else goes to the planner."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.world = World()
        self.planner: Planner | None = None

    def call_within(
        self, moref: Moref, method: str, timeout_s: float | None, /, **arguments: object
    ) -> Any:
        """See `Client.call_within`."""
        world = self.world
        info = wire_method(type(moref), method)
        if not is_sent(method):
            ordered_arguments(info, arguments)
            return planner_of(self).plan(moref, info, arguments)
        if world.is_gone(moref):
            raise ManagedObjectNotFound(describe(moref))
        of_the_plan = (moref, *arguments.values())
        if any(
            isinstance(one, VmomiSupport.ManagedObject) and world.is_planned(one)
            for one in of_the_plan
        ):
            return [] if issubclass(info.result, list) else None
        found = super().call_within(moref, method, timeout_s, **arguments)
        return _seen(world, method, arguments, found)


def world_of(client: Client) -> World:
    """The world of a planning session's client."""
    assert isinstance(client, PlanningClient)  # noqa: S101 - tells the type checker
    return client.world


def planner_of(client: Client) -> Planner:
    """What takes the calls of a planning session that are not sent."""
    assert isinstance(client, PlanningClient)  # noqa: S101 - tells the type checker
    assert client.planner is not None  # noqa: S101 - set before anybody has the session
    return client.planner


def _seen(world: World, method: str, arguments: dict[str, object], found: Any) -> Any:
    """What a search gives without what is gone, and with what is planned."""
    if method == "FindAllByUuid":
        wanted = str(arguments.get("uuid")).lower()
        made = [
            each
            for each in world.planned("VirtualMachine")
            if str(world.values(moid(each)).get("config.instanceUuid")).lower() == wanted
        ]
        return [*(each for each in found or () if not world.is_gone(each)), *made]
    if method == "FindExtension":
        return found or world.extensions.get(str(arguments.get("extensionKey")))
    if method.startswith("Find") and found is not None and not isinstance(found, list):
        return None if world.is_gone(found) else found
    return found


class PlanningProperties(Properties):
    """Properties as they would be."""

    @property
    def _world(self) -> World:
        return world_of(self._client)

    def read(self, morefs: Iterable[Moref], kind: str, paths: Sequence[str]) -> dict[str, Values]:
        """See `Properties.read`."""
        there = [each for each in morefs if not self._world.is_gone(each)]
        found = super().read([m for m in there if not self._world.is_planned(m)], kind, paths)
        return {
            name: self._world.laid_over(name, paths, found.get(name, {}))
            for name in map(moid, there)
            if name in found or self._world.is_changed(name)
        }

    def read_one(self, moref: Moref, *paths: str) -> Values:
        """See `Properties.read_one`."""
        if self._world.is_gone(moref):
            raise ManagedObjectNotFound(describe(moref))
        found = {} if self._world.is_planned(moref) else super().read_one(moref, *paths)
        return self._world.laid_over(moid(moref), paths, found)

    def read_container(
        self, kind: str, paths: Sequence[str], root: Moref | None = None
    ) -> dict[str, Values]:
        """See `Properties.read_container`."""
        found = super().read_container(kind, paths, root)
        made = {moid(each): {"": each} for each in self._world.planned(kind)}
        return {
            name: self._world.laid_over(name, paths, values)
            for name, values in {**found, **made}.items()
            if not self._world.is_gone(values[""])
        }

    def read_selections(self, *selections: Selection) -> dict[str, Values]:
        """See `Properties.read_selections`."""
        found: dict[str, Values] = {}
        asked: list[Selection] = []
        for one in selections:
            objects = []
            for each in one.objects:
                if self._world.is_gone(each.obj):
                    raise ManagedObjectNotFound(describe(each.obj))
                if not self._world.is_planned(each.obj):
                    objects.append(each)
                elif not each.skip:
                    found.setdefault(moid(each.obj), {})
            if objects:
                asked.append(Selection(objects, one.kind, one.paths))
        if asked:
            found.update(super().read_selections(*asked))
        paths = [path for one in selections for path in one.paths]
        kinds = {one.kind for one in selections}
        return {
            name: self._world.laid_over(name, paths, values)
            for name, values in found.items()
            if not any(self._world.is_gone_by(kind, name) for kind in kinds)
        }


class PlanningInventory(Inventory):
    """The live inventory as it would be."""

    world: World

    @property
    def is_loaded(self) -> bool:
        """See `Inventory.is_loaded`; a plan is made with all that can be known beforehand."""
        self.wait_fresh()
        return True

    def values_of(self, name: str) -> Values:
        """See `Inventory.values_of`."""
        paths = {*_VM_PATHS, *self.world.values(name)}
        return self.world.laid_over(name, paths, super().values_of(name))

    def vm(self, name: str) -> VmInfo | None:
        """See `Inventory.vm`."""
        return next((each for each in self.virtual_machines() if each.moid == name), None)

    def vm_by_uuid(self, instance_uuid: str) -> VmInfo | None:
        """See `Inventory.vm_by_uuid`."""
        wanted = instance_uuid.lower()
        found = (each for each in self.virtual_machines() if each.instance_uuid == wanted)
        return next(found, None)

    def _all(self, kind: str) -> tuple[Any, ...]:
        found = [each for each in super()._all(kind) if not self.world.is_gone(each.moref)]
        return (*found, *(self._record(kind, each) for each in self.world.planned(kind)))

    def _record(self, kind: str, moref: Moref) -> Any:
        if not self.world.is_changed(moid(moref)):
            return super()._record(kind, moref)
        return BUILDERS[kind](moref, self.values_of(moid(moref)), self)


class PlanningWatchList(WatchList):
    """Waits for what the server has; what is planned is as far as it will get."""

    @contextmanager
    def watch(self, moref: Moref) -> Iterator[Watched]:
        """See `WatchList.watch`."""
        world = world_of(self._client)
        if not world.is_planned(moref):
            with super().watch(moref) as watched:
                yield watched
            return
        watched = Watched(moref)
        watched.update(world.values(moid(moref)))
        yield watched

    def wait(self, watched: Watched, *args: Any, **options: Any) -> bool:
        """See `WatchList.wait`."""
        return watched.is_over or super().wait(watched, *args, **options)


class PlanningTasks(Tasks):
    """Runs the one task that is a read, and shows in its result what is planned."""

    def run(self, moref: Moref, method: str, /, **arguments: Any) -> Any:
        """See `Tasks.run`."""
        if method != SEARCH:
            return super().run(moref, method, **arguments)
        files = world_of(self.client).files
        folder = DatastorePath.parse(arguments["datastorePath"])
        there = files.look(folder)
        if there is False:
            raise FileNotFound(str(folder))
        found: list[vim.host.DatastoreBrowser.FileInfo] = []
        if there is not True:
            result = super().run(moref, method, **{**arguments, "datastorePath": str(there)})
            found = [e for e in result.file or () if files.look(folder.joined(e.path)) is not False]
        names = {str(each.path) for each in found}
        made = [name for name in files.made_in(folder) if name not in names]
        found += [vim.host.DatastoreBrowser.FileInfo(path=name) for name in made]
        return vim.host.DatastoreBrowser.SearchResults(folderPath=str(folder), file=found)
