"""A distributed switch, and its port groups with their ports."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from pyVmomi import vim
from pyVmomi.VmomiSupport import ManagedObject as Reference

from vmops.lab.inventory.managed_entity import ManagedEntity
from vmops.lab.inventory.network import Network
from vmops.lab.inventory.wire_defaults import filled
from vmops.lab.kernel.kernel import Kernel, ManagedObject
from vmops.numbers import INT_MAX, whole_number

_PortConnection = vim.dvs.PortConnection


class DistributedVirtualSwitch(ManagedEntity):
    """A VMware distributed switch that all hosts are members of."""

    wire_type = vim.dvs.VmwareDistributedVirtualSwitch

    def __init__(  # noqa: PLR0913 - a switch is all of these
        self,
        kernel: Kernel,
        moid: str,
        *,
        name: str,
        parent: Reference,
        uuid: str,
        hosts: list[Reference],
        version: str,
    ) -> None:
        super().__init__(kernel, moid, name=name, parent=parent)
        self._created = datetime.now(UTC)
        product = vim.dvs.ProductSpec(
            name="DVS", vendor="VMware, Inc.", version=version, forwardingClass="etherswitch"
        )
        self.properties.update(
            uuid=uuid,
            capability=vim.DistributedVirtualSwitch.Capability(
                dvsOperationSupported=False, dvPortGroupOperationSupported=False
            ),
            summary=vim.DistributedVirtualSwitch.Summary(
                name=name,
                uuid=uuid,
                numPorts=0,
                productInfo=product,
                hostMember=list(hosts),
                vm=[],
                host=list(hosts),
                portgroupName=[],
                description="",
                numHosts=len(hosts),
            ),
            config=filled(
                vim.dvs.VmwareDistributedVirtualSwitch.ConfigInfo,
                uuid=uuid,
                name=name,
                maxPorts=2_147_483_647,
                uplinkPortPolicy=vim.DistributedVirtualSwitch.NameArrayUplinkPortPolicy(
                    uplinkPortName=["Uplink 1"]
                ),
                defaultPortConfig=_vlan_setting(0),
                productInfo=product,
                configVersion="1",
                createTime=self._created,
                maxMtu=1500,
                host=[
                    vim.dvs.HostMember(
                        config=vim.dvs.HostMember.ConfigInfo(
                            host=host, maxProxySwitchPorts=512, backing=vim.dvs.HostMember.Backing()
                        ),
                        status="up",
                        productInfo=product,
                    )
                    for host in hosts
                ],
            ),
            networkResourcePool=[],
            portgroup=[],
        )

    def renamed(self, name: str) -> dict[str, object]:
        """Return the changes of a new name, which config and summary repeat."""
        return {"name": name, "summary.name": name, "config.name": name}

    def portgroups(self) -> list[DistributedVirtualPortgroup]:
        """List the switch's port groups."""
        find = self.kernel.registry.find
        return [find(ref, DistributedVirtualPortgroup) for ref in self.properties["portgroup"]]

    def FetchDVPorts(
        self, criteria: vim.dvs.PortCriteria | None = None
    ) -> list[vim.dvs.DistributedVirtualPort]:
        """List the ports, filtered by port group, port key and whether they are connected."""
        ports = []
        for group in self.portgroups():
            connected = {key: (vm, nic) for key, vm, nic in group.connections()}
            for key in group.properties["portKeys"]:
                held = connected.get(key)
                if _asked_for(criteria, group.moid, key, connected=held is not None):
                    ports.append(self._port(group, key, held))
        return ports

    def _port(
        self, group: DistributedVirtualPortgroup, key: str, held: tuple[ManagedObject, Any] | None
    ) -> vim.dvs.DistributedVirtualPort:
        port = vim.dvs.DistributedVirtualPort(
            key=key,
            config=vim.dvs.DistributedVirtualPort.ConfigInfo(
                configVersion="0", setting=group.properties["config"].defaultPortConfig
            ),
            dvsUuid=self.properties["uuid"],
            portgroupKey=group.moid,
            conflict=False,
            lastStatusChange=self._created,
        )
        if held is not None:
            vm, nic = held
            port.connectee = vim.dvs.PortConnectee(
                connectedEntity=vm.ref, nicKey=str(nic.key), type="vmVnic"
            )
            port.connectionCookie = nic.backing.port.connectionCookie
            port.state = vim.dvs.DistributedVirtualPort.State(
                runtimeInfo=vim.dvs.DistributedVirtualPort.RuntimeInfo(
                    linkUp=bool(nic.connectable.connected), blocked=False, macAddress=nic.macAddress
                ),
                stats=filled(vim.dvs.PortStatistics),
            )
        return port


class DistributedVirtualPortgroup(Network):
    """A distributed port group with static binding whose ports grow with demand."""

    wire_type = vim.dvs.DistributedVirtualPortgroup

    def __init__(  # noqa: PLR0913 - a port group is all of these
        self,
        kernel: Kernel,
        moid: str,
        *,
        name: str,
        parent: Reference,
        switch: DistributedVirtualSwitch,
        nat: bool = False,
        first_port: int = 0,
        ports: int = 8,
    ) -> None:
        super().__init__(kernel, moid, name=name, parent=parent, nat=nat)
        self.switch = switch
        self.reserved: set[str] = set()
        """Ports given to cards that are being added right now."""
        self._next_port = first_port + ports
        self.properties.update(
            key=moid,
            portKeys=[str(first_port + number) for number in range(ports)],
            config=vim.dvs.DistributedVirtualPortgroup.ConfigInfo(
                key=moid,
                name=name,
                numPorts=ports,
                distributedVirtualSwitch=switch.ref,
                defaultPortConfig=_vlan_setting(0),
                description="",
                type="earlyBinding",
                backingType="standard",
                policy=filled(
                    vim.dvs.DistributedVirtualPortgroup.PortgroupPolicy,
                    blockOverrideAllowed=True,
                    livePortMovingAllowed=False,
                    portConfigResetAtDisconnect=True,
                ),
                autoExpand=True,
                configVersion="1",
                uplink=False,
            ),
        )

    def rename(self, name: str) -> None:
        """Give the port group another name; see `ManagedEntity.rename`."""
        ManagedEntity.rename(self, name)

    def renamed(self, name: str) -> dict[str, object]:
        """Return the changes of a new name, which config and summary repeat."""
        return {**super().renamed(name), "config.name": name}

    def connections(self) -> Iterator[tuple[str, ManagedObject, Any]]:
        """Yield port key, virtual machine and network card of every connected port."""
        for ref in self.properties["vm"]:
            vm = self.kernel.registry.get(ref)
            config = vm.properties["config"]
            for device in () if config is None else config.hardware.device:
                port = getattr(getattr(device, "backing", None), "port", None)
                if isinstance(port, _PortConnection) and port.portgroupKey == self.moid:
                    yield port.portKey or "", vm, device

    def free_port(self, taken: set[str]) -> str:
        """Return the key of a port nobody is connected to, adding ports if there is none.

        ``taken`` are ports given out in the same operation, not yet connected.
        """
        used = taken | {key for key, _, _ in self.connections()}
        for key in self.properties["portKeys"]:
            if key not in used:
                return str(key)
        keys = list(self.properties["portKeys"])
        while True:
            key = str(self._next_port)
            self._next_port += 1
            keys.append(key)
            if key not in used:
                break
        self.kernel.update(self, {"portKeys": keys, "config.numPorts": len(keys)})
        return key

    def adopt_port(self, key: str) -> None:
        """Count a port key that a virtual machine brings along as one of this group."""
        number = whole_number(key, INT_MAX)
        if number is not None and key not in self.properties["portKeys"]:
            keys = [*self.properties["portKeys"], key]
            self._next_port = max(self._next_port, number + 1)
            self.kernel.update(self, {"portKeys": keys, "config.numPorts": len(keys)})


def _vlan_setting(vlan_id: int) -> vim.dvs.VmwareDistributedVirtualSwitch.VmwarePortConfigPolicy:
    """Build the port setting that tags frames with one VLAN (0: none)."""
    return vim.dvs.VmwareDistributedVirtualSwitch.VmwarePortConfigPolicy(
        blocked=vim.BoolPolicy(inherited=False, value=False),
        vlan=vim.dvs.VmwareDistributedVirtualSwitch.VlanIdSpec(inherited=False, vlanId=vlan_id),
    )


def _asked_for(
    criteria: vim.dvs.PortCriteria | None, group: str, key: str, *, connected: bool
) -> bool:
    if criteria is None:
        return True
    if criteria.connected is not None and bool(criteria.connected) != connected:
        return False
    if criteria.portgroupKey and (group in criteria.portgroupKey) == (criteria.inside is False):
        return False
    return not criteria.portKey or key in criteria.portKey
