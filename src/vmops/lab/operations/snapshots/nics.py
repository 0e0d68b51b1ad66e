"""Network cards that come back with an older configuration: plugged into what is there now."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from pyVmomi import vim

from vmops.lab.inventory.distributed_switch import DistributedVirtualPortgroup
from vmops.lab.machine.devices.nics import (
    DistributedBacking,
    PortReservations,
    StandardBacking,
    networks_of,
    portgroup,
)

if TYPE_CHECKING:
    from pyVmomi.vim.vm.device import VirtualDevice

    from vmops.lab.inventory.host_system import HostSystem
    from vmops.lab.machine.machine import Machine

_Card = vim.vm.device.VirtualEthernetCard


def plug_in(
    vm: Machine | None, devices: Iterable[VirtualDevice], host: HostSystem, ports: PortReservations
) -> None:
    """Connect the cards among devices, which are changed, of a machine or of a new one (None).

    A port that another machine has by now is replaced by a free one. The caller releases them.
    """
    names: dict[str, Any] = {
        network.port_group: network.ref
        for network in networks_of(host.kernel, host)
        if not isinstance(network, DistributedVirtualPortgroup)
    }
    for card in devices:
        if not isinstance(card, _Card):
            continue
        backing = card.backing
        if isinstance(backing, StandardBacking):
            backing.network = names.get(backing.deviceName)
        elif isinstance(backing, DistributedBacking):
            _plug_into_switch(vm, backing.port, host, ports)


def _plug_into_switch(
    vm: Machine | None, port: vim.dvs.PortConnection, host: HostSystem, ports: PortReservations
) -> None:
    group = portgroup(host.kernel, port.switchUuid, port.portgroupKey)
    if group is None:
        return
    holders = {key: holder for key, holder, _ in group.connections()}
    is_free = vm is not None and holders.get(port.portKey or "", vm) is vm
    if port.portKey and is_free and port.portKey not in group.reserved:
        ports.hold(group, port.portKey)
        group.adopt_port(port.portKey)
        return
    port.portKey = ports.take(group)
    port.connectionCookie = secrets.randbelow(2**31 - 1) + 1
