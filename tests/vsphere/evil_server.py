"""A server that means harm: it passes calls on, and answers one as no server may."""

from __future__ import annotations

import itertools
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from tests.vsphere.interposer import Interposer, When

MIB = 1024**2
ENVELOPE = (
    b'<?xml version="1.0"?><e:Envelope xmlns:e="http://schemas.xmlsoap.org/soap/envelope/"'
    b' xmlns="urn:vim25" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
    b' xmlns:xsd="http://www.w3.org/2001/XMLSchema"><e:Body>'
)
OK = b"HTTP/1.1 200 OK\r\n"
Answer = Callable[[str], Iterator[bytes]]
"""The bytes of an answer to a call of this method; after the last one the server says no more."""


def sized(body: bytes) -> Iterator[bytes]:
    yield OK + b"Content-Type: text/xml\r\nContent-Length: %d\r\n\r\n" % len(body)
    yield body


def response(method: str, content: bytes) -> bytes:
    name = method.encode()
    return ENVELOPE + b"<%sResponse>%s</%sResponse></e:Body></e:Envelope>" % (name, content, name)


def huge_length(method: str) -> Iterator[bytes]:
    yield OK + b"Content-Length: 1000000000000\r\n\r\n" + ENVELOPE


def long_number(method: str) -> Iterator[bytes]:
    yield OK + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n" + ENVELOPE


def negative_length(method: str) -> Iterator[bytes]:
    yield OK + b"Content-Length: -7\r\n\r\n" + ENVELOPE


def endless(method: str) -> Iterator[bytes]:
    yield OK + b"Connection: close\r\n\r\n" + ENVELOPE
    yield from itertools.repeat(b" " * 65536, 512 * MIB // 65536)


def endless_chunks(method: str) -> Iterator[bytes]:
    yield OK + b"Transfer-Encoding: chunked\r\n\r\n"
    yield from itertools.repeat(b"10000\r\n" + b" " * 65536 + b"\r\n", 512 * MIB // 65536)


def endless_chunk(method: str) -> Iterator[bytes]:
    yield OK + b"Transfer-Encoding: chunked\r\n\r\n" + b"f" * 30 + b"\r\n"
    yield from itertools.repeat(b" " * 65536, 512 * MIB // 65536)


def endless_headers(method: str) -> Iterator[bytes]:
    yield OK
    yield from itertools.repeat(b"X-More: and more\r\n" * 1000, 10_000)


def endless_line(method: str) -> Iterator[bytes]:
    yield OK + b"X-More: "
    yield from itertools.repeat(b"m" * 65536, 8192)


def endless_continue(method: str) -> Iterator[bytes]:
    yield from itertools.repeat(b"HTTP/1.1 100 Continue\r\n\r\n" * 100, 1_000_000)


def no_http(method: str) -> Iterator[bytes]:
    yield b"SSH-2.0-OpenSSH_9.2p1\r\n"
    yield b"\x00" * 100_000


def long_status(method: str) -> Iterator[bytes]:
    yield b"HTTP/1.1 200 " + b"O" * 200_000 + b"\r\n\r\n"


def packed(method: str) -> Iterator[bytes]:
    yield OK + b"Content-Encoding: gzip\r\nContent-Length: 10\r\n\r\n" + b"\x1f\x8b" + b"\0" * 8


def trickle(method: str) -> Iterator[bytes]:
    yield OK + b"Content-Length: 100000\r\n\r\n"
    for _ in range(600):
        yield b" "
        threading.Event().wait(0.1)


def many_objects(method: str) -> Iterator[bytes]:
    one = b'<objects><obj type="VirtualMachine">vm-1</obj></objects>'
    content = b"<returnval>" + one * 200_000 + b"</returnval>"
    yield from sized(response(method, content))


def deep(method: str) -> Iterator[bytes]:
    yield from sized(response(method, b"<returnval>" * 190_000 + b"</returnval>" * 190_000))


def deep_any(method: str) -> Iterator[bytes]:
    nest = b'<returnval xsi:type="ArrayOfAnyType">'
    inner = b'<anyType xsi:type="ArrayOfAnyType">'
    depth = 90_000
    content = nest + inner * depth + b"</anyType>" * depth + b"</returnval>"
    yield from sized(response(method, content))


def document_type(method: str) -> Iterator[bytes]:
    late = b"<!-- " + b"x" * 10_000 + b" -->"
    doctype = b'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]>'
    body = response(method, b"<returnval>&b;</returnval>")
    head, _, rest = body.partition(b"?>")
    yield from sized(head + b"?>" + late + doctype + rest)


def wide_document_type(method: str) -> Iterator[bytes]:
    text = '<?xml version="1.0" encoding="utf-16"?><!DOCTYPE x [<!ENTITY a "b">]>'
    text += response(method, b"<returnval>&a;</returnval>").decode().partition("?>")[2]
    yield from sized(text.encode("utf-16"))


def wrong_types(method: str) -> Iterator[bytes]:
    yield from sized(
        response(method, b'<returnval xsi:type="xsd:int">' + b"9" * 5000 + b"</returnval>")
    )


def another_type(method: str) -> Iterator[bytes]:
    yield from sized(response(method, b'<returnval xsi:type="VirtualMachineConfigSpec"/>'))


def unknown_type(method: str) -> Iterator[bytes]:
    yield from sized(response(method, b'<returnval xsi:type="NoSuchType"><x>1</x></returnval>'))


def no_utf8(method: str) -> Iterator[bytes]:
    yield from sized(response(method, b"<returnval>\xff\xfe\x80</returnval>"))


def empty(method: str) -> Iterator[bytes]:
    yield from sized(b"")


def half(method: str) -> Iterator[bytes]:
    yield from sized(ENVELOPE)


ANSWERS: tuple[Answer, ...] = (
    huge_length,
    long_number,
    negative_length,
    endless,
    endless_chunks,
    endless_chunk,
    endless_headers,
    endless_line,
    endless_continue,
    no_http,
    long_status,
    packed,
    trickle,
    many_objects,
    deep,
    deep_any,
    document_type,
    wide_document_type,
    wrong_types,
    another_type,
    unknown_type,
    no_utf8,
    empty,
    half,
)


class EvilServer(Interposer):
    """Answers each call of one method, a SOAP method or an HTTP one, with evil."""

    def __init__(self, upstream: str, folder: Path) -> None:
        self.method = ""
        self.answer: Answer = empty
        self.sent_bytes = 0
        super().__init__(upstream, folder)

    def turn(self, method: str, answer: Answer) -> None:
        """Be good until now, and evil to such calls from now on."""
        self.answer, self.method, self.sent_bytes = answer, method, 0

    def _harm(self, client: ssl.SSLSocket, method: str, when: When) -> bool:
        if method != self.method or when != "before":
            return True
        client.settimeout(60)
        with suppress(OSError):
            for piece in self.answer(method):
                client.sendall(piece)
                self.sent_bytes += len(piece)
            self._stopped.wait(0.2)
            while client.recv(65536):  # until the client has gone
                pass
        return False
