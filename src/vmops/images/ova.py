"""OVA archives: the disks that the .ovf inside refers to, and what it says of the machine.

The archive is read in one pass; nothing of it is unpacked, and no name in it becomes a path.

See: DMTF DSP0243, Open Virtualization Format Specification.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from vmops.errors import ImageNotAcceptable
from vmops.images import manifest, ovf, tar
from vmops.images.manifest import Digests, Manifest, plain_name
from vmops.images.ovf_hardware import OvfFacts, read_facts

_BLOCK = 1024 * 1024
_HEAD = 64 * 1024
# Those that a manifest may have, where the manifest itself comes behind the disk.
_ALL_ALGORITHMS = ("sha1", "sha224", "sha256", "sha384", "sha512")


@dataclass(frozen=True, slots=True)
class OvaDisk:
    """A disk in an archive; ``offset`` is where its bytes begin there."""

    name: str
    size_bytes: int
    offset: int
    stream: BinaryIO
    facts: OvfFacts
    """What the archive's .ovf says."""


@dataclass(frozen=True, slots=True)
class OvaContent:
    """What an archive has: its descriptor's facts, and where the files of the disks are."""

    facts: OvfFacts
    places: dict[str, tuple[int, int]]
    """Offset and size of each disk's file."""
    has_manifest: bool | None
    """None: not all of the archive was looked at."""
    has_certificate: bool
    is_descriptor_named: bool

    def notes(self) -> tuple[str, ...]:
        """Sentences for people on what is not done or not known."""
        notes = list(self.facts.notes)
        if self.has_manifest is False:
            notes.append("It has no manifest: nothing says whether its files are whole.")
        elif self.has_manifest and not self.is_descriptor_named:
            notes.append("Its manifest has no line for its .ovf.")
        if self.has_certificate:
            notes.append("Its certificate is not checked.")
        return tuple(notes)


class _Walk:
    """The members of an archive, each looked at once; what is there twice is refused."""

    def __init__(self, archive: BinaryIO) -> None:
        self._archive = archive
        self._names: set[str] = set()
        self._ovf: tuple[str, bytes] | None = None
        self.facts: OvfFacts | None = None
        self.manifest: Manifest | None = None
        self.has_certificate = self.is_descriptor_named = False

    def members(self) -> Iterator[tuple[str, tar.Member]]:
        """The members that are neither descriptor nor manifest, by plain name."""
        for member in tar.members(self._archive):
            name = plain_name(member.name)
            if name in self._names:
                raise ImageNotAcceptable(f"The archive has {name[:80]!r} twice.")
            self._names.add(name)
            kind = name.lower().rpartition(".")[2]
            if kind == "ovf":
                self._descriptor(name, member)
            elif kind == "mf":
                if self.manifest is not None:
                    raise ImageNotAcceptable("The archive has two manifests.")
                self.manifest = manifest.read_manifest(member.read_all(manifest.MAX_BYTES))
                self._check_descriptor()
            elif kind == "vmdk" and self.facts is None:
                raise ImageNotAcceptable("The archive's .ovf must come before its disks.")
            else:
                self.has_certificate = self.has_certificate or kind == "cert"
                yield name, member

    def _descriptor(self, name: str, member: tar.Member) -> None:
        if self.facts is not None:
            raise ImageNotAcceptable("The archive has two .ovf files.")
        content = member.read_all(ovf.MAX_BYTES)
        self.facts = read_facts(content)
        self._ovf = (name, content)
        self._check_descriptor()

    def _check_descriptor(self) -> None:
        if self.manifest is not None and self._ovf is not None:
            name, content = self._ovf
            if plain_name(name) not in self.manifest.files:
                return  # told; the disks are what matters
            self.is_descriptor_named = True
            checking = self.manifest.of(name).begin()
            checking.update(content)
            checking.finish()

    def known(self) -> OvfFacts:
        """What the descriptor says.

        Raises:
            ImageNotAcceptable: there is none.
        """
        if self.facts is None:
            raise ImageNotAcceptable("Not an OVA: the archive has no .ovf.")
        return self.facts

    def refuse_missing(self) -> None:
        """Refuse an archive, read to its end, whose manifest names what is not there."""
        named = self.manifest.files.keys() if self.manifest is not None else set[str]()
        if missing := named - self._names:
            raise ImageNotAcceptable(f"The archive has no {min(missing)!r}, but a digest of it.")


def open_disk(archive: BinaryIO, part: int = 0) -> OvaDisk:
    """A disk, ready to be read to its end; part 0 is the one that boots.

    The disk is checked against the archive's manifest, wherever that is: the read at its end fails
    if it is another one.

    Raises:
        ImageNotAcceptable: there is no .ovf, no disk of a file, or a disk that is compressed or in
            parts; or the archive is broken, then or later.
    """
    walk = _Walk(archive)
    members = walk.members()
    for name, member in members:
        if walk.facts is not None and name == plain_name(walk.facts.disks[part].file):
            stream = io.BufferedReader(_Checked(name, member, walk, members), _BLOCK)
            return OvaDisk(name, member.size_bytes, member.offset, stream, walk.facts)
    raise ImageNotAcceptable(
        f"The archive has no {walk.known().disks[part].file!r}, which its .ovf names as its disk."
    )


def look(archive: BinaryIO) -> OvaContent:
    """What an archive that can seek has; of its disks no byte is read.

    Raises:
        ImageNotAcceptable: as `open_disk`; or a file that its manifest names is not there.
    """
    archive.seek(0)
    walk = _Walk(archive)
    found = {name: (member.offset, member.size_bytes) for name, member in walk.members()}
    facts = walk.known()
    wanted = [plain_name(disk.file) for disk in facts.disks if disk.file]
    for name in wanted:
        if name not in found:
            raise ImageNotAcceptable(
                f"The archive has no {name!r}, which its .ovf names as its disk."
            )
        if walk.manifest is not None:
            walk.manifest.of(name)
    walk.refuse_missing()
    return OvaContent(
        facts=facts,
        places={name: found[name] for name in wanted},
        has_manifest=walk.manifest is not None,
        has_certificate=walk.has_certificate,
        is_descriptor_named=walk.is_descriptor_named,
    )


def glance(archive: BinaryIO, look_at: Callable[[str, int, BinaryIO], None]) -> OvaContent:
    """What an archive has that comes from elsewhere, read no further than its last disk begins.

    ``look_at`` takes each disk's name, size and first bytes.

    Raises:
        ImageNotAcceptable: as `open_disk`.
    """
    walk = _Walk(archive)
    found: dict[str, tuple[int, int]] = {}
    for name, member in walk.members():
        if walk.facts is None:
            continue
        wanted = {plain_name(disk.file) for disk in walk.facts.disks if disk.file}
        if name in wanted:
            found[name] = (member.offset, member.size_bytes)
            look_at(name, member.size_bytes, io.BufferedReader(member.reader(), _HEAD))
        if found.keys() == wanted:
            break
    wanted = {plain_name(disk.file) for disk in walk.known().disks if disk.file}
    if missing := wanted - found.keys():
        raise ImageNotAcceptable(
            f"The archive has no {min(missing)!r}, which its .ovf names as its disk."
        )
    return OvaContent(
        facts=walk.known(),
        places=found,
        has_manifest=True if walk.manifest is not None else None,
        has_certificate=walk.has_certificate,
        is_descriptor_named=walk.is_descriptor_named,
    )


def verify(archive: BinaryIO) -> None:
    """Check every file of an archive that can seek against its manifest; none is no error.

    Raises:
        ImageNotAcceptable: a file is another one, or the archive is broken.
    """
    archive.seek(0)
    walk = _Walk(archive)
    for _ in walk.members():
        pass
    walk.refuse_missing()
    if walk.manifest is None:
        return
    archive.seek(0)
    for member in tar.members(archive):
        if (told := walk.manifest.files.get(plain_name(member.name))) is not None:
            checking = told.begin()
            reader = io.BufferedReader(member.reader(), _BLOCK)
            while block := reader.read(_BLOCK):
                checking.update(block)
            checking.finish()


class _Checked(io.RawIOBase):
    """A disk's bytes, whose end is an error if they are not those of the manifest."""

    def __init__(
        self, name: str, member: tar.Member, walk: _Walk, members: Iterator[tuple[str, tar.Member]]
    ) -> None:
        super().__init__()
        self._name = name
        self._stream = member.reader()
        self._walk = walk
        self._members = members
        self._ended = False
        known = walk.manifest
        told = known.of(name) if known is not None else None
        self._checking = (told or Digests(name, dict.fromkeys(_ALL_ALGORITHMS, ""))).begin()

    def readable(self) -> bool:
        """Always, as `io.RawIOBase` asks before it reads."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Give the next bytes; at the end, compare."""
        got = self._stream.readinto(buffer)
        self._checking.update(buffer[:got])
        if not got and len(buffer) and not self._ended:
            self._ended = True
            self._finish()
        return got

    def _finish(self) -> None:
        if self._walk.manifest is None:
            for _ in self._members:  # the manifest may come behind the disks
                pass
        if self._walk.manifest is not None:
            self._checking.compare(self._walk.manifest.of(self._name))


class Slice(io.RawIOBase):
    """A part of a file, as if it were one. Closing it leaves the file open."""

    def __init__(self, file: BinaryIO, begin: int, size: int) -> None:
        super().__init__()
        self._file = file
        self._begin = begin
        self._size = size
        self._at = 0

    def readable(self) -> bool:
        """Always, as `io.RawIOBase` asks before it reads."""
        return True

    def seekable(self) -> bool:
        """Always: what lies before is in the file, too."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Go to a place in the part."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = min(max(base + offset, 0), self._size)
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Fill the buffer as far as the part goes."""
        wanted = min(len(buffer), self._size - self._at)
        self._file.seek(self._begin + self._at)
        block = self._file.read(wanted)
        buffer[: len(block)] = block
        self._at += len(block)
        return len(block)
