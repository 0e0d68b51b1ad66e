r"""The line protocol between the lab and the tools inside a guest.

The channel is a virtio-serial port named ``vmops.tools`` (/dev/vport*). Both sides send lines of
words, separated by one space, ended by ``\n``, in ASCII. Either side may begin in the middle of
what an earlier one left, so each sends an empty line first; empty lines mean nothing. ``ID`` is a
number of at most ten digits that the asking side chose and the answer repeats. ``BASE64`` stands
for a value in UTF-8; an empty value is written ``-``.

The guest tells, unasked:
  ``hello PROTOCOL VERSION``  the tools have started, or answer the lab's hello; forget the past
  ``beat``                    nothing else was said for five seconds, or the lab sent ``ping``
  ``host-name NAME``          when it changes
  ``nics [NIC ...]``          when one changes; NIC is ``name,mac[,address/prefix ...]``
  ``bye``                     the tools end in order
and asks:
  ``info-get ID KEY``         answered by ``value ID BASE64``, ``none ID`` or ``refused ID TEXT``
  ``info-set ID KEY BASE64``  answered by ``done ID`` or ``refused ID TEXT``

The lab sends ``hello PROTOCOL`` when it connects, ``welcome`` whenever it is greeted by tools it
understands, ``ping`` when a heartbeat is overdue, and asks:
  ``shutdown ID``, ``reboot ID``, ``standby ID``  answered before they are carried out
  ``freeze ID``               until ``thaw ID``, but ten seconds at most, nothing is written to the
                              guest's disks; ``thaw`` fails if that time was over before
each answered by ``done ID`` or ``failed ID KIND [TEXT]``, KIND being application or filesystem.

What is not exactly so is dropped: the guest is not trusted. Lines have a largest length, and
messages a largest number per second (see `tools_link`).
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_interface
from typing import Literal, cast

from vmops.lab.hypervisor.tools import GuestNic

PROTOCOL = 1
PORT_NAME = "vmops.tools"
LONGEST_LINE_BYTES = 32 * 1024
LARGEST_GUEST_VALUE_BYTES = 16 * 1024
"""Of a value the guest sets, so that its line is one write to its port."""
LARGEST_TOLD_BYTES = 64 * 1024
"""Of a value the guest is told: a shell, which reads byte by byte, is busy with it for seconds."""
_MOST_NICS = 32
_MOST_ADDRESSES = 32
_LONGEST_TEXT = 200

_NUMBER = re.compile(r"[0-9]{1,10}")
_VERSION = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9}){0,3}")
_KEY = re.compile(r"guestinfo\.[A-Za-z0-9][A-Za-z0-9._-]{0,117}")
_HOST_NAME = re.compile(r"(?=.{1,253}$)[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?")
_NIC_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:@-]{0,14}")
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
# What cannot stand in XML could not be shown to any client.
_UNSHOWABLE = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True)
class Hello:
    """The tools have started, or the lab asked who is there."""

    protocol: int
    version: str


@dataclass(frozen=True, slots=True)
class Beat:
    """The tools are alive."""


@dataclass(frozen=True, slots=True)
class Bye:
    """The tools end."""


@dataclass(frozen=True, slots=True)
class HostName:
    """The guest's name for itself."""

    name: str


@dataclass(frozen=True, slots=True)
class Nics:
    """All network cards of the guest."""

    nics: tuple[GuestNic, ...]


@dataclass(frozen=True, slots=True)
class InfoGet:
    """The guest asks for a value."""

    id: int
    key: str


@dataclass(frozen=True, slots=True)
class InfoSet:
    """The guest gives a value; an empty one removes the key."""

    id: int
    key: str
    value: str


@dataclass(frozen=True, slots=True)
class Done:
    """What the lab asked for is done, or begins."""

    id: int


@dataclass(frozen=True, slots=True)
class Failed:
    """What the lab asked for cannot be done."""

    id: int
    kind: Literal["application", "filesystem"]
    text: str


Message = Hello | Beat | Bye | HostName | Nics | InfoGet | InfoSet | Done | Failed


def parse(line: bytes) -> Message | None:
    """Return what a line of the guest's says, without its end; None if it says nothing valid."""
    try:
        first, *words = line.decode("ascii").split(" ")
        read = _READERS.get(first)
        return None if read is None else read(words)
    except ValueError:  # UnicodeDecodeError and binascii.Error are ones
        return None


def value_answer(number: int, value: str | None) -> bytes:
    """Return the line that answers an ``info-get``."""
    if value is None:
        return b"none %d\n" % number
    content = value.encode()
    if len(content) > LARGEST_TOLD_BYTES:
        return refusal(number, "it is too large to be told while the guest runs")
    return b"value %d %s\n" % (number, base64.b64encode(content) or b"-")


def refusal(number: int, text: str) -> bytes:
    """Return the line that refuses an ``info-set``."""
    words = " ".join(text.encode("ascii", "replace").decode().split())
    return f"refused {number} {words[:_LONGEST_TEXT]}\n".encode()


class LineSplitter:
    """Cuts what comes in into lines; one that is too long is dropped up to its end."""

    def __init__(self) -> None:
        self._rest = b""
        self._is_dropping = False

    def feed(self, data: bytes) -> list[bytes]:
        """Return the lines that are complete now, empty ones left out."""
        *complete, rest = data.split(b"\n")
        lines = []
        for part in complete:
            line, self._rest = self._rest + part, b""
            if not self._is_dropping and 0 < len(line) <= LONGEST_LINE_BYTES:
                lines.append(line)
            self._is_dropping = False
        if self._is_dropping or len(self._rest) + len(rest) > LONGEST_LINE_BYTES:
            self._rest, self._is_dropping = b"", True
        else:
            self._rest += rest
        return lines


def _number(word: str) -> int:
    if not _NUMBER.fullmatch(word):
        raise ValueError(word)
    return int(word)


def _matching(pattern: re.Pattern[str], word: str) -> str:
    if not pattern.fullmatch(word):
        raise ValueError(word)
    return word


def _hello(words: list[str]) -> Hello:
    protocol, version = words
    return Hello(_number(protocol), _matching(_VERSION, version))


def _alone(message: Beat | Bye) -> Callable[[list[str]], Message]:
    def read(words: list[str]) -> Message:
        if words:
            raise ValueError(words)
        return message

    return read


def _host_name(words: list[str]) -> HostName:
    (name,) = words
    return HostName(_matching(_HOST_NAME, name))


def _nics(words: list[str]) -> Nics:
    if len(words) > _MOST_NICS:
        raise ValueError(len(words))
    return Nics(tuple(map(_nic, words)))


def _nic(word: str) -> GuestNic:
    name, mac_address, *addresses = word.split(",")
    if len(addresses) > _MOST_ADDRESSES or any("%" in each for each in addresses):
        raise ValueError(word)
    return GuestNic(
        name=_matching(_NIC_NAME, name),
        mac_address=_matching(_MAC, mac_address),
        addresses=tuple(map(ip_interface, addresses)),
    )


def _info_get(words: list[str]) -> InfoGet:
    number, key = words
    return InfoGet(_number(number), _matching(_KEY, key))


def _info_set(words: list[str]) -> InfoSet:
    number, key, encoded = words
    return InfoSet(_number(number), _matching(_KEY, key), _value(encoded))


def _value(encoded: str) -> str:
    if encoded == "-":
        return ""
    content = base64.b64decode(encoded, validate=True)
    if not content or len(content) > LARGEST_GUEST_VALUE_BYTES:
        raise binascii.Error("empty, or too large")
    text = content.decode()
    if _UNSHOWABLE.search(text):
        raise ValueError(encoded)
    return text


def _done(words: list[str]) -> Done:
    (number,) = words
    return Done(_number(number))


def _failed(words: list[str]) -> Failed:
    number, kind, *text = words
    if kind not in {"application", "filesystem"}:
        raise ValueError(kind)
    said = "".join(each for each in " ".join(text) if each.isprintable())[:_LONGEST_TEXT]
    known = cast('Literal["application", "filesystem"]', kind)
    return Failed(_number(number), known, said or "it gives no reason")


_READERS: dict[str, Callable[[list[str]], Message]] = {
    "hello": _hello,
    "beat": _alone(Beat()),
    "bye": _alone(Bye()),
    "host-name": _host_name,
    "nics": _nics,
    "info-get": _info_get,
    "info-set": _info_set,
    "done": _done,
    "failed": _failed,
}
