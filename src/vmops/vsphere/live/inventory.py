"""The live inventory: what the server has, kept up to date by the stream of changes.

The first question loads it; after that no question costs a call. An answer never mixes objects of
before and after a lost connection: while the stream is built anew, questions wait. Where the server
answers, but tells nothing by itself, they ask for all that there is.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from vmops.errors import (
    ClusterNotFound,
    DatastoreNotFound,
    InvalidArgument,
    ManagedObjectNotFound,
    VMOpsError,
)
from vmops.vsphere.live.kinds import BUILDERS, KINDS, MACHINE, PLACES, Kind
from vmops.vsphere.live.known import Known
from vmops.vsphere.live.properties import (
    Properties,
    Selection,
    Values,
    property_spec,
    shown_value,
    through_view,
)
from vmops.vsphere.live.records import (
    ClusterInfo,
    DatacenterInfo,
    DatastoreInfo,
    FolderInfo,
    HostInfo,
    NetworkInfo,
    VmInfo,
)
from vmops.vsphere.live.stream import Builder, Stream
from vmops.vsphere.wire.client import Client
from vmops.vsphere.wire.moref import Moref, moid, wire_type

if TYPE_CHECKING:
    from pyVmomi import vmodl


ASKED_FOR_S = 1.0
"""How long an inventory that had to be asked for answers questions."""

log = logging.getLogger(__name__)


class Inventory:
    """Answers from memory, for any number of threads."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._lock = threading.RLock()
        self._loaded = threading.Event()
        self._whole = threading.Event()
        self._wants_machines = self._tells_machines = True
        self._asking = threading.Lock()
        self._asked_at = float("-inf")
        self._asked_kinds: tuple[Kind, ...] = ()
        # What questions are answered from, and what the stream tells: the same once it is loaded.
        self._known = self._told = Known()
        self._filters: dict[str, Kind] = {}

    # Questions

    @property
    def is_loaded(self) -> bool:
        """Whether all questions are answered without waiting and without a call."""
        return self._whole.is_set()

    @property
    def has_places(self) -> bool:
        """The same of all questions but those about virtual machines."""
        return self._loaded.is_set()

    def leave_machines_out(self) -> None:
        """Load no virtual machines until one is asked for, nor say that they are loaded.

        For a session of a single operation, which would read ten thousand of them for one.
        """
        self._wants_machines = False

    def wait_fresh(self) -> None:
        """Wait until everything has been loaded, or ask for it where the stream tells nothing.

        Raises:
            VMOpsError: the server cannot be reached, and has not been for some seconds.
        """
        if not self._wants_machines:
            self._wants_machines = True
            self._stream.renew(self)
        self._wait_for(self._whole)

    def _wait_for(self, event: threading.Event) -> None:
        if not event.is_set():
            self._stream.attach(self)
            if not self._stream.wait_for(event, self._stream.client.limits.stream_silence_s):
                self._ask(event)

    def datacenters(self) -> tuple[DatacenterInfo, ...]:
        """All datacenters; an ESXi has one, "ha-datacenter"."""
        return self._all("Datacenter")

    def clusters(self) -> tuple[ClusterInfo, ...]:
        """All clusters and stand-alone compute resources."""
        return self._all("ComputeResource")

    def hosts(self) -> tuple[HostInfo, ...]:
        """All hosts that the session may see."""
        return self._all("HostSystem")

    def datastores(self) -> tuple[DatastoreInfo, ...]:
        """All datastores that the session may see."""
        return self._all("Datastore")

    def networks(self) -> tuple[NetworkInfo, ...]:
        """All port groups, distributed ones among them."""
        return self._all("Network")

    def virtual_machines(self) -> tuple[VmInfo, ...]:
        """All virtual machines and templates."""
        return self._all("VirtualMachine")

    def cluster(self, name: str | None = None) -> ClusterInfo:
        """The cluster of this name; None: the only one there is.

        Raises:
            ClusterNotFound: there is none of this name, or not exactly one; it names those there
                are.
        """
        found = self.clusters()
        if name is None:
            matching = [each for each in found if each.is_cluster] or list(found)
        else:
            matching = [each for each in found if each.name == name]
        if len(matching) != 1:
            choices = found if name is not None else matching
            raise ClusterNotFound(name or "", [each.name for each in choices])
        return matching[0]

    def datastore(self, name: str, datacenter: str = "") -> DatastoreInfo:
        """The datastore of this name, in the datacenter of this moid if one is given.

        Raises:
            DatastoreNotFound: there is none; it names those there are.
            InvalidArgument: several datacenters have one, and none was given.
        """
        found = self.datastores()
        matching = [
            each for each in found if each.name == name and datacenter in {"", each.datacenter}
        ]
        if not matching:
            raise DatastoreNotFound(name, sorted({each.name for each in found}))
        if len(matching) > 1:
            raise InvalidArgument(
                f"There is a datastore {name!r} in several datacenters: name the datacenter, too."
            )
        return matching[0]

    def datastore_of(self, name: str) -> DatastoreInfo:
        """The datastore of this moid.

        Raises:
            ManagedObjectNotFound: there is none (any more).
        """
        found: DatastoreInfo = self._one("Datastore", name)
        return found

    def datacenter(self, name: str) -> DatacenterInfo:
        """The datacenter of this moid.

        Raises:
            ManagedObjectNotFound: there is none (any more).
        """
        found: DatacenterInfo = self._one("Datacenter", name)
        return found

    def folder(self, parent: str, name: str) -> Moref | None:
        """The folder of this name in the folder of this moid, None if there is none (yet)."""
        found: tuple[FolderInfo, ...] = self._all("Folder")
        return next((f.moref for f in found if (f.parent, f.name) == (parent, name)), None)

    def vm(self, name: str) -> VmInfo | None:
        """The virtual machine of this moid, None if there is none."""
        self.wait_fresh()
        with self._lock:
            moref = self._known.tables["VirtualMachine"].morefs.get(name)
            return None if moref is None else self._record("VirtualMachine", moref)

    def vm_by_uuid(self, instance_uuid: str) -> VmInfo | None:
        """The virtual machine with this instance UUID, None if there is none (yet)."""
        self.wait_fresh()
        with self._lock:
            for name in self._known.by_uuid.get(instance_uuid.lower(), ()):
                return self.vm(name)
        return None

    def datacenter_of(self, name: str) -> DatacenterInfo:
        """The datacenter that the object of this moid is in.

        Raises:
            ManagedObjectNotFound: the object is not known, or is in no datacenter.
        """
        self._wait_for(self._loaded)
        with self._lock:
            above = self.datacenter_above(self.values_of(name))
            if not above:
                raise ManagedObjectNotFound(name)
            return self.datacenter(above)

    # What records ask

    def values_of(self, name: str) -> Values:
        """The values of the object of this moid, {} if it is not known."""
        return self._known.values.get(name, {})

    def datacenter_above(self, values: Values) -> str:
        """The moid of the datacenter that an object with these values is in, "" if none."""
        parent = values.get("parent") or values.get("runtime.host")
        while parent is not None:
            if moid(parent) in self._known.tables["Datacenter"].morefs:
                return moid(parent)
            parent = self.values_of(moid(parent)).get("parent")
        return ""

    # What the stream calls

    def subscribe(self, build: Builder) -> None:
        """Make one view over everything, and a filter for each kind."""
        with self._lock:
            self._told = Known()
            self._filters = {}
            self._tells_machines = self._wants_machines
            kinds = self._wanted()
        view = _view_of(build.client, kinds)
        for kind in kinds:
            self._filters[self._filter(build, view, kind)] = kind
        # The root folder is not in a view of what is below it; paths end there.
        self._told.values[moid(build.client.content.rootFolder)] = {}

    def _filter(self, build: Builder, view: Moref, kind: Kind) -> str:
        selected = [through_view(view)]
        try:
            return build.filter(
                selected, [property_spec(kind.wire_type, kind.paths + kind.optional)]
            )
        except InvalidArgument:
            return build.filter(selected, [property_spec(kind.wire_type, kind.paths)])

    def apply(
        self, filter_id: str, updates: Sequence[vmodl.query.PropertyCollector.ObjectUpdate]
    ) -> None:
        """Update the records with what the stream tells."""
        kind = self._filters[filter_id]
        with self._lock:
            for update in updates:
                if update.kind == "leave":
                    self._told.leave(kind, moid(update.obj))
                    continue
                news = {
                    change.name: shown_value(update.obj, change.name, change.val)
                    for change in update.changeSet
                    if change.op in {"assign", "add"}
                }
                unset = [c.name for c in update.changeSet if c.name not in news]
                self._told.change(kind, update.obj, news, unset)

    def loaded(self) -> None:
        """Let those who ask through: all is known."""
        with self._lock:
            self._known = self._told
        self._loaded.set()
        if self._tells_machines:
            self._whole.set()

    def lost(self) -> None:
        """Let those who ask wait until all is known again."""
        self._whole.clear()
        self._loaded.clear()

    # Without the stream

    def _ask(self, event: threading.Event) -> None:
        """Read all that there is, for a second: the server answers, but its stream does not."""
        with self._asking:
            kinds = self._wanted()
            is_new = time.monotonic() - self._asked_at < ASKED_FOR_S
            if event.is_set() or (is_new and set(kinds) <= set(self._asked_kinds)):
                return
            log.info("The stream of changes tells nothing; the inventory is asked for")
            client = self._stream.client
            asked = Known()
            view = _view_of(client, kinds)
            try:
                for kind, moref, values in _read_all(Properties(client), view, kinds):
                    asked.change(kind, moref, values)
            finally:
                with suppress(VMOpsError):
                    client.call(view, "DestroyView")
            asked.values[moid(client.content.rootFolder)] = {}
            with self._lock:
                if not event.is_set():
                    self._known = asked
            self._asked_at, self._asked_kinds = time.monotonic(), kinds

    def _wanted(self) -> tuple[Kind, ...]:
        return KINDS if self._wants_machines else PLACES

    # Records

    def _all(self, kind: str) -> tuple[Any, ...]:
        self._wait_for_kind(kind)
        with self._lock:
            return tuple(
                self._record(kind, moref) for moref in self._known.tables[kind].morefs.values()
            )

    def _one(self, kind: str, name: str) -> Any:
        self._wait_for_kind(kind)
        with self._lock:
            moref = self._known.tables[kind].morefs.get(name)
            if moref is None:
                raise ManagedObjectNotFound(f"{kind}:{name}")
            return self._record(kind, moref)

    def _wait_for_kind(self, kind: str) -> None:
        if kind == MACHINE:
            self.wait_fresh()
        else:
            self._wait_for(self._loaded)

    def _record(self, kind: str, moref: Moref) -> Any:
        records = self._known.tables[kind].records
        found = records.get(moid(moref))
        if found is None:
            found = BUILDERS[kind](moref, self.values_of(moid(moref)), self)
            records[moid(moref)] = found
        return found


def _view_of(client: Client, kinds: tuple[Kind, ...]) -> Moref:
    """A view of all objects of these kinds."""
    view: Moref = client.call(
        client.content.viewManager,
        "CreateContainerView",
        container=client.content.rootFolder,
        type=[wire_type(kind.wire_type) for kind in kinds],
        recursive=True,
    )
    return view


def _read_all(
    properties: Properties, view: Moref, kinds: tuple[Kind, ...]
) -> Iterator[tuple[Kind, Moref, Values]]:
    """All objects in a view with their kinds; what is of two kinds comes as both."""
    selected = [through_view(view)]

    def selection(kind: Kind, optional: tuple[str, ...]) -> Selection:
        return Selection(selected, kind.wire_type, kind.paths + optional)

    try:
        found = properties.collect(*(selection(kind, kind.optional) for kind in kinds))
    except InvalidArgument:
        found = []
        for kind in kinds:
            try:
                found += properties.collect(selection(kind, kind.optional))
            except InvalidArgument:
                found += properties.collect(selection(kind, ()))
    for moref, values in found:
        for kind in kinds:
            if isinstance(moref, wire_type(kind.wire_type)):
                yield kind, moref, values
