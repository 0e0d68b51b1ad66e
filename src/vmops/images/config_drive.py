"""The config drive: an ISO image from which a guest's first boot reads what it is to be.

The layout is that of OpenStack's config drive, version 2, as cloud-init's datasource ConfigDrive
and cloudbase-init read it: label ``config-2``, the files of ``openstack/<version>/`` under a dated
version and under ``latest``, files to be put into the guest under ``openstack/content/``.
"""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from vmops import units
from vmops.errors import Invalid
from vmops.images.iso import build_iso

LABEL = "config-2"
VERSIONS = ("2018-08-27", "latest")
"""The dated one is the newest that cloud-init knows (its ``OS_ROCKY``)."""
MAX_BYTES = 64 * units.MIB
"""Of user data and files."""
_SEED_BYTES = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestFile:
    """A file that the guest's first boot writes; ``path`` is where, inside the guest."""

    path: str
    content: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if not self.path or "\0" in self.path:
            raise Invalid(f"{self.path!r} is not the path of a file in a guest.")


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigDrive:
    """What the guest is told. Secrets are kept out of its ``repr``.

    Raises:
        Invalid: there is more than `MAX_BYTES` of it.
    """

    uuid: str
    name: str
    hostname: str = ""
    project_id: str = ""
    availability_zone: str = ""
    launch_index: int = 0
    metadata: Mapping[str, str] = field(default_factory=dict)
    public_keys: Mapping[str, str] = field(default_factory=dict)
    """SSH keys by name."""
    user_data: bytes = field(default=b"", repr=False)
    vendor_data: Mapping[str, Any] = field(default_factory=dict)
    network_data: Mapping[str, Any] | None = None
    """In OpenStack's form; None leaves the network to the guest."""
    files: tuple[GuestFile, ...] = ()
    admin_password: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        total = len(self.user_data) * len(VERSIONS) + sum(len(f.content) for f in self.files)
        if total > MAX_BYTES:
            raise Invalid(
                f"A config drive of {units.human_bytes(total)} is too big: it holds at most"
                f" {units.human_bytes(MAX_BYTES)}."
            )


def build(drive: ConfigDrive) -> bytes:
    """The ISO image's bytes, ready to be uploaded."""
    told = {
        "meta_data.json": _json(_meta_data(drive)),
        "vendor_data.json": _json(drive.vendor_data),
    }
    if drive.network_data is not None:
        told["network_data.json"] = _json(drive.network_data)
    if drive.user_data:
        told["user_data"] = drive.user_data
    files = {
        f"openstack/{version}/{name}": content
        for version in VERSIONS
        for name, content in told.items()
    }
    files.update(
        (f"openstack/{_content(number)}", file.content) for number, file in enumerate(drive.files)
    )
    return build_iso(LABEL, files)


def _content(number: int) -> str:
    return f"content/{number:04}"


def _meta_data(drive: ConfigDrive) -> dict[str, Any]:
    told: dict[str, Any] = {
        "uuid": drive.uuid,
        "name": drive.name,
        "hostname": drive.hostname or drive.name,
        "launch_index": drive.launch_index,
        "project_id": drive.project_id,
        "availability_zone": drive.availability_zone,
        "meta": dict(drive.metadata),
        "devices": [],
        "random_seed": base64.b64encode(secrets.token_bytes(_SEED_BYTES)).decode("ascii"),
    }
    if drive.public_keys:
        told["public_keys"] = dict(drive.public_keys)
        told["keys"] = [
            {"name": name, "type": "ssh", "data": key} for name, key in drive.public_keys.items()
        ]
    if drive.files:
        told["files"] = [
            {"path": file.path, "content_path": f"/{_content(number)}"}
            for number, file in enumerate(drive.files)
        ]
    if drive.admin_password:
        told["admin_pass"] = drive.admin_password
    return told


def _json(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content).encode()
