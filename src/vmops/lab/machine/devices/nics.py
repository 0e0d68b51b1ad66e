"""Network cards of a virtual machine: their addresses and what they are plugged into."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pyVmomi import vim

from vmops.lab.inventory.distributed_switch import DistributedVirtualPortgroup
from vmops.lab.inventory.network import Network
from vmops.lab.machine.devices.faults import invalid_backing, invalid_device, unsupported_device

if TYPE_CHECKING:
    from pyVmomi.vim.vm.device import VirtualEthernetCard
    from pyVmomi.VmomiSupport import ManagedObject as Reference

    from vmops.lab.inventory.host_system import HostSystem
    from vmops.lab.kernel.kernel import Kernel

_device = vim.vm.device
_card = _device.VirtualEthernetCard
StandardBacking = _card.NetworkBackingInfo
DistributedBacking = _card.DistributedVirtualPortBackingInfo

CARD_MODELS: dict[str, type[VirtualEthernetCard]] = {
    "vmxnet3": _device.VirtualVmxnet3,
    "e1000": _device.VirtualE1000,
    "e1000e": _device.VirtualE1000e,
    "vmxnet": _device.VirtualVmxnet2,
    "vlance": _device.VirtualPCNet32,
}
"""The name in a .vmx file of each network card."""

# Of VMware's own prefix, these are for clients; vCenter gives out the others itself.
_LAST_STATIC = 0x3F
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")


@dataclass(slots=True)
class PortReservations:
    """Ports given out to cards that are not yet part of a virtual machine."""

    held: list[tuple[DistributedVirtualPortgroup, str]] = field(default_factory=list)

    def take(self, group: DistributedVirtualPortgroup) -> str:
        """Reserve a free port of the group and return its key."""
        key = group.free_port(group.reserved)
        self.hold(group, key)
        return key

    def hold(self, group: DistributedVirtualPortgroup, key: str) -> None:
        """Reserve a port the client named."""
        group.reserved.add(key)
        self.held.append((group, key))

    def release(self) -> None:
        """Let go of all of them; those of a virtual machine are its own by now."""
        for group, key in self.held:
            group.reserved.discard(key)
        self.held.clear()


@dataclass(frozen=True, slots=True)
class NicPlanner:
    """Checks network cards against the networks of the host their machine is on."""

    kernel: Kernel
    host: HostSystem
    ports: PortReservations
    known_cards: tuple[VirtualEthernetCard, ...]

    def prepare(self, index: int, card: VirtualEthernetCard) -> None:
        """Fill in and check one card that is added or edited.

        Raises:
            vim.fault.InvalidDeviceBacking: no such network on the host, or no such port.
            vim.fault.InvalidDeviceSpec: the MAC address is no unicast address.
            vim.fault.DeviceNotSupported: the model is unknown.
        """
        if type(card) not in CARD_MODELS.values():
            raise unsupported_device(card, "the lab has no such network card.")
        self._address(index, card)
        self._plug(index, card)
        if card.connectable is None:
            card.connectable = _device.VirtualDevice.ConnectInfo(
                startConnected=True, allowGuestControl=True, connected=False, status="untried"
            )
        if card.wakeOnLanEnabled is None:
            card.wakeOnLanEnabled = True

    def _address(self, index: int, card: VirtualEthernetCard) -> None:
        given = (card.macAddress or "").lower().replace("-", ":")
        kind = (card.addressType or "").lower()
        if not kind:
            kind = "manual" if given else self._automatic
        if kind not in {"manual", "generated", "assigned"}:
            raise invalid_device(index, "addressType", "It is manual, generated or assigned.")
        if kind == "manual":
            if not _MAC.fullmatch(given) or int(given[:2], 16) & 1 or not given.strip("0:"):
                raise invalid_device(index, "macAddress", "It is not a unicast MAC address.")
            is_reserved = given.startswith("00:50:56:") and int(given[9:11], 16) > _LAST_STATIC
            if is_reserved and not self._is_own(given):
                raise invalid_device(index, "macAddress", "It is of the range that is given out.")
        elif not self._is_own(given):
            kind, given = self._automatic, new_mac_address(self.kernel)
        card.addressType, card.macAddress = kind, given

    @property
    def _automatic(self) -> str:
        return "generated" if self.kernel.settings.esx else "assigned"

    def _is_own(self, address: str) -> bool:
        return any(card.macAddress == address for card in self.known_cards)

    def _plug(self, index: int, card: VirtualEthernetCard) -> None:
        backing = card.backing
        if isinstance(backing, DistributedBacking):
            self._plug_distributed(index, backing)
        elif type(backing) is StandardBacking:
            network = self._standard(backing)
            if network is None:
                raise invalid_backing(
                    index, f"The host has no network '{backing.deviceName or ''}'."
                )
            card.backing = StandardBacking(
                deviceName=network.port_group, network=network.ref, useAutoDetect=False
            )
        else:
            raise invalid_backing(index, "The lab has no such kind of network.")

    def _standard(self, backing: StandardBacking) -> Network | None:
        for network in networks_of(self.kernel, self.host):
            if isinstance(network, DistributedVirtualPortgroup):
                continue
            if backing.deviceName:
                if network.port_group == backing.deviceName:
                    return network
            elif backing.network is not None and backing.network == network.ref:
                return network
        return None

    def _plug_distributed(self, index: int, backing: DistributedBacking) -> None:
        port = backing.port
        group = portgroup(self.kernel, port.switchUuid, port.portgroupKey)
        if group is None and not port.portgroupKey and port.portKey:
            group = _group_of_port(self.kernel, port.switchUuid, port.portKey)
        if group is None or all(ref != self.host.ref for ref in group.properties["host"]):
            raise invalid_backing(index, "The host has no such distributed port group.")
        connected = {key: card for key, _, card in group.connections()}
        if port.portKey:
            if port.portKey not in group.properties["portKeys"]:
                raise invalid_backing(index, f"There is no port {port.portKey}.")
            holder = connected.get(port.portKey)
            if port.portKey in group.reserved or (
                holder is not None and holder.backing.port.connectionCookie != port.connectionCookie
            ):
                raise invalid_backing(index, f"Port {port.portKey} is in use.")
            self.ports.hold(group, port.portKey)
        else:
            port.portKey = self.ports.take(group)
            port.connectionCookie = None
        port.portgroupKey = group.moid
        port.switchUuid = group.switch.properties["uuid"]
        if port.connectionCookie is None:
            port.connectionCookie = secrets.randbelow(2**31 - 1) + 1


def new_mac_address(kernel: Kernel) -> str:
    """Return an address as vCenter, or a host of its own, gives it to a card."""
    # VMware's range for addresses that vCenter assigns; ESXi's own begin with 00:0c:29.
    low = secrets.randbits(24)
    if kernel.settings.esx:
        return f"00:0c:29:{low >> 16:02x}:{low >> 8 & 255:02x}:{low & 255:02x}"
    low = 0x800000 | (low & 0x3FFFFF)
    return f"00:50:56:{low >> 16:02x}:{low >> 8 & 255:02x}:{low & 255:02x}"


def networks_of(kernel: Kernel, host: HostSystem) -> list[Network]:
    """List the networks, distributed port groups among them, of a host."""
    return [kernel.registry.find(ref, Network) for ref in host.properties["network"]]


def portgroup(
    kernel: Kernel, switch_uuid: str | None, key: str | None
) -> DistributedVirtualPortgroup | None:
    """Find a distributed port group by its key and, where given, its switch's UUID."""
    if not key or key not in kernel.registry:
        return None
    found = kernel.registry.get(key)
    if not isinstance(found, DistributedVirtualPortgroup):
        return None
    uuid = str(found.switch.properties["uuid"])
    if switch_uuid and _digits(switch_uuid) != _digits(uuid):
        return None
    return found


def _digits(uuid: str) -> str:
    return re.sub(r"[^0-9a-f]", "", uuid.lower())


def _group_of_port(
    kernel: Kernel, switch_uuid: str | None, key: str
) -> DistributedVirtualPortgroup | None:
    for group in kernel.registry.all(DistributedVirtualPortgroup):
        if key in group.properties["portKeys"]:
            return portgroup(kernel, switch_uuid, group.moid)
    return None


def network_of_card(kernel: Kernel, card: VirtualEthernetCard) -> Network | None:
    """Return the network a card is plugged into, None if it is gone."""
    backing = card.backing
    if isinstance(backing, DistributedBacking):
        return portgroup(kernel, backing.port.switchUuid, backing.port.portgroupKey)
    ref = getattr(backing, "network", None)
    if ref is None or ref._moId not in kernel.registry:
        return None
    return kernel.registry.find(ref, Network)


def network_refs(kernel: Kernel, cards: Iterable[VirtualEthernetCard]) -> list[Reference]:
    """Return the networks of some cards, each once."""
    found = {}
    for card in cards:
        network = network_of_card(kernel, card)
        if network is not None:
            found[network.moid] = network.ref
    return list(found.values())
