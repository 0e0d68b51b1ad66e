"""A distributed switch."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pyVmomi import vim

from vmops.lab.inventory.managed_entity import ManagedEntity
from vmops.lab.inventory.wire_defaults import filled
from vmops.lab.objects.distributed_virtual_portgroup import (
    DistributedVirtualPortgroup,
    vlan_setting,
)

if TYPE_CHECKING:
    from vmops.lab.kernel.kernel import Kernel


class DistributedVirtualSwitch(ManagedEntity):
    """A VMware distributed switch that all hosts are members of."""

    wire_type = vim.dvs.VmwareDistributedVirtualSwitch

    def __init__(  # noqa: PLR0913 - a switch is all of these
        self,
        kernel: Kernel,
        moid: str,
        *,
        name: str,
        parent: Any,
        uuid: str,
        hosts: list[Any],
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
                defaultPortConfig=vlan_setting(0),
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

    def renamed(self, name: str) -> dict[str, Any]:
        """Return the changes of a new name, which config and summary repeat."""
        return {"name": name, "summary.name": name, "config.name": name}

    def portgroups(self) -> list[DistributedVirtualPortgroup]:
        """List the switch's port groups."""
        find = self.kernel.registry.find
        return [find(ref, DistributedVirtualPortgroup) for ref in self.properties["portgroup"]]

    def FetchDVPorts(self, criteria: Any = None) -> list[Any]:
        """List the ports, filtered by port group, port key and whether they are connected."""
        ports = []
        for group in self.portgroups():
            connected = {key: (vm, nic) for key, vm, nic in group.connections()}
            for key in group.properties["portKeys"]:
                vm, nic = connected.get(key, (None, None))
                if _asked_for(criteria, group.moid, key, connected=vm is not None):
                    ports.append(self._port(group, key, vm, nic))
        return ports

    def _port(self, group: DistributedVirtualPortgroup, key: str, vm: Any, nic: Any) -> Any:
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
        if vm is not None:
            port.connectee = vim.dvs.PortConnectee(
                connectedEntity=vm.ref, nicKey=str(nic.key), type="vmVnic"
            )
            port.connectionCookie = nic.backing.port.connectionCookie
            port.state = vim.dvs.DistributedVirtualPort.State(
                runtimeInfo=vim.dvs.DistributedVirtualPort.RuntimeInfo(
                    linkUp=bool(nic.connectable.connected),
                    blocked=False,
                    macAddress=nic.macAddress,
                ),
                stats=filled(vim.dvs.PortStatistics),
            )
        return port


def _asked_for(criteria: Any, group: str, key: str, *, connected: bool) -> bool:
    if criteria is None:
        return True
    if criteria.connected is not None and bool(criteria.connected) != connected:
        return False
    if criteria.portgroupKey and (group in criteria.portgroupKey) == (criteria.inside is False):
        return False
    return not criteria.portKey or key in criteria.portKey
