"""The config drive of a new instance: made, and put into its folder, from where it is attached.

It lies beside the instance's disks and is reached by HTTP, so it costs no call of the API, and goes
where they go.
"""

from __future__ import annotations

import contextlib
import ipaddress
from collections.abc import Sequence
from typing import Any

from vmops.errors import FileLocked
from vmops.images.config_drive import ConfigDrive, build
from vmops.model.datastore_path import DatastorePath
from vmops.model.instance import Subnet, Vif
from vmops.ops.engine.engine import Engine
from vmops.steps import Reversible, noting, step

FILE_NAME = "configdrive.iso"


def network_data(vifs: Sequence[Vif]) -> dict[str, Any] | None:
    """OpenStack's ``network_data.json``: each NIC by its MAC address, with its fixed addresses.

    A NIC without fixed addresses asks for one by DHCP. None if a NIC's MAC address is left to the
    server, because a guest that finds some of its NICs leaves the others alone.
    """
    if not vifs or not all(vif.mac_address for vif in vifs):
        return None
    links, networks = [], []
    for number, vif in enumerate(vifs):
        link = f"nic{number}"
        links.append(
            {
                "id": link,
                "vif_id": vif.id,
                "type": "phy",
                "ethernet_mac_address": vif.mac_address,
                "mtu": None,
            }
        )
        networks += [
            {"id": f"network{number}.{n}", "link": link, **network}
            for n, network in enumerate(_networks(vif))
        ]
    servers = dict.fromkeys(dns for vif in vifs for subnet in vif.subnets for dns in subnet.dns)
    return {"links": links, "networks": networks, "services": [_dns(one) for one in servers]}


def _networks(vif: Vif) -> list[dict[str, Any]]:
    fixed = [
        _fixed(subnet, address, is_first=n == 0)
        for subnet in vif.subnets
        for n, address in enumerate(subnet.addresses)
    ]
    versions = sorted({subnet.version for subnet in vif.subnets} or {4})
    return fixed or [{"type": f"ipv{version}_dhcp"} for version in versions]


def _fixed(subnet: Subnet, address: str, *, is_first: bool) -> dict[str, Any]:
    network = ipaddress.ip_network(subnet.cidr, strict=False)
    anywhere = ipaddress.ip_network("0.0.0.0/0" if subnet.version == 4 else "::/0")
    route = {
        "network": str(anywhere.network_address),
        "netmask": str(anywhere.netmask),
        "gateway": subnet.gateway,
    }
    return {
        "type": f"ipv{subnet.version}",
        "ip_address": address,
        "netmask": str(network.netmask),
        "routes": [route] if subnet.gateway and is_first else [],
        "services": [_dns(one) for one in subnet.dns],
    }


def _dns(address: str) -> dict[str, str]:
    return {"type": "dns", "address": address}


@step("Upload the config drive")
def upload_config_drive(
    engine: Engine, drive: ConfigDrive, folder: DatastorePath
) -> Reversible[DatastorePath]:
    """Write the config drive into the VM's folder, for this instance only."""
    target = folder.joined(FILE_NAME)
    files = engine.session.datastore_files
    content = build(drive)
    try:
        files.write(target, content)
    except BaseException as first:
        with noting(first, f"delete {target}"):
            files.delete(target, missing_ok=True)
        raise
    yield target
    with contextlib.suppress(FileLocked):  # attached, and the VM is on: it goes with the VM
        files.delete(target, missing_ok=True)
