"""A virtual machine's NICs: what they are plugged into, and which interfaces they are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pyVmomi import vim

from vmops.model.power import PowerState
from vmops.numbers import INT_MAX, whole_number

PATHS = ("config.hardware.device", "config.extraConfig", "runtime.powerState")

# NIC number N of Nova's ``nvp.iface-id.N``, ethernetN of the .vmx file, has the key 4000 + N.
_FIRST_NIC_KEY = 4000
_INTERFACE_PREFIX = "nvp.iface-id."
_GIVEN_UP = "free"  # what Nova's driver writes where an interface was, as it deletes no key

NetworkKind = Literal["standard", "distributed", "opaque"]


@dataclass(frozen=True, slots=True, kw_only=True)
class VmNic:
    """A NIC. ``network`` is a port group's name, or key where ``kind`` is not "standard".

    ``connected`` is of a running VM whether it is plugged in now and will be, of another whether
    it will be when it is powered on.
    """

    key: int
    mac_address: str
    kind: NetworkKind
    network: str
    connected: bool
    device: vim.vm.device.VirtualEthernetCard = field(repr=False, compare=False)

    @property
    def number(self) -> int:
        """N of ``nvp.iface-id.N``; below 0 if the server numbers NICs in a way of its own."""
        return self.key - _FIRST_NIC_KEY


@dataclass(frozen=True, slots=True, kw_only=True)
class VmNics:
    """All NICs, the numbers under which interface ids are noted, and what else was read with them.

    ``settings`` is the virtual machine's ``extraConfig``.
    """

    nics: tuple[VmNic, ...]
    interface_ids: dict[int, str]
    power_state: PowerState | None = None
    settings: Mapping[str, str] = field(default_factory=dict, repr=False)

    def find(self, interface_id: str, mac_address: str) -> VmNic | None:
        """The NIC of an interface: by its MAC address, else by its id."""
        for nic in self.nics:
            if mac_address and nic.mac_address == mac_address:
                return nic
        if mac_address or not interface_id:
            return None
        return next((nic for nic in self.nics if self.id_of(nic) == interface_id), None)

    def number_of(self, interface_id: str) -> int | None:
        """The number under which an interface id is noted."""
        return next((n for n, noted in self.interface_ids.items() if noted == interface_id), None)

    def id_of(self, nic: VmNic) -> str:
        """The interface id noted for a NIC, "" if there is none."""
        return self.interface_ids.get(nic.number, "")

    def free_numbers(self, count: int) -> list[int]:
        """The numbers that the server will give to the next NICs: the lowest that none has.

        A note without its NIC is not heeded, unless the server numbers NICs in a way of its own.
        """
        taken = {nic.number for nic in self.nics}
        if min(taken, default=0) < 0:
            taken |= set(self.interface_ids)
        return [n for n in range(count + len(taken)) if n not in taken][:count]


def nics_from(values: dict[str, Any]) -> VmNics:
    """From the values of `PATHS`, any of which may be missing."""
    devices = values.get("config.hardware.device") or ()
    numbers = {}
    settings = {str(o.key): str(o.value or "") for o in values.get("config.extraConfig") or ()}
    for key, value in settings.items():
        if not key.startswith(_INTERFACE_PREFIX):
            continue
        number = whole_number(key.removeprefix(_INTERFACE_PREFIX), INT_MAX)
        if number is not None and value and value != _GIVEN_UP:
            numbers[number] = value
    power = str(values.get("runtime.powerState"))
    state = PowerState(power) if power in set(PowerState) else None
    is_on = state is PowerState.POWERED_ON
    cards = [d for d in devices if isinstance(d, vim.vm.device.VirtualEthernetCard)]
    return VmNics(
        nics=tuple(_nic(card, is_on=is_on) for card in cards),
        interface_ids=numbers,
        power_state=state,
        settings=settings,
    )


def _nic(device: vim.vm.device.VirtualEthernetCard, *, is_on: bool) -> VmNic:
    backing = device.backing
    card = vim.vm.device.VirtualEthernetCard
    kind: NetworkKind = "standard"
    if isinstance(backing, card.DistributedVirtualPortBackingInfo):
        kind, network = "distributed", str(backing.port.portgroupKey)
    elif isinstance(backing, card.OpaqueNetworkBackingInfo):
        kind, network = "opaque", str(backing.opaqueNetworkId)
    else:
        network = str(getattr(backing, "deviceName", "") or "")
    plug = device.connectable
    return VmNic(
        key=int(device.key),
        mac_address=str(device.macAddress or "").lower(),
        kind=kind,
        network=network,
        connected=plug is None or bool(plug.startConnected and (plug.connected or not is_on)),
        device=device,
    )


def guest_addresses(cards: Iterable[vim.vm.GuestInfo.NicInfo] | None) -> dict[str, tuple[str, ...]]:
    """The addresses of ``guest.net``, by MAC address."""
    return {
        str(card.macAddress).lower(): tuple(str(address) for address in card.ipAddress or ())
        for card in cards or ()
        if card.macAddress
    }
