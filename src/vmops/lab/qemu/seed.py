"""What cloud-init in a guest without tools is told: guestinfo, as a disc that "NoCloud" reads.

On vSphere cloud-init asks for ``guestinfo.metadata``, ``guestinfo.userdata`` and
``guestinfo.vendordata`` over a channel that QEMU has not. A read-only disc with the label CIDATA
says the same to any image. It is no part of the machine's hardware.

See: cloud-init's documentation, data sources "VMware" and "NoCloud".
"""

from __future__ import annotations

import base64
import io
import json
import zlib
from collections.abc import Mapping
from pathlib import Path

import yaml

from vmops.lab.hypervisor.errors import HypervisorError
from vmops.lab.hypervisor.port import GuestDefinition

FILE = "seed.iso"
LABEL = "CIDATA"
_KEYS = ("guestinfo.metadata", "guestinfo.userdata", "guestinfo.vendordata")
# Labels of discs that cloud-init looks at before it asks VMware.
_STRONGER = (b"config-2", b"cidata")
_LABEL_AT = 16 * 2048 + 40  # in the primary volume descriptor, ECMA-119 section 8.4
_LABEL_BYTES = 32
_LARGEST_BYTES = 16 * 1024 * 1024
_GZIP = 16 + zlib.MAX_WBITS


def wants_seed(machine: GuestDefinition) -> bool:
    """Say whether the guest gets a disc: it is told something, and by no other disc. Blocks."""
    if not any(_lower(machine.extra_config).get(key) for key in _KEYS):
        return False
    images = [drive.image for drive in machine.cdroms if drive.image is not None]
    return not any(_label(image) in _STRONGER for image in images)


def write_seed(machine: GuestDefinition, file: Path) -> None:
    """Write the disc. Blocks.

    Raises:
        HypervisorError: a value is not encoded as it says, or the file cannot be written.
    """
    content = _disc(seed_files(machine))
    try:
        file.touch(mode=0o600)
        file.write_bytes(content)
    except OSError as error:
        raise HypervisorError(f"the guest's seed cannot be written: {error}") from error


def seed_files(machine: GuestDefinition) -> dict[str, bytes]:
    """Return the disc's files by name.

    Raises:
        HypervisorError: a value is not encoded as it says, or the metadata is no mapping.
    """
    told = _lower(machine.extra_config)
    metadata = _metadata(_decoded(told, "guestinfo.metadata"))
    network = metadata.pop("network", None)
    network_encoding = str(metadata.pop("network.encoding", ""))
    if isinstance(network, str):
        text = _decode("metadata.network", network, network_encoding)
        network = _yaml("metadata.network", text)
    files = {
        "meta-data": json.dumps(
            {"instance-id": machine.bios_uuid, **metadata}, default=str
        ).encode(),
        "user-data": _decoded(told, "guestinfo.userdata"),
    }
    if vendor_data := _decoded(told, "guestinfo.vendordata"):
        files["vendor-data"] = vendor_data
    if network:
        files["network-config"] = json.dumps(network, default=str).encode()
    return files


def _lower(options: Mapping[str, str]) -> dict[str, str]:
    return {key.lower(): value for key, value in options.items()}


def _metadata(text: bytes) -> dict[str, object]:
    content = _yaml("guestinfo.metadata", text) if text.strip() else {}
    if not isinstance(content, dict):
        raise HypervisorError("guestinfo.metadata is not a mapping")
    return content


def _yaml(name: str, text: bytes) -> object:
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise HypervisorError(f"{name} is neither JSON nor YAML") from error


def _decoded(told: Mapping[str, str], key: str) -> bytes:
    return _decode(key, told.get(key, ""), told.get(f"{key}.encoding", ""))


def _decode(name: str, value: str, encoding: str) -> bytes:
    """Return a value in plain; the text of an error does not repeat it, it may be a password."""
    match encoding.lower():
        case "":
            return value.encode()
        case "base64" | "b64":
            packed = False
        case "gzip+base64" | "gz+b64":
            packed = True
        case _:
            raise HypervisorError(f"{name} has the unknown encoding '{encoding}'")
    try:
        content = base64.b64decode(value)
        return _unpacked(content) if packed else content
    except (ValueError, OSError, EOFError, zlib.error) as error:
        raise HypervisorError(f"{name} is not {encoding}") from error


def _unpacked(content: bytes) -> bytes:
    unpacker = zlib.decompressobj(_GZIP)
    text = unpacker.decompress(content, _LARGEST_BYTES)
    if not unpacker.eof:
        raise ValueError("cut short, or too large")
    return text


def _label(image: Path) -> bytes:
    try:
        with image.open("rb") as stream:
            stream.seek(_LABEL_AT)
            return stream.read(_LABEL_BYTES).strip(b" \0").lower()
    except OSError:
        return b""


def _disc(files: Mapping[str, bytes]) -> bytes:
    import pycdlib  # noqa: PLC0415 - slow to import, and few guests need it

    disc = pycdlib.PyCdlib()
    disc.new(interchange_level=3, joliet=3, rock_ridge="1.09", vol_ident=LABEL)
    for index, (name, content) in enumerate(files.items()):
        disc.add_fp(
            io.BytesIO(content),
            len(content),
            f"/FILE{index}.;1",
            rr_name=name,
            joliet_path=f"/{name}",
        )
    written = io.BytesIO()
    disc.write_fp(written)
    disc.close()
    return written.getvalue()
