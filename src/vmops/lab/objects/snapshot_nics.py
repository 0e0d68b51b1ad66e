"""Network cards that come back with an older configuration: plugged into what is there now."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from pyVmomi import vim

from vmops.lab.objects.distributed_virtual_portgroup import DistributedVirtualPortgroup
from vmops.lab.objects.virtual_machine_nics import (
    DistributedBacking,
    StandardBacking,
    networks_of,
    portgroup,
)

if TYPE_CHECKING:
    from vmops.lab.objects.host_system import HostSystem
    from vmops.lab.objects.virtual_machine import VirtualMachine

_Card: Any = vim.vm.device.VirtualEthernetCard


def plug_in(vm: VirtualMachine | None, devices: Iterable[Any], host: HostSystem) -> None:
    """Connect the cards among devices, which are changed, of a machine or of a new one (None).

    A port that another machine has by now is replaced by a free one.
    """
    names = {
        network.name: network.ref
        for network in networks_of(host.kernel, host)
        if not isinstance(network, DistributedVirtualPortgroup)
    }
    taken: set[str] = set()
    for card in devices:
        if not isinstance(card, _Card):
            continue
        backing: Any = card.backing
        if isinstance(backing, StandardBacking):
            backing.network = names.get(backing.deviceName)
        elif isinstance(backing, DistributedBacking):
            _plug_into_switch(vm, backing.port, host, taken)


def _plug_into_switch(
    vm: VirtualMachine | None, port: Any, host: HostSystem, taken: set[str]
) -> None:
    group = portgroup(host.kernel, port.switchUuid, port.portgroupKey)
    if group is None:
        return
    holders = {key: holder for key, holder, _ in group.connections()}
    is_free = vm is not None and holders.get(port.portKey, vm) is vm
    if not port.portKey or not is_free or port.portKey in group.reserved | taken:
        port.portKey = group.free_port(group.reserved | taken)
        port.connectionCookie = secrets.randbelow(2**31 - 1) + 1
    taken.add(port.portKey)
    group.adopt_port(port.portKey)
