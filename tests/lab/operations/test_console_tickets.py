"""Tickets for consoles: what they say, that they work once, and what ends them."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pyVmomi import vim, vmodl

from tests.lab.client import Client, connect
from tests.lab.web_socket import Refused, WebSocket
from vmops.lab import Lab, LabSettings
from vmops.lab.kernel.kernel import Kernel
from vmops.lab.kernel.session_manager import SessionManager
from vmops.lab.operations.console_tickets import LIFETIME_S, ConsoleTickets


@pytest.fixture
def vm(client: Client, name: str) -> Any:
    made = client.create(name)
    client.result(made.PowerOnVM_Task())
    return made


@pytest.fixture
def echo(client: Client, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the console say a greeting, and then everything it hears."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"RFB 003.008\n")
        while data := await reader.read(1024):
            writer.write(data)
        writer.close()

    async def start(_kernel: Kernel) -> asyncio.Server:
        return await asyncio.start_server(serve, "127.0.0.1", 0)

    server = client.lab.on_loop(start)
    port = server.sockets[0].getsockname()[1]

    async def open_vnc(_key: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", port)

    monkeypatch.setattr(client.lab.kernel.hypervisor, "open_vnc", open_vnc)
    yield

    async def stop(_kernel: Kernel) -> None:
        server.close()
        await server.wait_closed()

    client.lab.on_loop(stop)


def opened(client: Client, url: str, **options: Any) -> WebSocket:
    return WebSocket(url, client.lab.certificate_file, **options)


def status(client: Client, url: str, **options: Any) -> int:
    with pytest.raises(Refused) as caught:
        opened(client, url, **options)
    return caught.value.status


def test_a_ticket_says_where_to_go(client: Client, vm: Any) -> None:
    first, second = vm.AcquireTicket("webmks"), vm.AcquireTicket("webmks")
    plain = vm.AcquireTicket("mks")

    assert first.ticket != second.ticket
    assert len(bytes.fromhex(first.ticket)) >= 16
    assert first.url == f"wss://127.0.0.1:{first.port}/ticket/{first.ticket}"
    assert f":{first.port}/" in client.lab.url
    assert first.host == "127.0.0.1"
    assert len(first.sslThumbprint.split(":")) == 20
    assert first.cfgFile == vm.config.files.vmPathName
    assert plain.url is None
    assert vm.AcquireMksTicket().ticket not in {first.ticket, second.ticket, plain.ticket}


def test_a_ticket_carries_both_directions_once(client: Client, vm: Any, echo: None) -> None:
    ticket = vm.AcquireTicket("webmks")

    with opened(client, ticket.url) as socket:
        assert socket.headers["sec-websocket-protocol"] == "binary"
        assert socket.receive(12) == b"RFB 003.008\n"
        socket.send(b"\x00\xff and back")
        assert socket.receive(11) == b"\x00\xff and back"
        assert vm.runtime.numMksConnections == 1
        assert status(client, ticket.url) == 404


def test_without_the_subprotocol_the_ticket_stays_good(client: Client, vm: Any, echo: None) -> None:
    ticket = vm.AcquireTicket("webmks")

    assert status(client, ticket.url, subprotocol="vmware-vvc") == 400
    assert status(client, ticket.url, subprotocol=None) == 400
    with opened(client, ticket.url, subprotocol="vmware-vvc, binary") as socket:
        assert socket.receive(4) == b"RFB "


def test_what_ends_a_ticket(
    client: Client, vm: Any, echo: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    late, off = vm.AcquireTicket("webmks").url, vm.AcquireTicket("webmks").url
    other = connect(client.lab)
    theirs = vim.VirtualMachine(vm._moId, other.stub).AcquireTicket("webmks").url or ""
    other.close()
    tickets = client.lab.kernel.service(ConsoleTickets)
    clock = tickets.clock
    assert status(client, theirs) == 404
    monkeypatch.setattr(tickets, "clock", lambda: clock() + LIFETIME_S + 1)
    assert status(client, late) == 404
    monkeypatch.undo()
    client.result(vm.PowerOffVM_Task())
    client.result(vm.PowerOnVM_Task())
    assert status(client, off) == 404
    assert status(client, late.rpartition("/")[0] + "/" + "0" * 40) == 404


def test_a_ticket_is_in_no_log(
    client: Client, vm: Any, echo: None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    used, unused = vm.AcquireTicket("webmks"), vm.AcquireTicket("webmks")
    opened(client, used.url).close()
    status(client, unused.url, subprotocol=None)

    assert used.ticket not in caplog.text
    assert unused.ticket not in caplog.text
    tickets = client.lab.kernel.service(ConsoleTickets)
    assert unused.ticket not in repr(tickets)


def test_a_machine_that_is_off_has_none(client: Client, vm: Any) -> None:
    client.result(vm.PowerOffVM_Task())

    with pytest.raises(vim.fault.InvalidPowerState):
        vm.AcquireTicket("webmks")
    with pytest.raises(vmodl.fault.NotSupported):
        vm.AcquireTicket("guestControl")
    with pytest.raises(vmodl.fault.InvalidArgument):
        vm.AcquireTicket("tea")


def test_there_is_no_console_without_a_guest(client: Client, vm: Any) -> None:
    assert status(client, vm.AcquireTicket("webmks").url) == 503


def test_open_consoles_end_with_the_lab(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = LabSettings(state_dir=tmp_path / "lab", hypervisor="none")
    with Lab.run(settings) as lab:
        _end_with_an_open_console(connect(lab), name, monkeypatch)


def _end_with_an_open_console(own: Client, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    vm = own.create(name)
    own.result(vm.PowerOnVM_Task())

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"RFB 003.008\n")
        await reader.read()
        writer.close()

    async def start(_kernel: Kernel) -> asyncio.Server:
        return await asyncio.start_server(serve, "127.0.0.1", 0)

    server = own.lab.on_loop(start)
    port = server.sockets[0].getsockname()[1]

    async def open_vnc(_key: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", port)

    monkeypatch.setattr(own.lab.kernel.hypervisor, "open_vnc", open_vnc)
    socket = opened(own, vm.AcquireTicket("webmks").url)
    assert socket.receive(4) == b"RFB "

    async def stop(_kernel: Kernel) -> None:
        server.close()
        await own.lab.stop()

    began = time.monotonic()
    own.lab.on_loop(stop)
    assert time.monotonic() - began < 4
    with pytest.raises(ConnectionError):
        socket.receive(1024)
    socket.close()
    own.stub.DropConnections()


def ends(socket: WebSocket) -> bool:
    """Whether the console hangs up on who looks on."""
    with pytest.raises(ConnectionError):
        while True:
            socket.receive(1)
    return True


@pytest.mark.parametrize("how", ["TerminateSession", "idle"])
def test_an_open_console_ends_with_its_session(
    client: Client, vm: Any, echo: None, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    other = connect(client.lab)
    url = vim.VirtualMachine(vm._moId, other.stub).AcquireTicket("webmks").url or ""
    manager = client.content.sessionManager
    with opened(client, url) as socket:
        assert socket.receive(12) == b"RFB 003.008\n"
        if how == "TerminateSession":
            manager.TerminateSession([other.content.sessionManager.currentSession.key])
        else:
            found = client.lab.kernel.registry.find("SessionManager", SessionManager)
            theirs = found.by_token(str(other.stub.cookie).split('"')[1])
            monkeypatch.setattr(theirs, "last_active", datetime.now(UTC) - timedelta(hours=1))
        assert ends(socket)
    deadline = time.monotonic() + 10
    while vm.runtime.numMksConnections:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    other.drop()


@pytest.mark.parametrize("header", ["Origin: https://evil.example", "Origin: null"])
def test_a_page_of_another_site_gets_no_console(
    client: Client, vm: Any, echo: None, header: str
) -> None:
    ticket = vm.AcquireTicket("webmks")
    assert status(client, ticket.url, more=(header,)) == 403
    # It was not used up.
    own = f"Origin: https://127.0.0.1:{ticket.port}"
    with opened(client, ticket.url, more=(own,)) as socket:
        assert socket.receive(4) == b"RFB "
