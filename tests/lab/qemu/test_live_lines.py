"""A running guest's console and its serial ports on the network."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, modes

from tests.lab.qemu.machines import Log, a_hypervisor, bootable, counting
from vmops.lab.hypervisor.errors import HypervisorError
from vmops.lab.hypervisor.port import NetworkSerialPort, SerialPort
from vmops.lab.qemu.telnet import Telnet

pytestmark = pytest.mark.guest

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def authenticate(streams: Streams, password: bytes | None) -> int:
    """Speak RFB 3.8 up to the verdict (0 is welcome); the password is proved as RFC 6143 says."""
    reader, writer = streams
    assert await reader.readexactly(12) == b"RFB 003.008\n"
    writer.write(b"RFB 003.008\n")
    (count,) = await reader.readexactly(1)
    kinds = await reader.readexactly(count)
    assert kinds == (b"\x01" if password is None else b"\x02")
    writer.write(kinds)
    if password is not None:
        challenge = await reader.readexactly(16)
        # RFB takes the bits of each byte of the key in the other order than DES does.
        key = bytes(int(f"{byte:08b}"[::-1], 2) for byte in password[:8].ljust(8, b"\0"))
        cipher = Cipher(TripleDES(key * 3), modes.ECB()).encryptor()  # noqa: S305 - RFB's own
        writer.write(cipher.update(challenge) + cipher.finalize())
    return int.from_bytes(await reader.readexactly(4))


async def screen_size(streams: Streams) -> tuple[int, int]:
    reader, writer = streams
    writer.write(b"\x01")
    start = await reader.readexactly(24)
    name = await reader.readexactly(int.from_bytes(start[20:24]))
    assert b"QEMU" in name
    return int.from_bytes(start[:2]), int.from_bytes(start[2:4])


async def with_streams(streams: Streams, use: Callable[[Streams], Awaitable[None]]) -> None:
    try:
        await use(streams)
    finally:
        streams[1].close()


def test_the_console_is_there_without_listening_and_with_a_password(tmp_path: Path) -> None:
    async def run() -> None:
        async with a_hypervisor(tmp_path / "run") as hypervisor:
            machine = counting("vm-1", tmp_path)
            await hypervisor.power_on(machine)
            await asyncio.to_thread(Log(tmp_path, "vm-1").wait_for, 2)

            async def welcome(streams: Streams) -> None:
                assert await authenticate(streams, None) == 0
                assert await screen_size(streams) == (720, 400)

            await with_streams(await hypervisor.open_vnc("vm-1"), welcome)
            port = free_port()
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection("127.0.0.1", port)
            await hypervisor.serve_vnc("vm-1", port, "secret12")

            async def guarded(streams: Streams) -> None:
                assert await authenticate(streams, b"secret12") == 0
                assert await screen_size(streams) == (720, 400)

            async def refused(streams: Streams) -> None:
                assert await authenticate(streams, b"wrong") == 1

            await with_streams(await asyncio.open_connection("127.0.0.1", port), guarded)
            await with_streams(await asyncio.open_connection("127.0.0.1", port), refused)
            await hypervisor.migrate("vm-1", machine)
            await with_streams(await asyncio.open_connection("127.0.0.1", port), guarded)
            with socket.socket() as other:
                other.bind(("127.0.0.1", 0))
                other.listen()
                with pytest.raises(HypervisorError, match="Address already in use"):
                    await hypervisor.serve_vnc("vm-1", other.getsockname()[1], "secret")
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection("127.0.0.1", port)
            with pytest.raises(HypervisorError, match="without a password"):
                await hypervisor.serve_vnc("vm-1", port, "")
            await hypervisor.serve_vnc("vm-1", port, "secret")
            await hypervisor.stop_vnc("vm-1")
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection("127.0.0.1", port)
            cmdlines = [file.read_bytes() for file in Path("/proc").glob("[0-9]*/cmdline")]
            assert not any(b"secret12" in line for line in cmdlines)

    asyncio.run(run())


def test_a_serial_port_that_listens_speaks_telnet_and_never_holds_up_the_guest(
    tmp_path: Path,
) -> None:
    async def run() -> None:
        run_dir, port = tmp_path / "run", free_port()
        line = NetworkSerialPort(key=9000, direction="server", port=port)
        # The counter prints to the first port; where it stands shows the screen.
        machine = counting("vm-1", tmp_path, serial_ports=(line,))
        async with a_hypervisor(run_dir) as hypervisor:
            await hypervisor.power_on(machine)
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            assert (await reader.readexactly(3))[0] == 255
            await reader.readuntil(b"\n")
            counts = await ticks(reader, 5)
            # A second peer is turned away, and one that stops reading stops nobody.
            other, other_writer = await asyncio.open_connection("127.0.0.1", port)
            assert await other.read() == b""
            other_writer.close()
            await hypervisor.migrate("vm-1", machine)
            later = await ticks(reader, 20)
            assert counts + later == list(range(counts[0], counts[0] + 25))
            await hypervisor.stop(keep_guests=True)
            writer.close()
            await hypervisor.start(lambda _key: None)
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            await reader.readuntil(b"\n")
            again = await ticks(reader, 3)
            assert again[0] > later[-1]
            writer.close()
            with pytest.raises(HypervisorError, match="cannot listen"):
                await hypervisor.power_on(counting("vm-2", tmp_path, serial_ports=(line,)))
            assert await hypervisor.running() == {"vm-1"}

    asyncio.run(run())


def test_a_serial_port_that_calls_finds_its_peer_when_it_comes(tmp_path: Path) -> None:
    async def run() -> None:
        port = free_port()
        line = NetworkSerialPort(key=9000, direction="client", port=port, telnet=False)
        heard: asyncio.Queue[Streams] = asyncio.Queue()
        async with a_hypervisor(tmp_path / "run") as hypervisor:
            await hypervisor.power_on(counting("vm-1", tmp_path, serial_ports=(line,)))
            await asyncio.sleep(0.2)
            server = await asyncio.start_server(
                lambda *streams: heard.put_nowait(streams), "127.0.0.1", port
            )
            async with server, asyncio.timeout(30):
                reader, writer = await heard.get()
                await reader.readuntil(b"\n")
                first = await ticks(reader, 3)
                assert first == list(range(first[0], first[0] + 3))
                writer.close()

    asyncio.run(run())


def test_a_peer_that_does_not_read_does_not_stop_the_guest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A sector that floods COM1, and marks every 65536 bytes of it on COM2.
    flood = bytes.fromhex(
        "31c9"  # xor cx, cx
        "bafd03eca82074fb"  # wait for room on COM1
        "baf803b041ee"  # 'A' to COM1
        "e2f0"  # loop: 65536 of them
        "baf802b02eee"  # '.' to COM2
        "ebe6"  # once more
    )
    monkeypatch.setattr("vmops.lab.qemu.serial_relay._MOST_WAITING_BYTES", 16 * 1024)

    async def run() -> None:
        port = free_port()
        disk = bootable(tmp_path / "vm-1-flat.vmdk")
        disk.write_bytes(flood.ljust(510, b"\0") + b"\x55\xaa" + bytes(1024 * 1024 - 512))
        marks = tmp_path / "marks"
        ports = (
            NetworkSerialPort(key=9000, direction="server", port=port, telnet=False),
            SerialPort(key=9001, file=marks),
        )
        async with a_hypervisor(tmp_path / "run") as hypervisor:
            await hypervisor.power_on(counting("vm-1", tmp_path, serial_ports=ports))
            with socket.socket() as peer:
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                peer.connect(("127.0.0.1", port))
                async with asyncio.timeout(100):
                    while not marks.exists() or marks.stat().st_size < 7:
                        await asyncio.sleep(0.1)
                peer.setblocking(False)
                kept = 0
                with contextlib.suppress(BlockingIOError):
                    while data := peer.recv(65536):
                        kept += len(data)
            # The guest came further than all buffers together reach.
            assert 0 < kept < 6 * 65536

    asyncio.run(run())


async def ticks(reader: asyncio.StreamReader, count: int) -> list[int]:
    """So many whole lines of the counter."""
    found: list[int] = []
    async with asyncio.timeout(60):
        while len(found) < count:
            line = await reader.readuntil(b"\n")
            match = re.fullmatch(rb"T([0-9A-F]{8})\n", line)
            assert match, line
            found.append(int(match[1], 16))
    return found


def test_telnet_strips_marks_and_refuses_what_it_does_not_know() -> None:
    telnet = Telnet(is_server=True)
    assert telnet.encode(b"a\xffb") == b"a\xff\xffb"
    received = b"x\xff\xffy\xff\xfd\x18\xff\xfb\x1f\xff\xfd\x01\xff\xfa\x18\x00a\xff\xffb\xff\xf0z"
    pieces = [telnet.decode(received[n : n + 1]) for n in range(len(received))]
    assert b"".join(data for data, _ in pieces) == b"x\xffyz"
    assert b"".join(answer for _, answer in pieces) == b"\xff\xfc\x18\xff\xfe\x1f"
