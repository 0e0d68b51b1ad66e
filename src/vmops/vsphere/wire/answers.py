"""How much of an answer is taken: its bytes, its tags, and no document type.

A server that means harm, or somebody in its place, must not fill this machine. How long it may take
is `vmops.vsphere.wire.silence`'s; the bytes of a file's transfer are its receiver's to count.
"""

from __future__ import annotations

import http.client
from typing import NoReturn
from xml.parsers.expat import XMLParserType

from vmops import units
from vmops.errors import VsphereFault

MOST_BYTES = 32 * units.MIB
"""Of one answer. Lists come in pages: a hundred VMs with all their devices are some 4 MiB."""
MOST_TAGS = 400_000
"""Opening and closing ones together: pyVmomi makes up to 600 bytes of memory of one."""
MOST_LEFT_BYTES = 64 * units.KIB
"""What is read of a body that nobody wants, so that the connection can be used again."""
_BLOCK_BYTES = 64 * units.KIB


def unreadable(why: str, method: str = "") -> VsphereFault:
    """The error for an answer that is none; ``why`` says what is wrong with it."""
    return VsphereFault("UnreadableAnswer", why, method=method)


def refuse_encoded(response: http.client.HTTPResponse) -> None:
    """Refuse a body that is packed although nobody asked for that: it may unpack to anything.

    Raises:
        VsphereFault: it is.
    """
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in {"", "identity"}:
        raise unreadable(f"the answer is encoded ({encoding[:20]}), which was not asked for")


def whole(response: http.client.HTTPResponse, most_bytes: int = MOST_BYTES) -> bytes:
    """The body, which has at most so many bytes.

    Raises:
        VsphereFault: it has more, or says so; what it has was not read to its end.
    """
    refuse_encoded(response)
    if (response.length or 0) > most_bytes:
        _refuse(most_bytes)
    parts: list[bytes] = []
    size = 0
    while block := response.read(_BLOCK_BYTES):
        size += len(block)
        if size > most_bytes:
            _refuse(most_bytes)
        parts.append(block)
    if response.length:
        raise http.client.IncompleteRead(b"", response.length)
    return b"".join(parts)


def drain(response: http.client.HTTPResponse) -> None:
    """Read what is left, if it is little. Else it stays: the connection is of no further use."""
    left = MOST_LEFT_BYTES
    while left > 0 and not response.isclosed():
        left -= len(response.read(min(left, _BLOCK_BYTES))) or left


def refuse_many_tags(answer: bytes) -> None:
    """Refuse an answer whose objects would take more memory than any that is meant well.

    Raises:
        ValueError: it is one.
    """
    if answer.count(b"<") > MOST_TAGS:
        raise ValueError(f"it has more than {MOST_TAGS} tags")


def guard(parser: XMLParserType) -> None:
    """Let a parser stop at a document type, wherever and in whatever encoding it stands.

    Without one there are no entities either, but for the five that XML has.
    """

    def refuse(*_: object) -> NoReturn:
        raise ValueError("a document type is not allowed")

    parser.StartDoctypeDeclHandler = refuse
    parser.EntityDeclHandler = refuse


def _refuse(most_bytes: int) -> NoReturn:
    raise unreadable(f"the answer has more than {most_bytes // units.MIB} MiB")
