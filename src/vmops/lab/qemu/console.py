"""The guest's screen and keyboard, by RFB."""

from __future__ import annotations

import asyncio
import socket

from vmops.lab.hypervisor.errors import HypervisorError
from vmops.lab.qemu.guest import Guest


async def open_vnc(guest: Guest) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Return a new connection to the console, made without any listener.

    Raises:
        HypervisorError: QEMU does not take it.
    """
    qmp = await guest.qmp()
    ours, theirs = socket.socketpair()
    try:
        with theirs:
            ours.setblocking(False)
            await qmp.execute("getfd", {"fdname": "vnc"}, descriptor=theirs.fileno())
            client = {"protocol": "vnc", "fdname": "vnc", "skipauth": True}
            await qmp.execute("add_client", client)
        return await asyncio.open_unix_connection(sock=ours)
    except BaseException:
        ours.close()
        raise


async def serve_vnc(guest: Guest, port: int, password: str) -> None:
    """Serve the console on a port of 127.0.0.1 and nowhere else.

    Raises:
        HypervisorError: the port is none or taken, or the password is empty; it is served nowhere
            then.
    """
    await stop_vnc(guest)
    if not 0 < port < 65536:
        raise HypervisorError(f"{port} is not a TCP port")
    if not password:
        raise HypervisorError("a console is not served without a password")
    qmp = await guest.qmp()
    await qmp.execute("set_password", {"protocol": "vnc", "password": password})
    address = {"type": "inet", "host": "127.0.0.1", "port": str(port)}
    await qmp.execute("display-update", {"type": "vnc", "addresses": [address]})
    guest.console = (port, password)


async def stop_vnc(guest: Guest) -> None:
    """Close the port; those connected stay connected.

    Raises:
        HypervisorError: QEMU does not answer.
    """
    guest.console = None
    qmp = await guest.qmp()
    await qmp.execute("display-update", {"type": "vnc", "addresses": []})
