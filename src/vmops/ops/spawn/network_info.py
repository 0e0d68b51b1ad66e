"""The guest's network settings, given to it through its VM's extraConfig.

Two forms: ``machine.id``, which scripts in older images read through VMware Tools, and
``guestinfo.metadata``, which cloud-init's datasource VMware reads (network configuration version 2,
base64; see cloud-init's documentation, "VMware").
"""

from __future__ import annotations

import base64
import ipaddress
import json
from collections.abc import Sequence
from typing import Any

from vmops.model.instance import Subnet, Vif
from vmops.specs.virtual_machine import settings
from vmops.steps import Operation, Reversible, step
from vmops.vsphere.objects.virtual_machine import VirtualMachine

MACHINE_ID = "machine.id"
METADATA = "guestinfo.metadata"
METADATA_ENCODING = "guestinfo.metadata.encoding"


def inject_network_info(vm: VirtualMachine, name: str, vifs: Sequence[Vif]) -> None:
    """Tell an instance's guest its addresses, in one reconfiguration.

    1. Write the guest's network settings

    Raises:
        InstanceNotFound: there is no such instance.
    """
    with Operation("inject_network_info") as run:
        run(write_settings(vm, network_settings(vm.instance_uuid, name, vifs)))


@step("Write the guest's network settings")
def write_settings(vm: VirtualMachine, values: dict[str, str]) -> Reversible[None]:
    """Set the keys that the guest reads."""
    vm.reconfigure(settings(values))
    yield


def network_settings(instance_uuid: str, name: str, vifs: Sequence[Vif]) -> dict[str, str]:
    """The extraConfig that tells a guest its addresses."""
    metadata = {
        "instance-id": instance_uuid,
        **({"local-hostname": name} if name else {}),
        "network": {"version": 2, "ethernets": _ethernets(vifs)},
    }
    return {
        MACHINE_ID: machine_id(vifs),
        METADATA: base64.b64encode(json.dumps(metadata).encode()).decode(),
        METADATA_ENCODING: "base64",
    }


def machine_id(vifs: Sequence[Vif]) -> str:
    """``mac;ip;netmask;gateway;broadcast;dns#`` for each interface.

    The fields are those of its first IPv4 subnet; what there is not stays empty, all of it for an
    interface with IPv6 only.
    """
    return "".join(f"{vif.mac_address};{';'.join(_first_ipv4(vif))}#" for vif in vifs)


def _first_ipv4(vif: Vif) -> tuple[str, str, str, str, str]:
    subnet = next((s for s in vif.subnets if s.version == 4), None)
    if subnet is None:
        return ("", "", "", "", "")
    network = ipaddress.ip_network(subnet.cidr, strict=False)
    has_broadcast = network.prefixlen < network.max_prefixlen - 1  # RFC 3021
    return (
        next(iter(subnet.addresses), ""),
        str(network.netmask),
        subnet.gateway,
        str(network.broadcast_address) if has_broadcast else "",
        next(iter(subnet.dns), ""),
    )


def _ethernets(vifs: Sequence[Vif]) -> dict[str, Any]:
    return {f"nic{n}": _ethernet(vif) for n, vif in enumerate(vifs)}


def _ethernet(vif: Vif) -> dict[str, Any]:
    """One interface in netplan's words; without fixed addresses it asks for one."""
    told: dict[str, Any] = {}
    if vif.mac_address:
        told["match"] = {"macaddress": vif.mac_address}
    addresses = [f"{address}/{_prefix(s)}" for s in vif.subnets for address in s.addresses]
    if not addresses:
        versions = {s.version for s in vif.subnets} or {4}
        return {**told, **{f"dhcp{version}": True for version in sorted(versions)}}
    told["addresses"] = addresses
    told["routes"] = [
        {"to": "0.0.0.0/0" if s.version == 4 else "::/0", "via": s.gateway}
        for s in vif.subnets
        if s.gateway
    ]
    told["nameservers"] = {"addresses": [server for s in vif.subnets for server in s.dns]}
    return told


def _prefix(subnet: Subnet) -> int:
    return int(ipaddress.ip_network(subnet.cidr, strict=False).prefixlen)
