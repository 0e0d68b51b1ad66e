"""Where a new instance goes: cluster, datastore and port groups.

A datastore is chosen by a table of filters, each with the reason that a person reads, and then by
free space, less what spawns under way have reserved there.
"""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from vmops import units
from vmops.errors import (
    DatastoreNotFound,
    NetworkAmbiguous,
    NetworkNotFound,
    NoSuitableDatastore,
    NoSuitableHost,
)
from vmops.model.instance import Vif
from vmops.ops.engine.settings import EngineSettings
from vmops.vsphere.live.inventory import Inventory
from vmops.vsphere.live.records import (
    ClusterInfo,
    DatacenterInfo,
    DatastoreInfo,
    HostInfo,
    NetworkInfo,
)
from vmops.vsphere.managers.storage_policies import StoragePolicy

_ABOUT_EQUAL = 0.9
USABLE_TYPES = ("VMFS", "NFS", "NFS41")


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Where an instance goes."""

    cluster: ClusterInfo
    datacenter: DatacenterInfo
    datastore: DatastoreInfo
    networks: tuple[NetworkInfo, ...]
    storage_policy: str = ""
    """The id of the policy of its files, "" if none is asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compliance:
    """A storage policy, and the moids of the datastores that comply with it."""

    policy: StoragePolicy
    datastores: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedSpace:
    """What the filters look at besides the datastore."""

    settings: EngineSettings
    hosts: tuple[HostInfo, ...]
    needed_bytes: int
    reserved: Counter[str] = field(default_factory=Counter)
    compliance: Compliance | None = None


Filter = Callable[[DatastoreInfo, WantedSpace], str | None]


def _accessible(datastore: DatastoreInfo, wanted: WantedSpace) -> str | None:
    return None if datastore.accessible else "it is not accessible"


def _not_in_maintenance(datastore: DatastoreInfo, wanted: WantedSpace) -> str | None:
    mode = datastore.maintenance_mode
    return None if mode in {"", "normal"} else f"its maintenance mode is {mode}"


def _usable_type(datastore: DatastoreInfo, wanted: WantedSpace) -> str | None:
    if datastore.type in USABLE_TYPES or datastore.type == "OTHER":
        return None
    return f"its type {datastore.type} cannot be used (only {', '.join(USABLE_TYPES)})"


def _name_matches(datastore: DatastoreInfo, wanted: WantedSpace) -> str | None:
    name, regex = wanted.settings.datastore, wanted.settings.datastore_regex
    if name is not None and datastore.name != name:
        return f"not the datastore asked for ({name})"
    if regex is not None and regex.fullmatch(datastore.name) is None:
        return f"its name does not match {regex.pattern!r}"
    return None


def _compliant(datastore: DatastoreInfo, wanted: WantedSpace) -> str | None:
    compliance = wanted.compliance
    if compliance is None or datastore.moid in compliance.datastores:
        return None
    return f"it does not comply with the storage policy {compliance.policy.name!r}"


def _mounted(datastore: DatastoreInfo, wanted: WantedSpace) -> str | None:
    mounts = datastore.hosts_read_write
    if not mounts or any(host.moid in mounts for host in wanted.hosts):
        return None
    return "no usable host has it mounted for writing"


def _has_space(datastore: DatastoreInfo, wanted: WantedSpace) -> str | None:
    free = datastore.free_bytes - wanted.reserved[datastore.moid]
    if free >= wanted.needed_bytes:
        return None
    return (
        f"{units.human_bytes(max(free, 0))} free, {units.human_bytes(wanted.needed_bytes)} needed"
    )


# In this order, so that the first reason given is the one that matters most.
FILTERS: tuple[Filter, ...] = (
    _name_matches,
    _accessible,
    _not_in_maintenance,
    _usable_type,
    _mounted,
    _compliant,
    _has_space,
)


class Reservations:
    """Space that spawns under way will need, so that many at once do not fill one datastore."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._bytes: Counter[str] = Counter()

    @contextlib.contextmanager
    def choose(
        self, pick: Callable[[Counter[str]], DatastoreInfo], size_bytes: int
    ) -> Iterator[DatastoreInfo]:
        """Pick a datastore knowing what is reserved, and reserve ``size_bytes`` there meanwhile."""
        with self._guard:
            chosen = pick(self._bytes)
            self._bytes[chosen.moid] += size_bytes
        try:
            yield chosen
        finally:
            with self._guard:
                self._bytes[chosen.moid] -= size_bytes


def usable_hosts(inventory: Inventory, cluster: ClusterInfo) -> tuple[HostInfo, ...]:
    """The cluster's hosts that can run something now.

    Raises:
        NoSuitableHost: there is none; the message says why for each.
    """
    hosts = [host for host in inventory.hosts() if host.cluster == cluster.moid]
    usable = tuple(host for host in hosts if host.connected and not host.in_maintenance)
    if not usable:
        why = "; ".join(
            f"{host.name} is {'in maintenance' if host.connected else 'not connected'}"
            for host in hosts
        )
        raise NoSuitableHost(f"No host of {cluster.name} can be used: {why or 'it has none'}.")
    return usable


def pick_datastore(
    inventory: Inventory,
    cluster: ClusterInfo,
    settings: EngineSettings,
    needed_bytes: int,
    reserved: Counter[str],
    compliance: Compliance | None = None,
) -> DatastoreInfo:
    """The suitable datastore of the cluster with most free space, about equal ones by name.

    With ``compliance`` only those that comply with the policy are suitable.

    Raises:
        DatastoreNotFound: the one asked for by name is not there.
        NoSuitableDatastore: none passes the filters; the error gives a reason for each.
    """
    there = [d for d in inventory.datastores() if d.moid in cluster.datastores]
    if settings.datastore is not None and settings.datastore not in {d.name for d in there}:
        raise DatastoreNotFound(settings.datastore, [d.name for d in there])
    wanted = WantedSpace(
        settings=settings,
        hosts=usable_hosts(inventory, cluster),
        needed_bytes=needed_bytes,
        reserved=reserved,
        compliance=compliance,
    )
    rejected = []
    suitable = []
    for datastore in there:
        reason = next(filter(None, (passes(datastore, wanted) for passes in FILTERS)), None)
        if reason is None:
            suitable.append(datastore)
        else:
            rejected.append((datastore.name, reason))
    if not suitable:
        raise NoSuitableDatastore(f"{units.human_bytes(needed_bytes)} in {cluster.name}", rejected)
    return roomiest(suitable, reserved)


def roomiest(suitable: list[DatastoreInfo], reserved: Counter[str]) -> DatastoreInfo:
    """The datastore with most free space; of those about equal, the first by name.

    Without that, two datastores of equal size would take turns, and each would get its own copy
    of every image.
    """
    free = {d.moid: d.free_bytes - reserved[d.moid] for d in suitable}
    enough = max(free.values()) * _ABOUT_EQUAL
    return min((d for d in suitable if free[d.moid] >= enough), key=lambda d: d.name)


def find_networks(
    inventory: Inventory,
    cluster: ClusterInfo,
    vifs: tuple[Vif, ...],
    to_make: frozenset[str] = frozenset(),
) -> tuple[NetworkInfo, ...]:
    """The port group of each interface in the cluster, by one of the names of `_names_of`.

    Those of the names ``to_make`` may be missing: they will be made on its hosts' standard
    switches.

    Raises:
        NetworkNotFound: the cluster has no port group of that name; the error names those it has.
        NetworkAmbiguous: it has several; the error says how each is named alone.
    """
    there = [
        network
        for network in inventory.networks()
        if network.moid in cluster.networks and not network.is_uplink
    ]
    named: dict[str, list[NetworkInfo]] = {}
    for network in there:
        for name in _names_of(network):
            named.setdefault(name, []).append(network)
    for name in to_make - named.keys():
        named[name] = [_new_network(name, cluster)]
    for vif in vifs:
        found = named.get(vif.network, [])
        if not found:
            raise NetworkNotFound(vif.network, sorted({network.name for network in there}))
        if len(found) > 1:
            raise NetworkAmbiguous(vif.network, [_names_of(network)[1:] for network in found])
    return tuple(named[vif.network][0] for vif in vifs)


def _names_of(network: NetworkInfo) -> tuple[str, str, str]:
    """What a network may be called by: its name, that with its kind, and its moid."""
    return network.name, f"{network.kind}:{network.name}", network.moid


def _new_network(name: str, cluster: ClusterInfo) -> NetworkInfo:
    return NetworkInfo(
        moref=None,
        moid="",
        name=name,
        kind="standard",
        portgroup_key="",
        switch_uuid="",
        hosts=frozenset(cluster.hosts),
        is_uplink=False,
        datacenter=cluster.datacenter,
    )
