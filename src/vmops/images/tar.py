"""Reads a tar archive in one pass, in little memory, whatever it claims of itself.

Python's own reader holds whole extended headers in memory and follows sparse maps and links; an OVA
has nothing but plain files, so nothing else is read here.

See: POSIX.1-2017, pax interchange format; GNU tar manual, "Basic Tar Format".
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from vmops.errors import ImageNotAcceptable
from vmops.numbers import whole_number

_BLOCK = 512
_LF = 0x0A
_SKIP_BYTES = 1024 * 1024
_MAX_EXTENSION = 64 * 1024
_PLAIN = {b"0", b"\0", b"7"}
_LONG_NAME, _PAX, _PAX_GLOBAL = b"L", b"x", b"g"
_PAX_RECORD = re.compile(rb"([0-9]{1,9}) ([^=\n]{1,200})=")
_MAX_MEMBERS = 10_000
_MAX_SIZE = 2**60
_KNOWN = {"path", "size"}


@dataclass(frozen=True, slots=True)
class Member:
    """A plain file of the archive. ``offset`` is that of its first byte."""

    name: str
    size_bytes: int
    offset: int
    _stream: BinaryIO = field(repr=False, compare=False)

    def read_all(self, at_most: int) -> bytes:
        """All its bytes.

        Raises:
            ImageNotAcceptable: it has more than that, or the archive is cut off.
        """
        if self.size_bytes > at_most:
            raise ImageNotAcceptable(f"{self.name!r} in the archive is too big.")
        return _exactly(self._stream, self.size_bytes)

    def reader(self) -> MemberReader:
        """A stream of its bytes. It must be read before the next member is asked for."""
        return MemberReader(self._stream, self.size_bytes)


class MemberReader(io.RawIOBase):
    """Gives a member's bytes, and no more."""

    def __init__(self, stream: BinaryIO, size_bytes: int) -> None:
        super().__init__()
        self._stream = stream
        self._left = size_bytes

    def readable(self) -> bool:
        """Always, as `io.RawIOBase` asks before it reads."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Fill the buffer as far as one read of the archive does.

        Raises:
            ImageNotAcceptable: the archive ends within the member.
        """
        wanted = min(len(buffer), self._left)
        if not wanted:
            return 0
        block = self._stream.read(wanted)
        if not block:
            raise ImageNotAcceptable("The archive is cut off.")
        buffer[: len(block)] = block
        self._left -= len(block)
        return len(block)


def members(stream: BinaryIO) -> Iterator[Member]:
    """The plain files of an archive in order; what the caller does not read of them is skipped.

    Raises:
        ImageNotAcceptable: it is no tar archive, or is cut off.
    """
    counted = _Counting(stream)
    name, size, seen = "", -1, 0
    while any(header := _exactly(counted, _BLOCK)):
        _check(header)
        if (seen := seen + 1) > _MAX_MEMBERS:
            raise ImageNotAcceptable("The archive has too many members for an OVA.")
        kind = header[156:157]
        own = _size(header[124:136]) if size < 0 or kind not in _PLAIN else size
        if own > _MAX_SIZE:
            raise ImageNotAcceptable("The archive has a member of an impossible size.")
        begin = counted.done
        padded = -(-own // _BLOCK) * _BLOCK
        if kind in {_LONG_NAME, _PAX, _PAX_GLOBAL}:
            name, size = _extended(kind, _extension(counted, own), name, size)
        elif kind in _PLAIN:
            yield Member(name or _name(header), own, begin, counted)  # type: ignore[arg-type]
            name, size = "", -1
        else:  # a folder, a link, a device: of no use, and its name is not followed
            name, size = "", -1
        counted.skip(begin + padded - counted.done)


def _extension(counted: _Counting, size: int) -> bytes:
    if size > _MAX_EXTENSION:
        raise ImageNotAcceptable("The archive has a header that is too long.")
    return _exactly(counted, size)


def _extended(kind: bytes, content: bytes, name: str, size: int) -> tuple[str, int]:
    """The next member's name and size, as an extended header leaves them."""
    if kind == _LONG_NAME:
        return _text(content), size
    records = _records(content)
    if kind == _PAX_GLOBAL and records:
        raise ImageNotAcceptable("The archive has one name or size for all its members.")
    return records.get("path", name), _told_size(records.get("size"), size)


class _Counting:
    """The archive, which knows how far it was read."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._seekable = bool(getattr(stream, "seekable", lambda: False)())
        self.done = 0

    def read(self, size: int) -> bytes:
        block = self._stream.read(size)
        self.done += len(block)
        return block

    def skip(self, size: int) -> None:
        if self._seekable and size > _SKIP_BYTES:
            self._stream.seek(size - _BLOCK, io.SEEK_CUR)
            self.done += size - _BLOCK
            size = _BLOCK
        while size:
            size -= len(_exactly(self, min(size, _SKIP_BYTES)))


def _exactly(stream: BinaryIO | _Counting, size: int) -> bytes:
    blocks = []
    while size:
        block = stream.read(size)
        if not block:
            raise ImageNotAcceptable("The archive is cut off.")
        blocks.append(block)
        size -= len(block)
    return b"".join(blocks)


def _check(header: bytes) -> None:
    """The sum of the header's bytes, its own field counted as spaces, is what that field says."""
    told = header[148:156].split(b"\0")[0].strip()
    counted = sum(header[:148]) + sum(header[156:]) + 8 * ord(" ")
    if not told or any(c not in b"01234567" for c in told) or int(told, 8) != counted:
        raise ImageNotAcceptable("Not a tar archive, or a damaged one.")


def _size(text: bytes) -> int:
    """Octal digits, or GNU's big-endian number with the top bit set."""
    if text[0] & 0x80:
        return int.from_bytes(text[1:], "big")
    digits = text.strip(b" \0")
    if any(c not in b"01234567" for c in digits):
        raise ImageNotAcceptable("Not a tar archive, or a damaged one.")
    return int(digits or b"0", 8)


def _told_size(text: str | None, otherwise: int) -> int:
    """The size in an extended header, which goes before that in the member's own."""
    if text is None:
        return otherwise
    told = whole_number(text)
    if told is None:
        raise ImageNotAcceptable("The archive has an extended header that is not understood.")
    return told


def _name(header: bytes) -> str:
    prefix = _text(header[345:500]) if header[257:262] == b"ustar" else ""
    return f"{prefix}/{_text(header[:100])}" if prefix else _text(header[:100])


def _text(content: bytes) -> str:
    return content.split(b"\0")[0].decode("utf-8", "replace")


def _records(content: bytes) -> dict[str, str]:
    """The records of a pax header: "<length> <key>=<value>" and a line feed.

    Each record is looked at once, and only those that mean something here are kept.

    Raises:
        ImageNotAcceptable: it is not made so, or it says that the file has holes, which would make
            other bytes of it than those in the archive.
    """
    found, at = {}, 0
    while at < len(content.rstrip(b"\0")):
        record = _PAX_RECORD.match(content, at)
        end = at + int(record[1]) if record is not None else at
        if record is None or not record.end() < end <= len(content) or content[end - 1] != _LF:
            raise ImageNotAcceptable("The archive has an extended header that is not understood.")
        key = record[2].decode("utf-8", "replace")
        if key.startswith("GNU.sparse"):
            raise ImageNotAcceptable("The archive has a sparse file, which an OVA cannot have.")
        if key in _KNOWN:
            found[key] = _text(content[record.end() : end - 1])
        at = end
    return found
