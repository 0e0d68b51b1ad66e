"""The connections the lab has: how many, for how long, and which of them may stay.

Every user of the machine can connect. Who has not logged in gets one of few connections, and not
for long if nothing is asked; who is logged in keeps theirs.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    from _socket import _Address, _RetAddress

MOST_UNKNOWN = 128
"""Connections without a login; for one more the oldest of them goes."""
FIRST_REQUEST_S = 20.0
"""How long a connection may take to its first whole request head, TLS and all."""
IDLE_UNKNOWN_S = 60.0
"""How long a connection without a login may be idle, or send one request's head."""
IDLE_KNOWN_S = 3600.0
"""The same for one that was used by a session."""
LOOK_S = 1.0


@dataclass(slots=True)
class _Connection:
    end: socket.socket
    since: float
    """When it was made, or its last request ended."""
    under_way: int = 0
    asked: bool = False
    known: bool = False
    ended: bool = False

    def limit(self) -> float:
        if self.known:
            return IDLE_KNOWN_S
        return IDLE_UNKNOWN_S if self.asked else FIRST_REQUEST_S

    def close(self) -> None:
        """Hang up; the loop sees the end and cleans up."""
        self.ended = True
        with suppress(OSError):
            self.end.shutdown(socket.SHUT_RDWR)


@dataclass(slots=True)
class Connections:
    """All that are open, by the address of the other end."""

    clock: Callable[[], float] = time.monotonic
    _open: dict[object, _Connection] = field(default_factory=dict)

    def accepted(self, end: socket.socket, peer: object) -> None:
        """Take note of a new one, and make room for it."""
        self._forget_closed()
        self._open[peer] = _Connection(end, self.clock())
        unknown = [each for each in self._open.values() if not each.known and not each.ended]
        # Who waits for an answer, or has asked something, is no flood.
        unknown.sort(key=lambda each: (each.under_way > 0, each.asked, each.since))
        for connection in unknown[: max(0, len(unknown) - MOST_UNKNOWN)]:
            connection.close()

    def of(self, request: web.Request) -> _Connection | None:
        """The connection a request came by."""
        transport = request.transport
        return None if transport is None else self._open.get(transport.get_extra_info("peername"))

    def look(self) -> None:
        """Hang up on who is idle for too long, now."""
        self._forget_closed()
        now = self.clock()
        for connection in self._open.values():
            if not connection.under_way and now - connection.since > connection.limit():
                connection.close()

    def _forget_closed(self) -> None:
        self._open = {key: each for key, each in self._open.items() if each.end.fileno() >= 0}


CONNECTIONS = web.AppKey("connections", Connections)


class Listening(socket.socket):
    """A listening socket that tells `Connections` of each connection before anything is read."""

    connections: Connections | None = None

    def accept(self) -> tuple[socket.socket, _RetAddress]:
        """Accept a connection."""
        end, peer = super().accept()
        if self.connections is not None:
            self.connections.accepted(end, peer)
        return end, peer

    @classmethod
    def at(cls, address: _Address, backlog: int) -> Listening:
        """Listen at a TCP address.

        Raises:
            OSError: the address cannot be had.
        """
        made = cls(socket.AF_INET, socket.SOCK_STREAM)
        try:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind(address)
            made.listen(backlog)
        except BaseException:
            made.close()
            raise
        return made


def known(request: web.Request) -> None:
    """Say that a request was made in a session: its connection may stay."""
    connections = request.app.get(CONNECTIONS)
    connection = None if connections is None else connections.of(request)
    if connection is not None:
        connection.known = True


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@web.middleware
async def count_requests(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Keep a connection from being idle while it waits for an answer."""
    connections = request.app.get(CONNECTIONS)
    connection = None if connections is None else connections.of(request)
    if connections is None or connection is None:
        return await handler(request)
    connection.asked = True
    connection.under_way += 1
    try:
        return await handler(request)
    finally:
        connection.under_way -= 1
        connection.since = connections.clock()
