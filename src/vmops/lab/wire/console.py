"""``/ticket/{ticket}``: a guest's screen and keyboard, RFB in a WebSocket.

Who has the ticket needs nothing else; no page of another site gets here even with one. A console is
open no longer than the session that asked for its ticket.
"""

from __future__ import annotations

import asyncio
import contextlib
from asyncio import StreamReader, StreamWriter

from aiohttp import WSCloseCode, WSMsgType, web

from vmops.lab.hypervisor.errors import HypervisorError
from vmops.lab.kernel.kernel import Kernel
from vmops.lab.machine.machine import Machine
from vmops.lab.operations.console_tickets import ConsoleTickets
from vmops.lab.wire.connections import known

SUBPROTOCOL = "binary"
_AT_ONCE = 64 * 1024
_LARGEST_MESSAGE = 4 * 1024 * 1024  # a clipboard's text is the largest thing a viewer sends
_CLOSE_S = 2.0


class OpenConsoles(set[web.WebSocketResponse]):
    """The consoles somebody looks at now."""


OPEN = web.AppKey("open_consoles", OpenConsoles)


def add_console(app: web.Application, kernel: Kernel) -> None:
    """Serve consoles, and close them when the lab stops."""
    app[OPEN] = OpenConsoles()
    app.on_shutdown.append(_close_all)

    async def console(request: web.Request) -> web.StreamResponse:
        """Redeem the ticket: 404 for one that is no good, 400 for another subprotocol."""
        offered = request.headers.get("Sec-WebSocket-Protocol", "").split(",")
        if SUBPROTOCOL not in {name.strip() for name in offered}:
            raise web.HTTPBadRequest(text=f"The subprotocol is '{SUBPROTOCOL}'.")
        redeemed = kernel.service(ConsoleTickets).redeem(request.match_info["ticket"])
        if redeemed is None or redeemed[0] not in kernel.registry:
            raise web.HTTPNotFound(text="There is no such ticket, or it was used.")
        moid, session = redeemed
        vm = kernel.registry.find(moid, Machine)
        limit = vm.config.maxMksConnections or 1
        if vm.properties["runtime"].numMksConnections >= limit:
            raise web.HTTPServiceUnavailable(text="The machine has as many consoles as it may.")
        # The session's end is the console's, also of one that is still being opened.
        ended = asyncio.Event()
        session.holdings[ended] = ended.set
        try:
            return await _opened(request, vm, ended)
        finally:
            session.holdings.pop(ended, None)

    app.router.add_get("/ticket/{ticket}", console)


async def _opened(request: web.Request, vm: Machine, ended: asyncio.Event) -> web.StreamResponse:
    try:
        reader, writer = await vm.kernel.hypervisor.open_vnc(vm.moid)
    except HypervisorError as error:
        raise web.HTTPServiceUnavailable(text=str(error)) from error
    try:
        if ended.is_set():
            raise web.HTTPNotFound(text="The ticket's session has ended.")
        return await _serve(request, vm, ended, reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def _serve(
    request: web.Request,
    vm: Machine,
    ended: asyncio.Event,
    reader: StreamReader,
    writer: StreamWriter,
) -> web.WebSocketResponse:
    socket = web.WebSocketResponse(
        protocols=(SUBPROTOCOL,), max_msg_size=_LARGEST_MESSAGE, timeout=_CLOSE_S, compress=False
    )
    await socket.prepare(request)
    known(request)
    request.app[OPEN].add(socket)
    _count(vm, 1)
    others = (
        asyncio.create_task(_to_client(reader, socket)),
        asyncio.create_task(_hang_up(ended, socket)),
    )
    try:
        await _to_guest(socket, writer)
    finally:
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        request.app[OPEN].discard(socket)
        _count(vm, -1)
    return socket


async def _to_client(reader: StreamReader, socket: web.WebSocketResponse) -> None:
    """Hand on what the guest shows, and hang up when it ends."""
    with contextlib.suppress(ConnectionError):
        # Chunks as they come: viewers expect each part of RFB's greeting in one piece.
        while data := await reader.read(_AT_ONCE):
            await socket.send_bytes(data)
    await socket.close()


async def _hang_up(ended: asyncio.Event, socket: web.WebSocketResponse) -> None:
    await ended.wait()
    await socket.close(code=WSCloseCode.POLICY_VIOLATION, message=b"The session has ended.")


async def _to_guest(socket: web.WebSocketResponse, writer: StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        async for message in socket:
            if message.type is not WSMsgType.BINARY:
                break
            writer.write(message.data)
            await writer.drain()
    if not socket.closed:
        await socket.close()


def _count(vm: Machine, change: int) -> None:
    if vm.moid in vm.kernel.registry:
        number = vm.properties["runtime"].numMksConnections + change
        vm.publish({"runtime.numMksConnections": max(0, number)})


async def _close_all(app: web.Application) -> None:
    consoles = app[OPEN]
    for socket in tuple(consoles):
        await socket.close()
