"""Sending many bytes as the body of one request: as fast as TLS allows, in little memory."""

from __future__ import annotations

import http.client
import select
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import BinaryIO

from vmops import in_flight, units
from vmops.context import stop_if_asked
from vmops.errors import ConnectionLost, TransferFailed
from vmops.progress import Observer, TransferProgress
from vmops.vsphere.wire.answers import drain
from vmops.vsphere.wire.pool import HttpsConnection
from vmops.vsphere.wire.silence import AnswerWait, Reader, TransferWait, answer, send_all

# A TLS record holds 16 KiB; from some 64 KiB on the size of a block makes no difference in speed.
BLOCK_BYTES = units.MIB
_TELL_EVERY_S = 0.1


class Progress:
    """Tells an observer of a transfer, not more often than a person can see."""

    def __init__(self, observe: Observer, name: str, total_bytes: int | None) -> None:
        self._observe = observe
        self._name = name
        self._total = total_bytes
        self._told_at = 0.0
        self.done_bytes = 0

    def add(self, size_bytes: int) -> None:
        """Count more bytes."""
        self.done_bytes += size_bytes
        now = time.monotonic()
        if now - self._told_at >= _TELL_EVERY_S or self.done_bytes == self._total:
            self._told_at = now
            stop_if_asked()
            self._observe(
                TransferProgress(
                    name=self._name, done_bytes=self.done_bytes, total_bytes=self._total
                )
            )


def body(
    response: http.client.HTTPResponse, what: str, most_bytes: int | None = None
) -> Iterator[bytes]:
    """The bytes of a download in blocks, as many as were announced, and not more than may be.

    Raises:
        TransferFailed: there are fewer than announced, or more than ``most_bytes``.
    """
    left, room = response.length, most_bytes
    if left is not None and room is not None and left > room:  # nothing of it is worth reading
        raise TransferFailed(f"{what} has {left} bytes, and can have {room} at most.")
    while block := response.read(BLOCK_BYTES):
        left = None if left is None else left - len(block)
        room = None if room is None else room - len(block)
        if room is not None and room < 0:
            raise TransferFailed(f"{what} has more than the {most_bytes} bytes that it can have.")
        yield block
    if left:
        raise TransferFailed(f"{what} ended {left} bytes too early.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """A request whose body is ``size_bytes`` from ``source``."""

    method: str
    target: str
    headers: Mapping[str, str]
    source: BinaryIO
    size_bytes: int


def send(
    connection: HttpsConnection, upload: Upload, progress: Progress
) -> http.client.HTTPResponse:
    """Send the request, read the answer to its end, and return it.

    A server that answers before it has everything is heard at once, and gets no more. After the
    last byte it has ``transfer_silence_s`` to write what it has.

    Raises:
        TransferFailed: the source has fewer or more bytes than that.
        LeaseLost: another one has taken what this is a part of.
        OSError: the connection broke and no answer came, or the server takes too little.
    """
    sock: socket.socket = connection.sock
    size_bytes = upload.size_bytes
    lines = [
        f"{upload.method} {upload.target} HTTP/1.1",
        f"Host: {connection.host}:{connection.port}",
    ]
    lines += [f"{name}: {value}" for name, value in upload.headers.items()]
    lines += [f"Content-Length: {size_bytes}", "", ""]
    patience, limits = connection.patience, connection.limits
    wait = TransferWait(patience, limits)
    send_all(sock, "\r\n".join(lines).encode("ascii"), wait)
    try:
        early = _send_body(sock, upload, progress, wait)
    except (BrokenPipeError, ConnectionResetError, ssl.SSLEOFError) as error:
        # A server that refuses often closes its end; its reason may have arrived.
        early = _answer_so_far(sock)
        if not early:
            raise ConnectionLost(
                f"The connection to {connection.host} was lost after"
                f" {progress.done_bytes} of {size_bytes} bytes: {error}"
            ) from error
    flushed = AnswerWait(replace(patience, answer_s=limits.transfer_silence_s))
    response = answer(Reader(sock, flushed, early), upload.method)
    drain(response)
    if response.will_close or not response.isclosed() or progress.done_bytes < size_bytes:
        connection.close()
    return response


def _send_body(
    sock: socket.socket, upload: Upload, progress: Progress, wait: TransferWait
) -> bytes:
    """Send the body; return what the server said meanwhile, b"" if nothing."""
    source, size_bytes = upload.source, upload.size_bytes
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    block = memoryview(bytearray(min(BLOCK_BYTES, max(size_bytes, 1))))
    while progress.done_bytes < size_bytes:
        got = _fill(source, block[: min(len(block), size_bytes - progress.done_bytes)])
        if not got:
            raise TransferFailed(
                f"The source ended after {progress.done_bytes} of {size_bytes} bytes."
            )
        if progress.done_bytes + got == size_bytes and source.read(1):
            # Told before the last block, so that no server takes what it has for the whole.
            raise TransferFailed(f"The source has more than the {size_bytes} bytes announced.")
        in_flight.check()
        if poll.poll(0) and (early := _answer_so_far(sock)):
            return early
        send_all(sock, block[:got], wait)
        progress.add(got)
    return b""


def _fill(source: BinaryIO, block: memoryview) -> int:
    if hasattr(source, "readinto"):
        return int(source.readinto(block) or 0)
    data = source.read(len(block))
    block[: len(data)] = data
    return len(data)


def _answer_so_far(sock: socket.socket) -> bytes:
    """What can be read without waiting. Of TLS's own messages nothing is left to read."""
    timeout = sock.gettimeout()
    try:
        sock.settimeout(0)
        with suppress(ssl.SSLWantReadError, BlockingIOError, OSError):
            return bytes(sock.recv(65536))
    finally:
        with suppress(OSError):
            sock.settimeout(timeout)
    return b""
