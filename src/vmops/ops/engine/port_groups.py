"""Port groups that are made for VLANs on the hosts' standard switches.

A network may ask for its port group to be made where it is missing (Nova's ``should_create_vlan``).
A machine may come to run on any host of its cluster, so each of them gets it, on the switch that
has the physical NIC of the settings. Spawns at once share what they make: it is made once, and
taken back when the last of them has failed.
"""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from vmops.errors import (
    AlreadyExists,
    Busy,
    InvalidVlanPortGroup,
    InvalidVlanTag,
    NetworkAdapterNotFound,
    NotFound,
    SwitchNotFound,
)
from vmops.model.instance import Vif
from vmops.ops.engine.settings import EngineSettings
from vmops.steps import Reversible, noting, step
from vmops.vsphere.live.records import ClusterInfo
from vmops.vsphere.objects.host_networks import HostNetwork, add_port_group, read_host_networks
from vmops.vsphere.session import Session
from vmops.vsphere.wire.moref import Moref


class PortGroups:
    """Makes port groups and takes them back, for any number of threads."""

    def __init__(self, session: Session, settings: EngineSettings) -> None:
        self._session = session
        self._interface = settings.vlan_interface
        self._lock = threading.Lock()
        self._users: Counter[str] = Counter()
        self._made: dict[str, list[Moref]] = {}
        """The hosts' network systems on which spawns under way have made a port group."""

    def claim(self, cluster: ClusterInfo, vifs: Iterable[Vif]) -> frozenset[str]:
        """Have the port groups of all interfaces with a VLAN on every host of the cluster.

        It costs two reads if there are any, and a call for each port group that is made on a host.
        Whoever claims calls `keep` or `give_up` afterwards, with the names that are returned.

        Raises:
            NetworkAdapterNotFound: a host has no physical NIC of the settings' name.
            SwitchNotFound: no switch of a host has that NIC.
            InvalidVlanTag: a port group of the name has another VLAN, or two interfaces differ.
            InvalidVlanPortGroup: a port group of the name is on another switch.
        """
        wanted = self._wanted(cluster, vifs)
        names = frozenset(wanted)
        with self._lock:
            self._users.update(names)
        try:
            with self._lock:
                if wanted:
                    self._ensure(cluster, wanted)
        except BaseException as first:
            with noting(first, f"remove the port groups {', '.join(sorted(names))}"):
                self.give_up(names)
            raise
        return names

    def keep(self, names: frozenset[str]) -> None:
        """Let them stay: a machine is plugged into them."""
        with self._lock:
            self._users.subtract(names)
            for name in names:
                self._made.pop(name, None)

    def give_up(self, names: frozenset[str]) -> None:
        """Take back what was made, unless another spawn that is under way counts on it."""
        with self._lock:
            self._users.subtract(names)
            for name in names:
                if self._users[name] <= 0:
                    for system in self._made.pop(name, ()):
                        self._remove(system, name)

    def _wanted(self, cluster: ClusterInfo, vifs: Iterable[Vif]) -> dict[str, int]:
        elsewhere = {
            network.name
            for network in self._session.inventory.networks()
            if network.moid in cluster.networks and network.kind != "standard"
        }
        wanted: dict[str, int] = {}
        for vif in vifs:
            if vif.vlan is None or vif.network in elsewhere:
                continue
            if wanted.setdefault(vif.network, vif.vlan) != vif.vlan:
                raise InvalidVlanTag(vif.network, wanted[vif.network], vif.vlan)
        return wanted

    def _ensure(self, cluster: ClusterInfo, wanted: Mapping[str, int]) -> None:
        hosts = [
            host
            for host in self._session.inventory.hosts()
            if host.cluster == cluster.moid and host.connected
        ]
        for network in read_host_networks(self._session, hosts):
            switch = self._switch(network)
            for name, vlan in wanted.items():
                if name in network.port_groups:
                    _check(network, name, vlan, switch)
                else:
                    self._add(network, name, vlan, switch)

    def _switch(self, network: HostNetwork) -> str:
        if self._interface not in network.adapters:
            raise NetworkAdapterNotFound(self._interface, sorted(network.adapters))
        switch = network.adapters[self._interface]
        if not switch:
            raise SwitchNotFound(self._interface, network.host)
        return switch

    def _add(self, network: HostNetwork, name: str, vlan: int, switch: str) -> None:
        made = self._made.setdefault(name, [])
        made.append(network.system)  # before: its answer may get lost
        try:
            add_port_group(self._session, network.system, name, vlan, switch)
        except AlreadyExists:
            # Another process was faster.
            made.remove(network.system)
            (now,) = read_host_networks(self._session, [network.info])
            _check(now, name, vlan, switch)

    def _remove(self, system: Moref, name: str) -> None:
        # In use: somebody else has found it and plugged a machine in.
        with contextlib.suppress(NotFound, Busy):
            self._session.call(system, "RemovePortGroup", pgName=name)


def _check(network: HostNetwork, name: str, vlan: int, switch: str) -> None:
    found = network.port_groups[name]
    if found.switch != switch:
        raise InvalidVlanPortGroup(name, found.switch, switch, network.host)
    if found.vlan != vlan:
        raise InvalidVlanTag(name, found.vlan, vlan, network.host)


def with_vlan(vifs: Iterable[Vif]) -> frozenset[str]:
    """The port groups that are to be made where they are missing."""
    return frozenset(vif.network for vif in vifs if vif.vlan is not None)


@step("Create the port groups")
def create_port_groups(
    port_groups: PortGroups, cluster: ClusterInfo, vifs: Sequence[Vif]
) -> Reversible[None]:
    """Have the port groups of VLANs on every host, and check those that are there already."""
    names = port_groups.claim(cluster, vifs)
    try:
        yield
    except GeneratorExit:  # the operation has ended well
        port_groups.keep(names)
        raise
    port_groups.give_up(names)
