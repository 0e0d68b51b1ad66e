"""The text of a VMDK: read with suspicion, written as vSphere writes it.

A descriptor names other files, so it is the classic way to make a server read what it should not
(CVE-2022-47951). Here an extent is a plain name in the descriptor's own folder or the descriptor
is refused, before anything is opened.

See: VMware, Virtual Disk Format 5.0, "The Descriptor File".
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Self

from vmops.lab.storage.uuids import spaced_uuid, uuid_digits

SECTOR = 512
LARGEST_DESCRIPTOR = 64 * 1024
"""Bytes; real ones have below 2 KiB."""
LARGEST_CAPACITY = 62 * 1024**4
"""Bytes; vSphere 8 Configuration Maximums, virtual disk size."""
NO_PARENT_CID = "ffffffff"
SIGNATURE = "# Disk DescriptorFile"

Adapter = Literal["lsiLogic", "busLogic", "ide"]

_EXTENT = re.compile(
    r'(RW|RDONLY|NOACCESS)\s+([0-9]{1,15})\s+([A-Za-z0-9]+)(?:\s+"(.*)"(?:\s+([0-9]{1,15}))?)?'
)
_PAIR = re.compile(r'([A-Za-z][\w.]*)\s*=\s*(?:"(.*)"|(.*?))')
_KEYS = {
    "version", "encoding", "cid", "parentcid", "isnativesnapshot", "createtype",
    "parentfilenamehint",
}  # fmt: skip
_CID = re.compile(r"[0-9a-f]{1,8}")


class DescriptorError(ValueError):
    """The text is not a descriptor that can be used; the message is a reason for the user."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """One line of the extent list: ``sectors`` of 512 bytes in ``file_name``."""

    access: str = "RW"
    sectors: int
    kind: str
    """In capitals: VMFS, FLAT, VMFSSPARSE, SPARSE, ZERO, ..."""
    file_name: str | None
    offset_sectors: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Geometry:
    """What the BIOS is told of the disk."""

    cylinders: int
    heads: int
    sectors: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Descriptor:
    """A parsed descriptor; ``ddb`` holds the disk database without its ``ddb.`` prefixes."""

    create_type: str
    extents: tuple[Extent, ...]
    cid: str
    parent_cid: str = NO_PARENT_CID
    parent_hint: str | None = None
    ddb: Mapping[str, str] = field(default_factory=dict)

    @property
    def capacity_bytes(self) -> int:
        """The disk's size as the guest sees it."""
        return sum(extent.sectors for extent in self.extents) * SECTOR

    @property
    def adapter(self) -> Adapter:
        """The controller the disk was made for; lsiLogic where nothing known is said."""
        known: dict[str, Adapter] = {"ide": "ide", "buslogic": "busLogic"}
        return known.get(self.ddb.get("adapterType", "").lower(), "lsiLogic")

    @property
    def uuid(self) -> str:
        """The disk's identity, ``60 00 C2 9x ...``; "" where the descriptor has no valid one."""
        try:
            return normal_uuid(self.ddb.get("uuid", ""))
        except DescriptorError:
            return ""

    @classmethod
    def parse(cls, content: bytes) -> Self:
        """Read a descriptor; NULs may only pad its end.

        Raises:
            DescriptorError: too long, not a descriptor, or it names a file that is not a plain
                name, says something twice, or what is not understood.
        """
        lines = _lines(content)
        values: dict[str, str] = {}
        ddb: dict[str, str] = {}
        extents: list[Extent] = []
        for line in lines:
            if extent := _EXTENT.fullmatch(line):
                extents.append(_parse_extent(extent))
            else:
                key, value = _parse_pair(line)
                known, key = (ddb, key[4:]) if key.lower().startswith("ddb.") else (values, key)
                if key.lower() in (each.lower() for each in known):
                    raise DescriptorError(f"its descriptor says {key[:40]!a} twice")
                known[key if known is ddb else key.lower()] = value
        if not extents:
            raise DescriptorError("its descriptor lists no extents")
        if sum(extent.sectors for extent in extents) * SECTOR > LARGEST_CAPACITY:
            raise DescriptorError("it claims more than 62 TiB")
        return cls(
            create_type=values.get("createtype", ""),
            extents=tuple(extents),
            cid=_parse_cid(values.get("cid", "")),
            parent_cid=_parse_cid(values.get("parentcid", NO_PARENT_CID)),
            parent_hint=values.get("parentfilenamehint") or None,
            ddb=ddb,
        )

    def render(self) -> str:
        """The descriptor as text, lines in vSphere's order."""
        lines = [
            SIGNATURE,
            "version=1",
            'encoding="UTF-8"',
            f"CID={self.cid}",
            f"parentCID={self.parent_cid}",
            f'createType="{self.create_type}"',
        ]
        if self.parent_hint is not None:
            lines.append(f'parentFileNameHint="{self.parent_hint}"')
        lines += ["", "# Extent description"]
        for extent in self.extents:
            offset = f" {extent.offset_sectors}" if extent.kind == "FLAT" else ""
            name = "" if extent.file_name is None else f' "{extent.file_name}"'
            lines.append(f"{extent.access} {extent.sectors} {extent.kind}{name}{offset}")
        lines += ["", "# The Disk Data Base", "#DDB", ""]
        lines += [f'ddb.{key} = "{value}"' for key, value in self.ddb.items()]
        return "\n".join(lines) + "\n"


def _lines(content: bytes) -> list[str]:
    start = content[:LARGEST_DESCRIPTOR].lstrip(b"\xef\xbb\xbf \t\r\n")
    if not start.lower().startswith(SIGNATURE.lower().encode()):
        raise DescriptorError("it is not a VMDK file")
    if len(content) > LARGEST_DESCRIPTOR:
        raise DescriptorError("its descriptor is longer than 64 KiB")
    content = content.rstrip(b"\0")
    if b"\0" in content:
        raise DescriptorError("its descriptor holds NUL bytes")
    try:
        text = content.decode()
    except UnicodeDecodeError:
        text = content.decode("latin-1")  # what older tools write
    # Not splitlines(): that also breaks at characters which may stand in a name.
    lines = (line.strip() for line in re.split(r"\r\n|\r|\n", text))
    return [line for line in lines if line and not line.startswith("#")]


def _parse_pair(line: str) -> tuple[str, str]:
    pair = _PAIR.fullmatch(line)
    if pair is None:
        raise DescriptorError(f"its descriptor has a line that is not understood: {line[:80]!a}")
    key, quoted, plain = pair.groups()
    if key.lower() not in _KEYS and not key.lower().startswith("ddb."):
        raise DescriptorError(f"its descriptor has {key[:40]!a}, which is not known")
    return key, quoted if quoted is not None else plain


def _parse_extent(match: re.Match[str]) -> Extent:
    access, sectors, kind, name, offset = match.groups()
    if name is not None and not is_plain_name(name):
        raise DescriptorError(f"its descriptor names a file outside its folder: {name[:80]!a}")
    return Extent(
        access=access,
        sectors=int(sectors),
        kind=kind.upper(),
        file_name=name,
        offset_sectors=int(offset or 0),
    )


def _parse_cid(text: str) -> str:
    if not _CID.fullmatch(text.lower()):
        raise DescriptorError("its descriptor has no valid content id")
    return text.lower().rjust(8, "0")


def is_plain_name(name: str) -> bool:
    """Whether ``name`` can only mean a file in the same folder."""
    return name not in {"", ".", ".."} and not set(name) & set("/\\\0")


def fresh_cid() -> str:
    """A new content id: eight hexadecimal digits, not one of the two reserved ones."""
    return f"{secrets.randbelow(0xFFFFFFFE):08x}"


def fresh_uuid() -> str:
    """A new disk identity in the form ``60 00 C2 9x xx xx xx xx-xx xx xx xx xx xx xx xx``."""
    return _spaced(
        bytes([0x60, 0x00, 0xC2, 0x90 | secrets.randbelow(16)]) + secrets.token_bytes(12)
    )


def normal_uuid(text: str) -> str:
    """``text`` as descriptors have it, from that form or with dashes or without separators.

    Raises:
        DescriptorError: it is not 16 bytes in hexadecimal.
    """
    digits = uuid_digits(text)
    if digits is None:
        raise DescriptorError("a disk's uuid has 32 hexadecimal digits")
    return _spaced(bytes.fromhex(digits))


def _spaced(value: bytes) -> str:
    # vSphere writes VMware's own prefix with a capital C, all other digits small.
    text = spaced_uuid(value.hex())
    return text.replace("60 00 c2", "60 00 C2") if text.startswith("60 00 c2") else text


def geometry(capacity_bytes: int, adapter: Adapter) -> Geometry:
    """The geometry VMware's tools give a new disk of this size.

    See: Virtual Disk Format 5.0, "The Disk Database".
    """
    sectors = capacity_bytes // SECTOR
    if adapter == "ide":
        heads, per_track = 16, 63
    elif capacity_bytes < 1024**3:
        heads, per_track = 64, 32
    elif capacity_bytes < 2 * 1024**3:
        heads, per_track = 128, 32
    else:
        heads, per_track = 255, 63
    cylinders = max(1, sectors // (heads * per_track))
    if adapter == "ide":
        cylinders = min(cylinders, 16383)  # ATA's limit
    return Geometry(cylinders=cylinders, heads=heads, sectors=per_track)


def disk_database(capacity_bytes: int, adapter: Adapter, uuid: str, cid: str) -> dict[str, str]:
    """The ``ddb`` entries of a new disk; its long content id ends in the short one."""
    shape = geometry(capacity_bytes, adapter)
    return {
        "adapterType": adapter.lower(),
        "geometry.cylinders": str(shape.cylinders),
        "geometry.heads": str(shape.heads),
        "geometry.sectors": str(shape.sectors),
        "longContentID": secrets.token_hex(12) + cid,
        "uuid": uuid,
        "virtualHWVersion": "21",
    }
