"""NICs on standard, distributed and opaque networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from pyVmomi import vim

from vmops.model.image import VifModel
from vmops.model.size import Allocation
from vmops.specs.extra_config import option_values
from vmops.specs.size import shares_info

# Temporary keys of devices to be added; vSphere wants them negative and different (since 7.0).
FIRST_NIC_KEY = -47

_CARDS: dict[VifModel, type[vim.vm.device.VirtualEthernetCard]] = {
    VifModel.E1000: vim.vm.device.VirtualE1000,
    VifModel.E1000E: vim.vm.device.VirtualE1000e,
    VifModel.PCNET32: vim.vm.device.VirtualPCNet32,
    VifModel.VMXNET: vim.vm.device.VirtualVmxnet,
    VifModel.VMXNET3: vim.vm.device.VirtualVmxnet3,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class NicBacking:
    """The port group a NIC is plugged into, as the server knows it."""

    kind: Literal["standard", "distributed", "opaque"]
    name: str
    portgroup_key: str = ""
    switch_uuid: str = ""


def nic_backing(backing: NicBacking) -> vim.vm.device.VirtualDevice.BackingInfo:
    """The device backing that plugs a NIC into a port group."""
    card = vim.vm.device.VirtualEthernetCard
    if backing.kind == "distributed":
        return card.DistributedVirtualPortBackingInfo(
            port=vim.dvs.PortConnection(
                switchUuid=backing.switch_uuid, portgroupKey=backing.portgroup_key
            )
        )
    if backing.kind == "opaque":
        return card.OpaqueNetworkBackingInfo(
            opaqueNetworkId=backing.portgroup_key, opaqueNetworkType="nsx.LogicalSwitch"
        )
    return card.NetworkBackingInfo(deviceName=backing.name)


def model_of(device: vim.vm.device.VirtualEthernetCard) -> VifModel | None:
    """The model of a NIC that is there; None where images cannot name it."""
    return next((model for model, card in _CARDS.items() if type(device) is card), None)


def add_nic(
    index: int,
    model: VifModel,
    mac_address: str,
    backing: NicBacking,
    allocation: Allocation | None = None,
) -> vim.vm.device.VirtualDeviceSpec:
    """The change that adds NIC number ``index``; MAC "" lets the server choose.

    ``allocation`` is in Mbit/s; None leaves it to the server.
    """
    nic = _CARDS[model](
        key=FIRST_NIC_KEY - index,
        backing=nic_backing(backing),
        addressType="manual" if mac_address else "generated",
        wakeOnLanEnabled=True,
        connectable=vim.vm.device.VirtualDevice.ConnectInfo(
            startConnected=True, allowGuestControl=True, connected=True
        ),
    )
    if mac_address:
        nic.macAddress = mac_address
    if allocation is not None:
        nic.resourceAllocation = vim.vm.device.VirtualEthernetCard.ResourceAllocation(
            reservation=allocation.reservation,
            limit=allocation.limit,
            share=shares_info(allocation),
        )
    return vim.vm.device.VirtualDeviceSpec(operation="add", device=nic)


def change_nic(
    device: vim.vm.device.VirtualEthernetCard, backing: NicBacking
) -> vim.vm.device.VirtualDeviceSpec:
    """The change that plugs a NIC that is there into a port group and connects it."""
    device.backing = nic_backing(backing)
    device.connectable = vim.vm.device.VirtualDevice.ConnectInfo(
        startConnected=True, allowGuestControl=True, connected=True
    )
    return vim.vm.device.VirtualDeviceSpec(operation="edit", device=device)


def remove_nic(device: vim.vm.device.VirtualEthernetCard) -> vim.vm.device.VirtualDeviceSpec:
    """The change that takes a NIC out."""
    return vim.vm.device.VirtualDeviceSpec(operation="remove", device=device)


def nic_changes(
    changes: Sequence[vim.vm.device.VirtualDeviceSpec], settings: Mapping[str, str]
) -> vim.vm.ConfigSpec:
    """The `vim.vm.ConfigSpec` of NIC changes, and of the extraConfig that goes with them."""
    return vim.vm.ConfigSpec(deviceChange=list(changes), extraConfig=option_values(settings))
