"""A host's standard switches and port groups."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pyVmomi import vim

from vmops.lab.inventory.argument_faults import invalid_argument
from vmops.lab.inventory.container import Container, datacenter_of
from vmops.lab.inventory.managed_entity import ManagedEntity
from vmops.lab.inventory.network import Network, drop_network
from vmops.lab.inventory.references import link, unlink
from vmops.lab.kernel.kernel import Kernel, ManagedObject

_SWITCH_KEY = "key-vim.host.VirtualSwitch-"
_GROUP_KEY = "key-vim.host.PortGroup-"
_NIC_KEY = "key-vim.host.PhysicalNic-"
_MAX_VLAN = 4095
_SWITCH_PORTS = 2560


class HostNetworkSystem(ManagedObject):
    """The networking of one host: switch vSwitch0 on vmnic0, and what clients add."""

    wire_type = vim.host.NetworkSystem

    def __init__(self, kernel: Kernel, moid: str, *, host: ManagedEntity) -> None:
        super().__init__(kernel, moid)
        self.host = host
        self.properties.update(
            networkInfo=_network_info(),
            capabilities=_capabilities(),
            dnsConfig=vim.host.DnsConfig(
                dhcp=False, hostName=host.name.partition(".")[0], domainName="lab.local", address=[]
            ),
        )

    def portgroups(self) -> list[vim.host.PortGroup]:
        """Return the HostPortGroups."""
        return list(self.properties["networkInfo"].portgroup)

    def AddPortGroup(self, portgrp: vim.host.PortGroup.Specification) -> None:
        """Add a port group, and the network of its name if that is new.

        Raises:
            vim.fault.AlreadyExists: the host has a port group of this name.
            vim.fault.NotFound: there is no such switch.
            vmodl.fault.InvalidArgument: VLAN beyond 0 to 4095, or no name.
        """
        self._check(portgrp)
        if any(group.spec.name == portgrp.name for group in self.portgroups()):
            raise vim.fault.AlreadyExists(
                name=portgrp.name,
                msg=f"The specified key, name, or identifier '{portgrp.name}' already exists.",
            )
        self._publish([*self.portgroups(), _port_group(portgrp)])
        network = self._network(portgrp.name) or self._new_network(portgrp.name)
        link(self.kernel, network, "host", self.host.ref)
        link(self.kernel, self.host, "network", network.ref)
        compute = self.host.parent
        if compute is not None:
            link(self.kernel, compute, "network", network.ref)

    def UpdatePortGroup(self, pgName: str, portgrp: vim.host.PortGroup.Specification) -> None:
        """Change a port group's VLAN, switch or policy.

        Raises:
            vim.fault.NotFound: there is no such port group or switch.
            vim.fault.ResourceInUse: its name would change while machines are on it.
        """
        old = self._group(pgName)
        self._check(portgrp)
        if portgrp.name != pgName:
            self.RemovePortGroup(pgName)
            self.AddPortGroup(portgrp)
            return
        self._publish([_port_group(portgrp) if g is old else g for g in self.portgroups()])

    def RemovePortGroup(self, pgName: str) -> None:
        """Remove a port group, and the network of its name if no other host has it.

        Raises:
            vim.fault.NotFound: there is no such port group.
            vim.fault.ResourceInUse: a virtual machine of this host is on it.
        """
        gone = self._group(pgName)
        network = self._network(pgName)
        if network is not None:
            on_host = {ref._moId for ref in self.host.properties["vm"]}
            if any(ref._moId in on_host for ref in network.properties["vm"]):
                raise vim.fault.ResourceInUse(
                    type=vim.Network, name=pgName, msg=f"The port group '{pgName}' is in use."
                )
        self._publish([group for group in self.portgroups() if group is not gone])
        if network is None:
            return
        unlink(self.kernel, network, "host", self.host.ref)
        unlink(self.kernel, self.host, "network", network.ref)
        if not network.properties["host"]:
            compute = self.host.parent
            if compute is not None:
                unlink(self.kernel, compute, "network", network.ref)
            if not network.properties["vm"]:
                drop_network(network)

    def AddVirtualSwitch(
        self, vswitchName: str, spec: vim.host.VirtualSwitch.Specification | None = None
    ) -> None:
        """Add a standard switch without uplinks.

        Raises:
            vim.fault.AlreadyExists: there is one of this name.
        """
        info = self.properties["networkInfo"]
        if any(switch.name == vswitchName for switch in info.vswitch):
            raise vim.fault.AlreadyExists(name=vswitchName)
        ports = spec.numPorts if spec is not None and spec.numPorts else _SWITCH_PORTS
        self._publish(self.portgroups(), [*info.vswitch, _switch(vswitchName, [], ports)])

    def RemoveVirtualSwitch(self, vswitchName: str) -> None:
        """Remove a standard switch.

        Raises:
            vim.fault.NotFound: there is no such switch.
            vim.fault.ResourceInUse: it has port groups.
        """
        switches = self.properties["networkInfo"].vswitch
        if all(switch.name != vswitchName for switch in switches):
            raise vim.fault.NotFound(msg=f"There is no switch '{vswitchName}'.")
        if any(group.spec.vswitchName == vswitchName for group in self.portgroups()):
            raise vim.fault.ResourceInUse(name=vswitchName)
        self._publish(self.portgroups(), [s for s in switches if s.name != vswitchName])

    def RefreshNetworkSystem(self) -> None:
        """Re-read the network configuration: it is never stale."""

    def QueryNetworkHint(
        self, device: Sequence[str] | None = None
    ) -> list[vim.host.PhysicalNic.NetworkHint]:
        """Return no hints: the lab's cable ends nowhere."""
        del device
        return []

    def _check(self, spec: vim.host.PortGroup.Specification) -> None:
        if not spec.name:
            raise invalid_argument("portgrp.name", "A port group needs a name.")
        if not 0 <= spec.vlanId <= _MAX_VLAN:
            raise invalid_argument("portgrp.vlanId", "A VLAN id is 0 to 4095.")
        switches = self.properties["networkInfo"].vswitch
        if all(switch.name != spec.vswitchName for switch in switches):
            raise vim.fault.NotFound(msg=f"There is no switch '{spec.vswitchName}'.")

    def _group(self, name: str) -> vim.host.PortGroup:
        for group in self.portgroups():
            if group.spec.name == name:
                return group
        raise vim.fault.NotFound(msg=f"There is no port group '{name}'.")

    def _network_folder(self) -> Container:
        datacenter = datacenter_of(self.host)
        return self.kernel.registry.find(datacenter.properties["networkFolder"], Container)

    def _network(self, name: str) -> Network | None:
        for child in self._network_folder().children():
            if type(child) is Network and child.port_group == name:
                return child
        return None

    def _new_network(self, name: str) -> Network:
        folder = self._network_folder()
        network = Network(
            self.kernel, self.kernel.new_moid("network"), name=name, parent=folder.ref
        )
        self.kernel.add(network)
        folder.add_child(network)
        link(self.kernel, datacenter_of(folder), "network", network.ref)
        return network

    def _publish(
        self, groups: list[vim.host.PortGroup], switches: list[vim.host.VirtualSwitch] | None = None
    ) -> None:
        old = self.properties["networkInfo"]
        shown = [
            _switch(
                switch.name,
                [g.key for g in groups if g.spec.vswitchName == switch.name],
                switch.spec.numPorts,
                switch.pnic,
            )
            for switch in (old.vswitch if switches is None else switches)
        ]
        info = vim.host.NetworkInfo(vswitch=shown, portgroup=groups, pnic=old.pnic, vnic=old.vnic)
        self.kernel.update(self, {"networkInfo": info})
        self.kernel.update(self.host, {"config.network": info})


def _network_info() -> vim.host.NetworkInfo:
    nic = vim.host.PhysicalNic(
        key=_NIC_KEY + "vmnic0",
        device="vmnic0",
        pci="0000:03:00.0",
        driver="vmxnet3",
        linkSpeed=vim.host.PhysicalNic.LinkSpeedDuplex(speedMb=10000, duplex=True),
        spec=vim.host.PhysicalNic.Specification(),
        wakeOnLanSupported=False,
        mac="02:00:00:00:00:01",
    )
    return vim.host.NetworkInfo(
        vswitch=[_switch("vSwitch0", [], _SWITCH_PORTS, [nic.key])],
        portgroup=[],
        pnic=[nic],
        vnic=[],
    )


def _switch(
    name: str, groups: list[Any], ports: int, nics: Sequence[Any] = ()
) -> vim.host.VirtualSwitch:
    bridge = None
    if nics:
        devices = [key.removeprefix(_NIC_KEY) for key in nics]
        bridge = vim.host.VirtualSwitch.BondBridge(nicDevice=devices)
    return vim.host.VirtualSwitch(
        name=name,
        key=_SWITCH_KEY + name,
        numPorts=ports,
        numPortsAvailable=ports,
        mtu=1500,
        portgroup=groups,
        pnic=list(nics),
        spec=vim.host.VirtualSwitch.Specification(
            numPorts=ports, bridge=bridge, mtu=1500, policy=vim.host.NetworkPolicy()
        ),
    )


def _port_group(spec: vim.host.PortGroup.Specification) -> vim.host.PortGroup:
    return vim.host.PortGroup(
        key=_GROUP_KEY + spec.name,
        port=[],
        vswitch=_SWITCH_KEY + spec.vswitchName,
        computedPolicy=spec.policy or vim.host.NetworkPolicy(),
        spec=spec,
    )


def _capabilities() -> vim.host.NetCapabilities:
    return vim.host.NetCapabilities(
        canSetPhysicalNicLinkSpeed=False,
        supportsNicTeaming=False,
        supportsVlan=True,
        usesServiceConsoleNic=False,
        supportsNetworkHints=False,
        maxPortGroupsPerVswitch=_SWITCH_PORTS,
        vswitchConfigSupported=True,
        vnicConfigSupported=False,
        ipRouteConfigSupported=False,
        dnsConfigSupported=False,
        dhcpOnVnicSupported=False,
        ipV6Supported=False,
    )
