"""Waiting for the bytes of one exchange, and when to give that up.

A limit for each single byte would be none: a server that sends one a second would never meet it. So
an answer has a deadline for the whole of it, and a transfer a least rate.
"""

from __future__ import annotations

import http.client
import io
import socket
import time
from collections import deque
from dataclasses import dataclass
from typing import Any, Protocol

from vmops import units
from vmops.vsphere.wire.limits import Limits

_PARTS = 6
_MOST_HEAD_BYTES = 256 * units.KIB


class GaveUp(TimeoutError):
    """Nobody waits any longer; the text says for what, and continues "The server ..."."""


class Lives(Protocol):
    """Knows whether the server answers anybody; see `vmops.vsphere.wire.vigil`."""

    limits: Limits

    def bear(self, heard_at: float, limit_s: float) -> None:
        """Go on waiting for one who heard the last byte then, or raise `GaveUp`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long to wait for one exchange; without ``lives``, only for the whole of the answer.

    ``silence_s``: without an answer to anybody; ``another_s``: without a byte here, although the
    server lives. ``fresh``: over a new connection, which says more of the server than an old one.
    """

    answer_s: float
    silence_s: float = 0.0
    another_s: float = float("inf")
    lives: Lives | None = None
    fresh: bool = False


class Wait:
    """What `Reader` and whoever sends asks how long to wait."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._heard_at = time.monotonic()

    def slice_s(self) -> float:
        """How long to wait now, until `silent` is to be called.

        Raises:
            GaveUp: no longer.
        """
        left = self._left_s(time.monotonic())
        lives = self._patience.lives
        # Four looks in the time after which something is asked: none is late by much.
        return left if lives is None else min(left, max(lives.limits.probe_after_s / 4, 0.01))

    def silent(self) -> None:
        """A slice has passed without a byte; raises as `slice_s`."""
        patience = self._patience
        if patience.lives is None:
            return
        quiet = time.monotonic() - self._heard_at
        if quiet >= patience.lives.limits.probe_after_s:
            patience.lives.bear(self._heard_at, patience.silence_s)
            if quiet >= patience.another_s:
                raise GaveUp(f"was silent on one connection for {quiet:.0f} seconds")

    def moved(self, size_bytes: int, waited_s: float) -> None:
        """Bytes came or went after so long; raises as `slice_s`."""
        self._heard_at = time.monotonic()

    def _left_s(self, now: float) -> float:
        raise NotImplementedError


class AnswerWait(Wait):
    """Waits for an answer; its time runs from here on."""

    def __init__(self, patience: Patience) -> None:
        super().__init__(patience)
        self._end = self._heard_at + patience.answer_s

    def _left_s(self, now: float) -> float:
        if now >= self._end:
            raise GaveUp(f"did not answer within {self._patience.answer_s:g} seconds")
        return self._end - now

    def within_s(self, most_s: float) -> float:
        """How long a part may take that may take ``most_s`` at most; raises as `slice_s`."""
        return min(self._left_s(time.monotonic()), most_s)


class TransferWait(Wait):
    """Waits for the bytes of a file; only the time spent in waiting counts, not its reader's."""

    def __init__(self, patience: Patience, limits: Limits) -> None:
        super().__init__(patience)
        self._limits = limits
        self._quiet_s = 0.0
        # What was moved in each sixth of the time that is looked back on, the latest last.
        self._sizes = deque([0], maxlen=_PARTS)
        self._part_s = 0.0

    def _left_s(self, now: float) -> float:
        self._heard_at = now - self._quiet_s
        left = self._limits.transfer_silence_s - self._quiet_s
        if left <= 0:
            raise GaveUp(f"moved no byte of a file for {self._quiet_s:.0f} seconds")
        return left

    def silent(self) -> None:
        """See `Wait.silent`."""
        try:
            super().silent()
        finally:
            self._quiet_s = time.monotonic() - self._heard_at

    def moved(self, size_bytes: int, waited_s: float) -> None:
        """See `Wait.moved`."""
        self._part_s += self._quiet_s + waited_s
        self._quiet_s = 0.0
        self._sizes[-1] += size_bytes
        span_s = self._limits.transfer_silence_s
        while self._part_s >= span_s / _PARTS:
            self._part_s -= span_s / _PARTS
            moved = sum(self._sizes)
            if len(self._sizes) == _PARTS and moved < self._limits.least_rate * span_s:
                raise GaveUp(f"moved only {moved} bytes of a file in {span_s:g} seconds")
            self._sizes.append(0)


class Reader(io.RawIOBase):
    """A socket for `HTTPResponse`; what was read already, ``early``, comes first.

    ``wait`` may be replaced when a part of the answer has come.
    """

    def __init__(self, sock: socket.socket, wait: Wait, early: bytes = b"") -> None:
        super().__init__()
        self._sock = sock
        self._early = early
        self.wait = wait
        self.left_bytes: int | None = None
        """What may still come of a head; None: no head is being read."""

    def makefile(self, mode: str) -> io.BufferedReader:
        """What `HTTPResponse` reads from."""
        return io.BufferedReader(self)

    def readable(self) -> bool:
        """As `io.BufferedReader` asks."""
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - typing_extensions' Buffer
        """Wait for bytes; raises as `Wait.slice_s`."""
        if self._early:
            taken = min(len(buffer), len(self._early))
            buffer[:taken] = self._early[:taken]
            self._early = self._early[taken:]
            return taken
        while True:
            self._sock.settimeout(self.wait.slice_s())
            begin = time.monotonic()
            try:
                size = self._sock.recv_into(buffer)
            except TimeoutError:
                self.wait.silent()
            else:
                self.wait.moved(size, time.monotonic() - begin)
                self._count(size)
                return size

    def _count(self, size: int) -> None:
        if self.left_bytes is not None:
            self.left_bytes -= size
            if self.left_bytes < 0:
                raise http.client.HTTPException("the head of its answer has no end")


def answer(reader: Reader, method: str) -> http.client.HTTPResponse:
    """The answer to a request of this method; its body is still to be read."""
    response = http.client.HTTPResponse(reader, method=method)  # type: ignore[arg-type]
    reader.left_bytes = _MOST_HEAD_BYTES
    try:
        response.begin()
    except BaseException:
        response.close()
        raise
    reader.left_bytes = None
    return response


def send_all(sock: socket.socket, data: memoryview | bytes, wait: Wait) -> None:
    """Send in pieces so small that their time says how fast it goes.

    Raises:
        GaveUp: it goes too slowly, or not at all.
    """
    view = memoryview(data)
    while view:
        sock.settimeout(wait.slice_s())
        begin = time.monotonic()
        try:
            size = sock.send(view[:_PIECE_BYTES])
        except TimeoutError:
            wait.silent()
        else:
            wait.moved(size, time.monotonic() - begin)
            view = view[size:]


_PIECE_BYTES = 65536  # as fast as larger ones; the least rate moves as much in its time
