"""The standard switches and port groups of hosts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from pyVmomi import vim

from vmops.vsphere.live.records import HostInfo
from vmops.vsphere.session import Session
from vmops.vsphere.wire.moref import Moref, moid

_SYSTEM = "configManager.networkSystem"
_PATHS = ("networkInfo.pnic", "networkInfo.vswitch", "networkInfo.portgroup")


@dataclass(frozen=True, slots=True, kw_only=True)
class HostPortGroup:
    """A port group of one host; ``vlan`` 0 is none, 4095 all."""

    vlan: int
    switch: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HostNetwork:
    """What one host has.

    ``adapters`` are the physical NICs, each with the name of its standard switch, "" if it is on
    none.
    """

    info: HostInfo
    system: Moref = field(compare=False)
    adapters: dict[str, str]
    port_groups: dict[str, HostPortGroup]

    @property
    def host(self) -> str:
        """The name of the host it belongs to."""
        return self.info.name


def read_host_networks(session: Session, hosts: Sequence[HostInfo]) -> tuple[HostNetwork, ...]:
    """The networks of some hosts, in two reads; a host that is gone is left out."""
    named = session.properties.read([host.moref for host in hosts], "HostSystem", (_SYSTEM,))
    systems = {
        host.moid: named[host.moid][_SYSTEM]
        for host in hosts
        if named.get(host.moid, {}).get(_SYSTEM) is not None
    }
    found = session.properties.read(systems.values(), "HostNetworkSystem", _PATHS)
    return tuple(
        _network(host, systems[host.moid], found[moid(systems[host.moid])])
        for host in hosts
        if host.moid in systems and moid(systems[host.moid]) in found
    )


def add_port_group(session: Session, system: Moref, name: str, vlan: int, switch: str) -> None:
    """Add a port group to a host's standard switch.

    Raises:
        AlreadyExists: the host has one of this name.
        NotFound: it has no such switch.
    """
    spec = vim.host.PortGroup.Specification(
        name=name, vlanId=vlan, vswitchName=switch, policy=vim.host.NetworkPolicy()
    )
    session.call(system, "AddPortGroup", portgrp=spec)


def _network(host: HostInfo, system: Moref, values: dict[str, Any]) -> HostNetwork:
    switches = values.get("networkInfo.vswitch") or ()
    switch_of = {key: str(switch.name) for switch in switches for key in switch.pnic or ()}
    return HostNetwork(
        info=host,
        system=system,
        adapters={
            str(nic.device): switch_of.get(nic.key, "")
            for nic in values.get("networkInfo.pnic") or ()
        },
        port_groups={
            str(group.spec.name): HostPortGroup(
                vlan=int(group.spec.vlanId), switch=str(group.spec.vswitchName)
            )
            for group in values.get("networkInfo.portgroup") or ()
        },
    )
