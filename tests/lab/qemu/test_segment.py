"""The switch, its address server, and the way out through the router."""

from __future__ import annotations

import asyncio
import shutil
import socket
import struct
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from vmops.lab.hypervisor.port import Segment
from vmops.lab.qemu.addresses import ROUTER_MAC, Leases, dhcp_answer, is_dhcp_request
from vmops.lab.qemu.capabilities import Capabilities, capabilities
from vmops.lab.qemu.network import Segments
from vmops.lab.qemu.process import HeldProcess, ProcessIdentity

PLAIN = Segment(name="a/../plain", nat=False)
NAT = Segment(name="nat", nat=True)
NO_QEMU = Capabilities(program=Path("/nowhere"), version=(0, 0), sandbox=False)
NO_ADDRESS = str(IPv4Address(0))
ALL = b"\xff" * 6


def mac(number: int) -> bytes:
    return b"\x00\x50\x56\x00" + number.to_bytes(2)


def frame(to: bytes, sender: bytes, text: bytes) -> bytes:
    return to + sender + b"\x88\xb5" + text  # the type is for experiments


def dhcp(sender: bytes, kind: int, options: bytes = b"") -> bytes:
    bootp = struct.pack(">BBBBIHH", 1, 1, 6, 0, 0x1234, 0, 0) + bytes(16)
    bootp += sender.ljust(16, b"\0") + bytes(192) + b"\x63\x82\x53\x63"
    bootp += bytes([53, 1, kind]) + options + b"\xff"
    udp = struct.pack(">HHHH", 68, 67, 8 + len(bootp), 0) + bootp
    ip = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0) + bytes(4) + b"\xff" * 4
    return ALL + sender + b"\x08\x00" + ip + udp


def answered(reply: bytes | None) -> tuple[int, IPv4Address]:
    """Return the kind of a DHCP answer and the address in it."""
    assert reply is not None
    bootp = reply[42:]
    assert bootp[240:242] == b"\x35\x01"
    return bootp[242], IPv4Address(bootp[16:20])


class Port:
    """A guest's end of a segment."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self._loop = asyncio.get_running_loop()

    async def send(self, data: bytes) -> None:
        await self._loop.sock_sendall(self.connection, struct.pack(">I", len(data)) + data)

    async def receive(self, seconds: float = 20.0) -> bytes:
        async with asyncio.timeout(seconds):
            length = int.from_bytes(await self._exactly(4))
            return await self._exactly(length)

    async def hears_nothing(self) -> bool:
        try:
            heard = await self.receive(0.3)
        except TimeoutError:
            return True
        raise AssertionError(heard)

    async def is_cut_off(self) -> bool:
        try:
            while True:
                await self.receive()
        except (EOFError, ConnectionError):
            return True

    async def _exactly(self, length: int) -> bytes:
        data = b""
        while len(data) < length:
            more = await self._loop.sock_recv(self.connection, length - len(data))
            if not more:
                raise EOFError
            data += more
        return data


@asynccontextmanager
async def a_segment(
    folder: Path, segment: Segment, ports: int, idle_s: float = 30.0
) -> AsyncIterator[list[Port]]:
    segments = Segments(folder / "segments", idle_s=idle_s)
    qemu = await capabilities() if segment.nat else NO_QEMU
    connections: list[socket.socket] = []
    try:
        for _ in range(ports):  # one by one, so that those made are closed on failure
            connection = await segments.connect(segment, qemu)
            connections.append(connection)
        yield [Port(connection) for connection in connections]
    finally:
        for connection in connections:
            connection.close()
        await segments.end_all()


def test_frames_reach_all_until_it_is_known_whom(tmp_path: Path) -> None:
    async def run() -> None:
        async with a_segment(tmp_path, PLAIN, 3) as (a, b, c):
            await a.send(frame(ALL, mac(1), b"who is there"))
            assert (await b.receive())[14:] == (await c.receive())[14:] == b"who is there"
            await b.send(frame(mac(1), mac(2), b"I am"))
            assert (await a.receive())[14:] == b"I am"
            await a.send(frame(mac(2), mac(1), b"hello"))
            assert (await b.receive())[14:] == b"hello"
            assert await c.hears_nothing()
            assert await a.hears_nothing()

    asyncio.run(run())


def test_a_port_that_does_not_read_or_talks_nonsense_harms_nobody(tmp_path: Path) -> None:
    async def run() -> None:
        async with a_segment(tmp_path, PLAIN, 4) as (a, b, deaf, mad):
            await asyncio.get_running_loop().sock_sendall(mad.connection, b"\xff" * 100)
            await deaf.send(frame(ALL, mac(3), b"here"))
            await b.receive()
            await a.receive()
            for number in range(300):
                await a.send(frame(ALL, mac(1), number.to_bytes(2) + bytes(60000)))
                assert (await b.receive())[14:16] == number.to_bytes(2)
            assert await mad.is_cut_off()

    asyncio.run(run())


def test_what_each_card_moves_is_counted(tmp_path: Path) -> None:
    async def run() -> None:
        segments = Segments(tmp_path / "segments")
        try:
            assert await segments.traffic() == {}
            a = Port(await segments.connect(PLAIN, NO_QEMU))
            b = Port(await segments.connect(PLAIN, NO_QEMU))
            c = Port(await segments.connect(Segment(name="other", nat=False), NO_QEMU))
            await a.send(frame(ALL, mac(1), bytes(86)))
            assert len(await b.receive()) == 100
            for _ in range(3):
                await b.send(frame(mac(1), mac(2), bytes(986)))
                await a.receive()
            await c.send(frame(ALL, mac(3), bytes(86)))
            await asyncio.sleep(0.2)

            moved = await segments.traffic()

            told = {
                name: (each.received_bytes, each.sent_bytes, each.received_packets)
                for name, each in moved.items()
            }
            assert told == {
                mac(1).hex(":"): (3000, 100, 3),
                mac(2).hex(":"): (100, 3000, 1),
                mac(3).hex(":"): (0, 100, 0),
            }
            assert moved[mac(2).hex(":")].sent_packets == 3
            # Who asks is no port: it is sent nothing, and nobody hears of it.
            assert await a.hears_nothing()
            a.connection.close()
            await asyncio.sleep(0.2)
            assert mac(1).hex(":") not in await segments.traffic()
        finally:
            for port in (a, b, c):
                port.connection.close()
            await segments.end_all()

    asyncio.run(run())


def test_a_segment_outlives_the_lab_and_ends_when_the_last_guest_has_gone(tmp_path: Path) -> None:
    async def run() -> None:
        directory = tmp_path / "segments"
        first, second = Segments(directory, idle_s=0.5), Segments(directory, idle_s=0.5)
        try:
            a = Port(await first.connect(PLAIN, NO_QEMU))
            first.release()
            b = Port(await second.connect(PLAIN, NO_QEMU))
            await b.send(frame(ALL, mac(2), b"still here"))
            assert (await a.receive())[14:] == b"still here"
            (record,) = directory.glob("*.process")
            identity = ProcessIdentity.load(record)
            assert identity is not None
            process = HeldProcess.hold(identity)
            assert process is not None
            assert not await process.wait_ended(1.5)
            a.connection.close()
            b.connection.close()
            assert await process.wait_ended(10)
            assert not list(directory.glob("*.socket"))
            with await second.connect(PLAIN, NO_QEMU):  # and it is started anew when needed
                assert list(directory.glob("*.socket"))
        finally:
            await second.end_all()
        assert not list(directory.glob("*.process"))

    asyncio.run(run())


@pytest.mark.skipif(shutil.which("qemu-system-x86_64") is None, reason="QEMU is not installed")
def test_nat_gives_an_address_and_a_router_that_answers(tmp_path: Path) -> None:
    async def run() -> None:
        async with a_segment(tmp_path, NAT, 2) as (a, b):
            await a.send(dhcp(mac(1), 1))
            kind, address = answered(await a.receive())
            assert (kind, address) == (2, IPv4Address("10.0.2.15"))
            assert await b.hears_nothing()
            ask = b"\x00\x01\x08\x00\x06\x04\x00\x01" + mac(1) + address.packed + bytes(6)
            await a.send(ALL + mac(1) + b"\x08\x06" + ask + b"\x0a\x00\x02\x02")
            reply = await a.receive()
            while reply[12:14] != b"\x08\x06" or reply[21] != 2:
                reply = await a.receive()
            assert reply[22:28] == ROUTER_MAC
        leases = Segments(tmp_path / "segments").leases("nat")
        assert leases == {mac(1).hex(":"): "10.0.2.15"}

    begun = time.monotonic()
    asyncio.run(run())
    assert time.monotonic() - begun < 60


class TestAddresses:
    def test_a_card_keeps_its_address_over_restarts(self, tmp_path: Path) -> None:
        file = tmp_path / "leases"
        first = Leases(file).address_of(mac(1))
        leases = Leases(file)
        assert leases.address_of(mac(2)) != first
        assert leases.address_of(mac(1)) == first

    def test_the_longest_unheard_of_makes_room(self, tmp_path: Path) -> None:
        leases = Leases(tmp_path / "leases")
        given = [leases.address_of(mac(number)) for number in range(240)]
        assert len(set(given)) == 240
        assert leases.address_of(mac(0)) == given[0]
        assert leases.address_of(mac(999)) == given[1]
        assert leases.address_of(mac(2)) == given[2]

    def test_a_broken_file_is_begun_anew(self, tmp_path: Path) -> None:
        (tmp_path / "leases").write_text("{")
        assert Leases(tmp_path / "leases").address_of(mac(1)) == IPv4Address("10.0.2.15")

    @pytest.mark.parametrize(
        ("kind", "options", "expected"),
        [
            (1, b"", (2, "10.0.2.15")),
            (1, b"\x32\x04\x0a\x00\x02\x63", (2, "10.0.2.15")),
            (3, b"\x32\x04\x0a\x00\x02\x0f\x36\x04\x0a\x00\x02\x02", (5, "10.0.2.15")),
            (3, b"\x32\x04\xc0\xa8\x00\x01", (6, NO_ADDRESS)),
            (8, b"", (5, NO_ADDRESS)),
        ],
        ids=["discover", "discover another", "request", "request another's", "inform"],
    )
    def test_answers(
        self, tmp_path: Path, kind: int, options: bytes, expected: tuple[int, str]
    ) -> None:
        request = dhcp(mac(1), kind, options)
        assert is_dhcp_request(request)
        reply_kind, address = answered(dhcp_answer(request, Leases(tmp_path / "leases")))
        assert (reply_kind, str(address)) == expected

    @pytest.mark.parametrize(
        "request_frame",
        [
            dhcp(mac(1), 7),
            dhcp(mac(1), 3, b"\x36\x04\x01\x01\x01\x01"),
            dhcp(mac(1), 1)[:60],
            dhcp(mac(1), 1)[:42].ljust(300, b"\xff"),
        ],
        ids=["release", "of another server", "cut short", "garbage"],
    )
    def test_no_answer(self, tmp_path: Path, request_frame: bytes) -> None:
        assert dhcp_answer(request_frame, Leases(tmp_path / "leases")) is None
        assert not (tmp_path / "leases").exists()

    def test_other_frames_are_no_requests(self) -> None:
        assert not is_dhcp_request(frame(ALL, mac(1), b"x" * 100))
        assert not is_dhcp_request(b"short")
