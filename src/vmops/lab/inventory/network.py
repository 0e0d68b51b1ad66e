"""A network: the port groups of one name on the hosts' standard switches."""

from __future__ import annotations

from pyVmomi import vim, vmodl
from pyVmomi.VmomiSupport import ManagedObject as Reference

from vmops.lab.hypervisor.port import Segment
from vmops.lab.inventory.argument_faults import entity_name, given_name
from vmops.lab.inventory.container import Container, datacenter_of
from vmops.lab.inventory.managed_entity import ManagedEntity
from vmops.lab.inventory.references import unlink
from vmops.lab.kernel.kernel import Kernel


class Network(ManagedEntity):
    """A network of virtual machines; ``nat`` gives its segment DHCP and a way out."""

    wire_type = vim.Network

    def __init__(
        self, kernel: Kernel, moid: str, *, name: str, parent: Reference, nat: bool = False
    ) -> None:
        stored = entity_name(name)
        super().__init__(kernel, moid, name=stored, parent=parent)
        self.nat = nat
        self.properties.update(
            host=[],
            vm=[],
            summary=vim.Network.Summary(
                network=self.ref, name=stored, accessible=True, ipPoolName=""
            ),
        )

    @property
    def port_group(self) -> str:
        """The name of the hosts' port groups, which the entity's is made of."""
        return given_name(self.name)

    @property
    def segment(self) -> Segment:
        """The layer-2 segment; machines on any host share it."""
        return Segment(name=self.moid, nat=self.nat)

    def rename(self, name: str) -> None:
        """Refuse: the name is that of the hosts' port groups, see UpdatePortGroup."""
        raise vmodl.fault.NotSupported(msg=f"The network '{self.name}' cannot become '{name}'.")

    def renamed(self, name: str) -> dict[str, object]:
        """Return the changes of a new name, which the summary repeats."""
        return {"name": name, "summary.name": name}

    def DestroyNetwork(self) -> None:
        """Remove a network that no host and no virtual machine has any more."""
        if self.properties["vm"] or self.properties["host"]:
            raise vim.fault.ResourceInUse(
                type=self.wire_type, name=self.name, msg=f"The network '{self.name}' is in use."
            )
        drop_network(self)


def drop_network(network: Network) -> None:
    """Take a network out of its folder, its datacenter and the registry."""
    unlink(network.kernel, datacenter_of(network), "network", network.ref)
    folder = network.parent
    if isinstance(folder, Container):
        folder.remove_child(network)
    network.kernel.remove(network)
