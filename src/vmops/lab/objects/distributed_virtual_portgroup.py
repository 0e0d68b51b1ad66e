"""A port group of a distributed switch, with its ports."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pyVmomi import vim

from vmops.lab.inventory.managed_entity import ManagedEntity
from vmops.lab.inventory.network import Network
from vmops.lab.inventory.wire_defaults import filled

if TYPE_CHECKING:
    from vmops.lab.inventory.distributed_switch import DistributedVirtualSwitch
    from vmops.lab.kernel.kernel import Kernel

_PortConnection: Any = vim.dvs.PortConnection


class DistributedVirtualPortgroup(Network):
    """A distributed port group with static binding whose ports grow with demand."""

    wire_type = vim.dvs.DistributedVirtualPortgroup

    def __init__(  # noqa: PLR0913 - a port group is all of these
        self,
        kernel: Kernel,
        moid: str,
        *,
        name: str,
        parent: Any,
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
                defaultPortConfig=vlan_setting(0),
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

    def renamed(self, name: str) -> dict[str, Any]:
        """Return the changes of a new name, which config and summary repeat."""
        return {**super().renamed(name), "config.name": name}

    def connections(self) -> Iterator[tuple[str, Any, Any]]:
        """Yield port key, virtual machine and network card of every connected port."""
        for ref in self.properties["vm"]:
            vm = self.kernel.registry.get(ref)
            config = vm.properties["config"]
            for device in () if config is None else config.hardware.device:
                port = getattr(getattr(device, "backing", None), "port", None)
                if isinstance(port, _PortConnection) and port.portgroupKey == self.moid:
                    yield port.portKey, vm, device

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
        if key.isdigit() and key not in self.properties["portKeys"]:
            keys = [*self.properties["portKeys"], key]
            self._next_port = max(self._next_port, int(key) + 1)
            self.kernel.update(self, {"portKeys": keys, "config.numPorts": len(keys)})


def vlan_setting(vlan_id: int) -> Any:
    """Build the port setting that tags frames with one VLAN (0: none)."""
    return vim.dvs.VmwareDistributedVirtualSwitch.VmwarePortConfigPolicy(
        blocked=vim.BoolPolicy(inherited=False, value=False),
        vlan=vim.dvs.VmwareDistributedVirtualSwitch.VlanIdSpec(inherited=False, vlanId=vlan_id),
    )
