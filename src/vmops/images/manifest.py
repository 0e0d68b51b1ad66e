"""The manifest of an OVF package: a digest for each of its files.

Every spelling that the specification, its versions and the tools in the field have is read:
``SHA256(disk.vmdk)= ab12``, ``sha-256 (disk.vmdk) = AB12``, and ``ab12 *disk.vmdk`` of sha256sum,
in UTF-8 or UTF-16, with or without a byte order mark and a last line feed. A line that is none of
these is refused: what it says cannot be checked.

See: DMTF DSP0243, Open Virtualization Format Specification, "Manifest".
"""

from __future__ import annotations

import codecs
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass

from vmops.errors import ImageNotAcceptable

MAX_BYTES = 1024 * 1024

_SIZES = {"md5": 32, "sha1": 40, "sha224": 56, "sha256": 64, "sha384": 96, "sha512": 128}
"""Hexadecimal digits of a digest."""
_BY_SIZE = {size: algorithm for algorithm, size in _SIZES.items()}
_WEAK = "md5"
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
# No blank can be read in two ways, so that no line takes longer than its length.
_TAGGED = re.compile(r"([A-Za-z0-9-]{1,20})[ \t]*\((.+)\)[ \t]*=[ \t]*([0-9A-Fa-f]+)")
_SUMMED = re.compile(r"([0-9A-Fa-f]{32,128})[ \t][ \t*]?(.+)")


@dataclass(frozen=True, slots=True)
class Digests:
    """What a manifest says of one file, by the algorithm."""

    name: str
    by_algorithm: Mapping[str, str]

    def begin(self) -> Checking:
        """Begin to check the file's bytes."""
        return Checking(self)


class Checking:
    """Takes the bytes of a file and tells in the end whether they are those of the manifest."""

    def __init__(self, told: Digests) -> None:
        self._told = told
        self._digests = {
            algorithm: hashlib.new(algorithm, usedforsecurity=False)
            for algorithm in told.by_algorithm
        }

    def update(self, block: bytes | memoryview) -> None:
        """Take the next bytes."""
        for digest in self._digests.values():
            digest.update(block)

    def finish(self) -> None:
        """Compare with what the manifest said when it was begun.

        Raises:
            ImageNotAcceptable: the file is another one.
        """
        self.compare(self._told)

    def compare(self, told: Digests) -> None:
        """Compare with what a manifest says that was met only later; raises as `finish`."""
        for algorithm, digest in told.by_algorithm.items():
            made = self._digests.get(algorithm)
            if made is not None and made.hexdigest() != digest:
                raise ImageNotAcceptable(
                    f"{told.name!r} in the archive is damaged: its {algorithm.upper()} is not"
                    " that of the archive's manifest."
                )


@dataclass(frozen=True, slots=True)
class Manifest:
    """The digests of a package's files, by their names as `plain_name` gives them."""

    files: Mapping[str, Digests]

    def of(self, name: str) -> Digests:
        """What it says of a file that is used.

        Raises:
            ImageNotAcceptable: it says nothing, or what it says proves nothing.
        """
        told = self.files.get(plain_name(name))
        if told is None:
            raise ImageNotAcceptable(
                f"The archive's manifest has no line for {name!r}: nothing says whether it"
                " is whole."
            )
        if told.by_algorithm.keys() == {_WEAK}:
            raise ImageNotAcceptable(
                f"The archive's manifest has only an MD5 of {name!r}, which anybody can forge."
                " Pack the archive again with a manifest of SHA256."
            )
        return told


def plain_name(name: str) -> str:
    """A file's name as it is compared: tar writes some with "./" before them."""
    return name.removeprefix("./")


def read_manifest(content: bytes) -> Manifest:
    """The digests of a manifest.

    Raises:
        ImageNotAcceptable: a line is not understood, or says again what another one said.
    """
    found: dict[str, dict[str, str]] = {}
    for number, line in enumerate(_text(content).splitlines(), start=1):
        if not (text := line.strip(" \t\0\x1a")):
            continue
        algorithm, name, digest = _entry(text, number)
        digests = found.setdefault(plain_name(name), {})
        if algorithm in digests:
            raise ImageNotAcceptable(
                f"Line {number} of the archive's manifest is a second {algorithm.upper()} of"
                f" {name!r}."
            )
        digests[algorithm] = digest
    return Manifest({name: Digests(name, digests) for name, digests in found.items()})


def _text(content: bytes) -> str:
    encodings = ((mark, name) for mark, name in _MARKS if content.startswith(mark))
    mark, encoding = next(encodings, (b"", "utf-8"))
    try:
        return content.removeprefix(mark).decode(encoding)
    except UnicodeDecodeError:
        raise ImageNotAcceptable(
            "The archive's manifest is not readable: it is neither UTF-8 nor marked as UTF-16."
        ) from None


def _entry(text: str, number: int) -> tuple[str, str, str]:
    """A line's algorithm, name and digest."""
    if match := _TAGGED.fullmatch(text):
        algorithm, name, digest = match[1].lower().replace("-", ""), match[2], match[3]
        if _SIZES.get(algorithm) == len(digest):
            return algorithm, name.strip(" \t"), digest.lower()
    elif match := _SUMMED.fullmatch(text):
        by_size = _BY_SIZE.get(len(match[1]))
        if by_size is not None:
            return by_size, match[2], match[1].lower()
    raise ImageNotAcceptable(
        f"Line {number} of the archive's manifest is not understood: {text[:80]!r}. It takes lines"
        " such as SHA256(disk.vmdk)= and 64 digits, with SHA1, SHA224, SHA256, SHA384 or SHA512."
    )
