"""What the tools in a guest tell, as the virtual machine shows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import IPv4Interface, IPv6Interface
from typing import TYPE_CHECKING

from pyVmomi import vim

from vmops.lab.hypervisor.tools import NO_TOOLS, GuestNic, InfoRefused, ToolsState
from vmops.lab.machine.devices.nics import network_of_card
from vmops.lab.machine.machine import Machine
from vmops.lab.storage.vmx_text import Entries

if TYPE_CHECKING:
    from pyVmomi.vim.vm import ConfigInfo

    from vmops.lab.kernel.kernel import Kernel
    from vmops.lab.machine.machine import ToolsMemory

_device = vim.vm.device
_ip = vim.net.IpConfigInfo
_OFF = "poweredOff"
# Ours and not a lab's that a manager brings up to date: what open-vm-tools are called, too.
_UNMANAGED = "guestToolsUnmanaged"
_NOT_INSTALLED = "guestToolsNotInstalled"
_MOST_GUEST_VALUES = 128
_MOST_GUEST_CHARACTERS = 256 * 1024
_FORBIDDEN_BY = "isolation.tools.setinfo.disable"


class GuestTools:
    """`vmops.lab.hypervisor.tools.ToolsListener` of the lab's inventory."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    def tools_changed(self, key: str) -> None:
        """Show what the tools tell now."""
        vm = self._machine(key)
        if vm is not None and vm.power_state == "poweredOn":
            vm.publish(tools_changes(vm, vm.power_state))

    def info_get(self, key: str, name: str) -> str | None:
        """Return the value in the machine's extra configuration now."""
        vm = self._machine(key)
        return None if vm is None or not vm.is_accessible else vm.extra_config.get(name)

    def info_set(self, key: str, name: str, value: str) -> None:
        """Take a value into the extra configuration, until the machine is powered off.

        Raises:
            InfoRefused: the configuration forbids it, or the guest has set too much.
        """
        vm = self._machine(key)
        if vm is None or not vm.is_accessible:
            raise InfoRefused("the machine is not there")
        entries = vm.extra_config
        if entries.get(_FORBIDDEN_BY, "").upper() == "TRUE":
            raise InfoRefused(f"{_FORBIDDEN_BY} is set")
        names = {*vm.tools.values, name.lower()}
        characters = sum(len(entries.get(each, "")) for each in names - {name.lower()})
        if len(names) > _MOST_GUEST_VALUES or characters + len(value) > _MOST_GUEST_CHARACTERS:
            raise InfoRefused("the guest has set too many values")
        vm.tools.values.setdefault(name.lower(), entries.get(name))
        _put(entries, name, value or None)
        vm.publish({"config.extraConfig": _options(entries)})

    def _machine(self, key: str) -> Machine | None:
        if key not in self._kernel.registry:
            return None  # a guest found again, whose machine is not yet
        found = self._kernel.registry.get(key)
        return found if isinstance(found, Machine) else None


def tools_changes(vm: Machine, power_state: str) -> dict[str, object]:
    """Return the changes by which a machine shows its tools as they are in a power state."""
    state = NO_TOOLS
    if power_state == "poweredOn":
        state = vm.kernel.hypervisor.tools(vm.moid)
    if state.version is not None:
        vm.tools.version = state.version
    changes = {
        "guest": guest_info(vm, power_state, state),
        "guestHeartbeatStatus": vim.ManagedEntity.Status(state.heartbeat),
    }
    if vm.is_accessible:
        version = _version_number(vm.tools)
        if vm.config.tools is not None and vm.config.tools.toolsVersion != version:
            changes["config.tools.toolsVersion"] = version
        if power_state == _OFF and vm.tools.values:
            changes["config.extraConfig"] = without_guest_values(vm, vm.config.extraConfig)
            vm.tools.values.clear()
    return changes


def guest_info(vm: Machine, power_state: str, state: ToolsState) -> vim.vm.GuestInfo:
    """Build the GuestInfo."""
    installed = vm.tools.version is not None
    guest_state = "running" if power_state == "poweredOn" else "notRunning"
    not_running = "toolsNotRunning" if installed else "toolsNotInstalled"
    running = "guestToolsRunning" if state.running else "guestToolsNotRunning"
    return vim.vm.GuestInfo(
        toolsStatus="toolsOk" if state.running else not_running,
        toolsVersionStatus=_UNMANAGED if installed else _NOT_INSTALLED,
        toolsVersionStatus2=_UNMANAGED if installed else _NOT_INSTALLED,
        toolsRunningStatus=running,
        toolsVersion=vm.tools.version or "0",
        guestState=state.ending or guest_state,
        guestOperationsReady=False,
        interactiveGuestOperationsReady=False,
        guestStateChangeSupported=state.running,
        hostName=state.host_name,
        ipAddress=_main_address(state.nics),
        net=[_nic(vm, nic) for nic in state.nics],
        disk=[],
        ipStack=[],
        screen=vim.vm.GuestInfo.ScreenInfo(width=-1, height=-1),
    )


def without_guest_values(
    vm: Machine, options: Sequence[vim.option.OptionValue]
) -> list[vim.option.OptionValue]:
    """Return extra configuration as it is without what the guest has set since power-on."""
    if not vm.tools.values:
        return list(options)
    entries = Entries({option.key: str(option.value) for option in options})
    for name, before in vm.tools.values.items():
        _put(entries, name, before)
    return _options(entries)


def keep_guest_values(vm: Machine, config: ConfigInfo, spec: vim.vm.ConfigSpec) -> None:
    """Put into a new configuration what the guest has set, but for what a ConfigSpec sets."""
    given = {option.key.lower() for option in spec.extraConfig or ()}
    for name in given & vm.tools.values.keys():
        del vm.tools.values[name]
    if config.tools is not None:
        config.tools.toolsVersion = _version_number(vm.tools)
    if not vm.tools.values:
        return
    now = vm.extra_config
    entries = Entries({option.key: str(option.value) for option in config.extraConfig})
    for name in vm.tools.values:
        _put(entries, name, now.get(name))
    config.extraConfig = _options(entries)


def _put(entries: Entries, name: str, value: str | None) -> None:
    """Set or remove an entry, whose name stays as it is written."""
    if value is None:
        entries.pop(name, None)
    else:
        entries[next((key for key in entries if key.lower() == name.lower()), name)] = value


def _options(entries: Mapping[str, str]) -> list[vim.option.OptionValue]:
    return [vim.option.OptionValue(key=key, value=value) for key, value in entries.items()]


def _version_number(tools: ToolsMemory) -> int:
    return int((tools.version or "0").partition(".")[0])


def _main_address(nics: Sequence[GuestNic]) -> str | None:
    """Return the address a guest is best reached at: IPv4 first, link-local ones never."""
    usable = [
        each.ip
        for nic in nics
        for each in nic.addresses
        if not (each.is_link_local or each.is_loopback)
    ]
    usable.sort(key=lambda address: address.version)
    return str(usable[0]) if usable else None


def _nic(vm: Machine, nic: GuestNic) -> vim.vm.GuestInfo.NicInfo:
    card = next(
        (
            each
            for each in vm.devices
            if isinstance(each, _device.VirtualEthernetCard) and each.macAddress == nic.mac_address
        ),
        None,
    )
    network = None if card is None else network_of_card(vm.kernel, card)
    return vim.vm.GuestInfo.NicInfo(
        network=None if network is None else network.name,
        ipAddress=[str(each.ip) for each in nic.addresses],
        macAddress=nic.mac_address,
        connected=card is not None and bool(card.connectable and card.connectable.connected),
        deviceConfigId=-1 if card is None else card.key,
        ipConfig=_ip(ipAddress=[_address(each) for each in nic.addresses]),
    )


def _address(interface: IPv4Interface | IPv6Interface) -> _ip.IpAddress:
    return _ip.IpAddress(
        ipAddress=str(interface.ip), prefixLength=interface.network.prefixlen, state="preferred"
    )
