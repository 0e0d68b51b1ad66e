"""Which frames pass to the router, and what a port may fill tables with."""

from __future__ import annotations

import asyncio
import socket
import struct
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from tests.lab.qemu.test_segment import ALL, PLAIN, a_segment, dhcp, frame, mac
from vmops.lab.qemu.addresses import LAST_LEASED, Leases
from vmops.lab.qemu.fence import Fence
from vmops.lab.qemu.segment import MOST_CARDS_OF_A_PORT, MOST_LEASES_OF_A_PORT, Port, Switch

ICMP, TCP, UDP = 1, 6, 17


def packet(
    to: str, protocol: int = TCP, port: int = 80, *, flags: int = 0, first: int = 0x45
) -> bytes:
    addresses = IPv4Address("10.0.2.15").packed + IPv4Address(to).packed
    header = struct.pack(">BBHHHBBH", first, 0, 28, 0, flags, 64, protocol, 0) + addresses
    return ALL + mac(1) + b"\x08\x00" + header + struct.pack(">HHHH", 40000, port, 8, 0)


PASS = {
    "outside": packet("93.184.216.34"),
    "outside, a fragment": packet("93.184.216.34", flags=0x2001),
    "a private network": packet("192.168.77.9"),
    "a ping of the router": packet("10.0.2.2", ICMP),
    "a name, by UDP": packet("10.0.2.3", UDP, 53),
    "a name, by TCP": packet("10.0.2.3", TCP, 53),
    "ARP": ALL + mac(1) + b"\x08\x06" + bytes(46),
}
STOP = {
    "the router": packet("10.0.2.2"),
    "the router, by UDP": packet("10.0.2.2", UDP, 53),
    "TFTP": packet("10.0.2.2", UDP, 69),
    "the name server's other ports": packet("10.0.2.3", TCP, 22),
    "a fragment of a question": packet("10.0.2.3", UDP, 53, flags=0x2000),
    "the rest of a question": packet("10.0.2.3", UDP, 53, flags=0x0010),
    "SMB": packet("10.0.2.4", TCP, 445),
    "any address of the segment": packet("10.0.2.77"),
    "loopback": packet("127.0.0.1"),
    "this host": packet("0.0.0.0"),  # noqa: S104
    "zero net": packet("0.1.2.3"),
    "a cloud's metadata": packet("169.254.169.254"),
    "multicast": packet("224.0.0.251", UDP, 5353),
    "broadcast": packet("255.255.255.255", UDP, 9),
    "reserved": packet("240.0.0.1"),
    "with options": packet("93.184.216.34", first=0x46),
    "IPv6": ALL + mac(1) + b"\x86\xdd" + bytes(60),
    "a VLAN": ALL + mac(1) + b"\x81\x00" + bytes(60),
    "short": packet("93.184.216.34")[:30],
}


@pytest.mark.parametrize("name", PASS)
def test_what_passes(name: str) -> None:
    assert Fence().lets(PASS[name])


@pytest.mark.parametrize("name", STOP)
def test_what_leads_to_this_machine_does_not(name: str) -> None:
    assert not Fence().lets(STOP[name])


def test_this_machines_own_addresses_are_those_that_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = tmp_path / "fib_trie"
    table.write_text(
        "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 198.51.100.0\n        /24 link UNICAST\n"
        "        |-- 198.51.100.7\n           /32 host LOCAL\n"
        "        |-- 198.51.100.255\n           /32 link BROADCAST\n"
    )
    monkeypatch.setattr("vmops.lab.qemu.fence.OWN_ADDRESSES", table)
    fence = Fence()
    assert not fence.lets(packet("198.51.100.7"))
    assert fence.lets(packet("198.51.100.8"))
    monkeypatch.undo()
    assert IPv4Address("127.0.0.1").packed in Fence()._addresses_here()


def test_nothing_goes_out_where_the_list_of_addresses_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vmops.lab.qemu.fence.OWN_ADDRESSES", tmp_path / "none")
    assert not Fence().lets(PASS["outside"])
    assert Fence().lets(PASS["a name, by UDP"])


def test_a_port_that_floods_fills_no_table(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    other_ours, other_theirs = socket.socketpair()
    listener = socket.socket()
    try:
        leases = Leases(tmp_path / "leases")
        switch = Switch(listener, idle_s=1, leases=leases)
        flooding, other = Port(ours), Port(other_ours)
        assert leases.address_of(mac(0xFFFF))  # somebody else has an address
        for number in range(3000):
            switch._forward(flooding, frame(ALL, mac(number), b"here"))
            switch._forward(flooding, dhcp(mac(number), 1))
        assert len(switch._learned) == MOST_CARDS_OF_A_PORT
        assert len(leases._by_mac) == 1 + MOST_LEASES_OF_A_PORT
        assert mac(0xFFFF).hex(":") in leases._by_mac
        switch._forward(other, frame(ALL, mac(5000), b"here"))
        switch._forward(other, dhcp(mac(5000), 1))
        assert switch._learned[mac(5000)] is other
        assert mac(5000).hex(":") in leases._by_mac
        assert len(leases._by_mac) < LAST_LEASED
    finally:
        for each in (ours, theirs, other_ours, other_theirs, listener):
            each.close()


def test_who_floods_is_still_one_of_the_segment(tmp_path: Path) -> None:
    async def run() -> None:
        async with a_segment(tmp_path, PLAIN, 2) as (a, b):
            for number in range(200):
                await a.send(frame(ALL, mac(number), b"flood"))
                await b.receive()
            await b.send(frame(mac(3), mac(1000), b"to one of them"))
            assert (await a.receive())[14:] == b"to one of them"

    asyncio.run(run())
