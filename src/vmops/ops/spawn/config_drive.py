"""The config drive of a new instance: made, and put into its folder, from where it is attached.

It lies beside the instance's disks and is reached by HTTP, so it costs no call of the API, and goes
where they go.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vmops.errors import FileLocked, Invalid
from vmops.images.config_drive import ConfigDrive, GuestFile, build
from vmops.model.datastore_path import DatastorePath
from vmops.model.instance import Instance, Subnet, Vif
from vmops.ops.engine.engine import Engine
from vmops.ops.vmops.shapes import Shape, field, host_name
from vmops.steps import Reversible, noting, step

FILE_NAME = "configdrive.iso"
_YES = {"true", "yes", "on", "1"}


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestData:
    """What a caller has for the guest besides the instance.

    ``wanted`` None: the instance says whether it gets a config drive, and it does if there is user
    data, a file or a key, for which there is no other way into the guest.
    """

    wanted: bool | None = None
    user_data: bytes | str | None = None
    injected_files: Iterable[tuple[str, bytes | str]] | None = None
    public_keys: Mapping[str, str] | None = None
    admin_password: str | None = None

    def __repr__(self) -> str:
        return f"GuestData(wanted={self.wanted})"


def make_config_drive(
    shape: Shape,
    instance: Instance,
    vifs: Sequence[Vif],
    data: GuestData,
    *,
    is_required: bool = False,
) -> ConfigDrive | None:
    """The config drive that an instance gets; None if it gets none.

    ``shape`` is the instance as the caller gave it: Nova's has user data (base64), a key, metadata,
    a host name and more. What ``data`` has wins. ``is_required`` says that the image or the engine
    wants one.

    Raises:
        Invalid: there is something for the guest, but ``data.wanted`` is False; or the instance's
            user data is not base64.
    """
    given = data.user_data or data.injected_files or data.public_keys
    if data.wanted is False:
        if given:
            raise Invalid("User data, files and keys reach the guest by a config drive only.")
        return None
    if not (data.wanted or given or is_required or _says_so(shape)):
        return None
    return ConfigDrive(
        uuid=instance.uuid,
        name=str(field(shape, "display_name") or instance.name),
        hostname=host_name(shape) or instance.name,
        project_id=instance.project_id,
        availability_zone=str(field(shape, "availability_zone", default="")),
        launch_index=int(field(shape, "launch_index", default=0)),
        metadata={str(k): str(v) for k, v in field(shape, "metadata", default={}).items()},
        public_keys=data.public_keys or _key(shape),
        user_data=_bytes(data.user_data) if data.user_data else _user_data(shape),
        network_data=network_data(vifs),
        files=tuple(
            GuestFile(path=str(path), content=_bytes(content))
            for path, content in data.injected_files or ()
        ),
        admin_password=data.admin_password or "",
    )


def _says_so(shape: Shape) -> bool:
    """Nova's ``config_drive`` is a text, which is empty for no."""
    return str(field(shape, "config_drive", default="")).strip().lower() in _YES


def _key(shape: Shape) -> dict[str, str]:
    data = field(shape, "key_data")
    return {str(field(shape, "key_name", default="default")): str(data)} if data else {}


def _user_data(shape: Shape) -> bytes:
    try:
        return base64.b64decode(str(field(shape, "user_data", default="")), validate=True)
    except binascii.Error:
        raise Invalid("The instance's user data is not base64.") from None


def _bytes(content: bytes | str) -> bytes:
    return content.encode() if isinstance(content, str) else bytes(content)


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
