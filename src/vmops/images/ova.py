"""OVA archives: the first disk that the .ovf inside refers to.

The archive is read in one pass; nothing of it is unpacked, and no name in it becomes a path.

See: DMTF DSP0243, Open Virtualization Format Specification.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote
from xml.etree import ElementTree

from vmops.errors import ImageNotAcceptable
from vmops.images import tar

_MAX_OVF = 8 * 1024 * 1024
_MAX_MANIFEST = 1024 * 1024
_BLOCK = 1024 * 1024
_DIGEST = re.compile(r"^(SHA1|SHA256|SHA512)\s*\((?P<name>.+)\)\s*=\s*(?P<digest>[0-9a-fA-F]+)\s*$")


@dataclass(frozen=True, slots=True)
class Digest:
    """What a manifest says of a file."""

    algorithm: str
    hexdigest: str


@dataclass(frozen=True, slots=True)
class OvaDisk:
    """The first disk in an archive; ``offset`` is where its bytes begin there."""

    name: str
    size_bytes: int
    offset: int
    stream: BinaryIO


def open_disk(archive: BinaryIO) -> OvaDisk:
    """The first disk, ready to be read to its end.

    If the archive's manifest comes before the disk, as it should, the disk is checked against it:
    the read at its end fails if it is another one.

    Raises:
        ImageNotAcceptable: there is no .ovf, no disk of a file, or a disk that is compressed or in
            parts; or the archive is broken, then or later.
    """
    wanted: str | None = None
    manifest: dict[str, Digest] = {}
    ovf_name, ovf = "", b""
    for member in tar.members(archive):
        if wanted is None and member.name.lower().endswith(".ovf"):
            ovf_name, ovf = member.name, member.read_all(_MAX_OVF)
            wanted = first_disk(ovf)
        elif member.name.lower().endswith(".mf") and wanted is not None:
            manifest = read_manifest(member.read_all(_MAX_MANIFEST))
            _check(ovf_name, manifest, io.BytesIO(ovf))
        elif wanted is not None and _same(member.name, wanted):
            stream = _Checked(member.reader(), wanted, manifest.get(wanted))
            return OvaDisk(wanted, member.size_bytes, member.offset, stream)  # type: ignore[arg-type]
        elif wanted is None and member.name.lower().endswith(".vmdk"):
            raise ImageNotAcceptable("The archive's .ovf must come before its disks.")
    if wanted is None:
        raise ImageNotAcceptable("Not an OVA: the archive has no .ovf.")
    raise ImageNotAcceptable(f"The archive has no {wanted!r}, which its .ovf names as its disk.")


def verify(file: Path) -> None:
    """Check every file of an archive against its manifest, wherever that is; none is no error.

    Raises:
        ImageNotAcceptable: a file is another one, or the archive is broken.
    """
    with file.open("rb") as archive:
        found = [m for m in tar.members(archive) if m.name.lower().endswith(".mf")]
    if not found:
        return
    with file.open("rb") as archive:
        archive.seek(found[0].offset)
        if found[0].size_bytes > _MAX_MANIFEST:
            raise ImageNotAcceptable("The archive's manifest is too big.")
        manifest = read_manifest(archive.read(found[0].size_bytes))
    missing = set(manifest)
    with file.open("rb") as archive:
        for member in tar.members(archive):
            name = member.name.removeprefix("./")
            missing.discard(name)
            _check(name, manifest, io.BufferedReader(member.reader(), _BLOCK))
    if missing:
        raise ImageNotAcceptable(f"The archive has no {min(missing)!r}, but a digest of it.")


def first_disk(ovf: bytes) -> str:
    """The name of the file of the first disk that has one.

    Raises:
        ImageNotAcceptable: it is not XML, or has no such disk.
    """
    if b"<!DOCTYPE" in ovf or b"<!ENTITY" in ovf:
        raise ImageNotAcceptable("The archive's .ovf defines entities, which none needs.")
    try:
        root = ElementTree.fromstring(ovf)  # noqa: S314 - entities are refused above
    except ElementTree.ParseError as broken:
        raise ImageNotAcceptable(f"The archive's .ovf is not XML: {broken}") from None
    files = {_get(f, "id"): f for f in root.iterfind("{*}References/{*}File")}
    for disk in root.iterfind("{*}DiskSection/{*}Disk"):
        file = files.get(_get(disk, "fileRef") or "-")
        href = None if file is None else _get(file, "href")
        if file is None or href is None:
            continue
        if _get(file, "compression") not in {None, "", "identity"} or _get(file, "chunkSize"):
            raise ImageNotAcceptable(f"The disk {href!r} in the archive is compressed or in parts.")
        return unquote(href)
    raise ImageNotAcceptable("The archive's .ovf names no disk: it has no VMDK to spawn from.")


def read_manifest(content: bytes) -> dict[str, Digest]:
    """The digests of a manifest, by file name; lines of another kind are passed over."""
    found = {}
    for line in content.decode("utf-8", "replace").splitlines():
        if entry := _DIGEST.match(line.strip()):
            found[entry["name"]] = Digest(entry[1].lower(), entry["digest"].lower())
    return found


def _check(name: str, manifest: dict[str, Digest], content: io.BufferedIOBase) -> None:
    told = manifest.get(name.removeprefix("./"))
    if told is None:
        return
    digest = hashlib.new(told.algorithm, usedforsecurity=False)
    while block := content.read(_BLOCK):
        digest.update(block)
    _compare(name, told, digest.hexdigest())


def _compare(name: str, told: Digest, hexdigest: str) -> None:
    if told.hexdigest != hexdigest:
        raise ImageNotAcceptable(
            f"{name!r} in the archive is damaged: its {told.algorithm.upper()} is not that of the"
            " archive's manifest."
        )


class _Checked(io.RawIOBase):
    """A disk's bytes, whose end is an error if they are not those of the manifest."""

    def __init__(self, stream: tar.MemberReader, name: str, told: Digest | None) -> None:
        super().__init__()
        self._stream = stream
        self._name = name
        self._told = told
        self._digest = hashlib.new(told.algorithm, usedforsecurity=False) if told else None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        got = self._stream.readinto(buffer)
        if self._digest is not None and self._told is not None:
            self._digest.update(buffer[:got])
            if not got and len(buffer):
                _compare(self._name, self._told, self._digest.hexdigest())
        return got


def _same(name: str, wanted: str) -> bool:
    return name.removeprefix("./") == wanted.removeprefix("./")


def _get(element: ElementTree.Element, name: str) -> str | None:
    """An attribute in whatever namespace it is: OVF's version is in that."""
    for key, value in element.attrib.items():
        if key.rpartition("}")[2] == name:
            return value
    return None


@contextlib.contextmanager
def disk_of(file: Path) -> Iterator[tuple[BinaryIO, OvaDisk]]:
    """The first disk of an archive on this machine, as a stream that can seek."""
    with file.open("rb") as archive:
        disk = open_disk(archive)
        yield _Slice(archive, disk.offset, disk.size_bytes), disk  # type: ignore[misc]


class _Slice:
    """A part of a file, as if it were one."""

    def __init__(self, file: BinaryIO, begin: int, size: int) -> None:
        self._file = file
        self._begin = begin
        self._size = size
        self.seek(0)

    def seek(self, offset: int) -> int:
        self._at = min(max(offset, 0), self._size)
        self._file.seek(self._begin + self._at)
        return self._at

    def read(self, size: int = -1) -> bytes:
        left = self._size - self._at
        block = self._file.read(left if size < 0 else min(size, left))
        self._at += len(block)
        return block
