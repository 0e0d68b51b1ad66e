"""One layer-2 segment: a learning switch, with an address server and a router where there is NAT.

This file is a program of its own and imports nothing but the standard library, so that it starts
in 50 ms, stays small, and outlives the lab together with the guests on it. It ends by itself when
no guest has been on the segment for a while.

Ports are stream sockets; a frame is four bytes of length and then the Ethernet frame, as QEMU's
``-netdev stream`` has it. A frame of length 0 is answered with one: it tells a newcomer that it has
been let in, which keeps the segment from ending. Who says the length `QUESTION` instead is no port,
and is told what every card has sent and received.

Addresses are given out here and not by QEMU's user network behind the router, which knows no more
than 16. They are kept in a file, so a card has the same address for life.
"""

from __future__ import annotations

import argparse
import ctypes
import ipaddress
import json
import os
import selectors
import signal
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path

NETWORK = ipaddress.IPv4Network("10.0.2.0/24")
ROUTER_ADDRESS = NETWORK[2]
NAME_SERVER_ADDRESS = NETWORK[3]
FIRST_LEASED, LAST_LEASED = 15, 254
# QEMU's user network forms its own Ethernet address so, from its IPv4 address.
ROUTER_MAC = b"\x52\x55" + ROUTER_ADDRESS.packed
BROADCAST_MAC = b"\xff" * 6
LONGEST_FRAME_BYTES = 64 * 1024 + 256
LONGEST_QUEUE_BYTES = 4 * 1024 * 1024
QUESTION = 0xFFFFFFFF
LEASE_SECONDS = 24 * 3600


class Leases:
    """Which card has which address; the longest unheard-of loses its own if all are taken."""

    def __init__(self, file: Path) -> None:
        self._file = file
        try:
            self._by_mac: dict[str, str] = dict(json.loads(file.read_text()))
        except (OSError, ValueError):
            self._by_mac = {}

    def address_of(self, mac: bytes) -> ipaddress.IPv4Address:
        """Return the address of a card, from now on its own."""
        name = mac.hex(":")
        address = self._by_mac.pop(name, None)
        if address is None:
            taken = set(self._by_mac.values())
            free = (str(NETWORK[n]) for n in range(FIRST_LEASED, LAST_LEASED + 1))
            address = next((one for one in free if one not in taken), None)
            if address is None:
                address = self._by_mac.pop(next(iter(self._by_mac)))
            self._by_mac[name] = address
            self._save()
        self._by_mac[name] = address  # now the last heard of
        return ipaddress.IPv4Address(address)

    def _save(self) -> None:
        partial = self._file.with_name(self._file.name + ".partial")
        partial.write_text(json.dumps(self._by_mac, indent=1))
        partial.replace(self._file)


def is_dhcp_request(frame: bytes) -> bool:
    """Tell whether a frame is IPv4, UDP, and for a DHCP server's port."""
    if len(frame) < 42 or frame[12:14] != b"\x08\x00" or frame[23] != 17:
        return False
    udp = 14 + (frame[14] & 15) * 4
    return frame[udp + 2 : udp + 4] == b"\x00\x43"


def dhcp_answer(frame: bytes, leases: Leases) -> bytes | None:
    """Return the frame that answers a client's, or None if it wants no answer.

    See: RFC 2131 section 4.3, RFC 2132.
    """
    bootp = frame[14 + (frame[14] & 15) * 4 + 8 :]
    if len(bootp) < 240 or bootp[0] != 1 or bootp[236:240] != b"\x63\x82\x53\x63":
        return None
    options = _options(bootp[240:])
    kind = options.get(53, b"\0")[0]
    if kind not in (1, 3, 8) or options.get(54, ROUTER_ADDRESS.packed) != ROUTER_ADDRESS.packed:
        return None
    mac = bootp[28:34]
    address = leases.address_of(mac).packed
    wanted = options.get(50, bootp[12:16])
    reply_kind = {1: 2, 3: 5, 8: 5}[kind]
    if kind == 3 and wanted not in (address, bytes(4)):
        reply_kind, address = 6, bytes(4)
    reply = bytes([53, 1, reply_kind, 54, 4]) + ROUTER_ADDRESS.packed
    if reply_kind != 6:
        reply += b"\x01\x04" + NETWORK.netmask.packed
        reply += b"\x03\x04" + ROUTER_ADDRESS.packed
        reply += b"\x06\x04" + NAME_SERVER_ADDRESS.packed
        if kind != 8:
            reply += b"\x33\x04" + struct.pack(">I", LEASE_SECONDS)
    yours = bytes(4) if kind == 8 else address
    body = b"\x02" + bootp[1:4] + bootp[4:8] + bytes(2) + bootp[10:16] + yours
    body += (
        ROUTER_ADDRESS.packed + bootp[24:44] + bytes(192) + b"\x63\x82\x53\x63" + reply + b"\xff"
    )
    # Many clients listen for the broadcast address only, having no address of their own yet.
    return _udp_frame(BROADCAST_MAC, body.ljust(300, b"\0"))


def _options(data: bytes) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    at = 0
    while at + 1 < len(data) and data[at] != 255:
        if data[at] == 0:
            at += 1
            continue
        length = data[at + 1]
        value = data[at + 2 : at + 2 + length]
        if length and len(value) == length:
            found[data[at]] = value
        at += 2 + length
    return found


def _udp_frame(to_mac: bytes, payload: bytes) -> bytes:
    udp = struct.pack(">HHHH", 67, 68, 8 + len(payload), 0) + payload
    header = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0)
    addresses = ROUTER_ADDRESS.packed + b"\xff" * 4
    total = sum(struct.unpack(">10H", header + addresses))
    total = (total & 0xFFFF) + (total >> 16)
    total = (total & 0xFFFF) + (total >> 16)
    header = header[:10] + struct.pack(">H", ~total & 0xFFFF)
    return to_mac + ROUTER_MAC + b"\x08\x00" + header + addresses + udp


class Port:
    """One end of the segment: a guest's network card, or the router."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self.connection = connection
        self.received = bytearray()
        self.queued = bytearray()
        self.is_sending = False
        self.is_in = False
        """Whether it takes part; one that only asks does not."""
        self.is_asking = False
        self.received_bytes = self.sent_bytes = 0
        self.received_frames = self.sent_frames = 0

    def frames(self) -> list[bytes]:
        """Return the whole frames received so far; ValueError if the peer speaks no frames."""
        frames = []
        while len(self.received) >= 4:
            length = int.from_bytes(self.received[:4])
            if length == QUESTION and not self.is_in:
                self.is_asking = True
                del self.received[:4]
                continue
            if length > LONGEST_FRAME_BYTES:
                raise ValueError(f"a frame of {length} bytes")
            if len(self.received) < 4 + length:
                break
            frames.append(bytes(self.received[4 : 4 + length]))
            del self.received[: 4 + length]
        return frames

    def queue(self, frame: bytes) -> None:
        """Add a frame to what is sent; dropped, as on any wire, if the peer does not keep up."""
        if len(self.queued) < LONGEST_QUEUE_BYTES:
            self.queued += struct.pack(">I", len(frame)) + frame
            if frame:
                self.received_bytes += len(frame)
                self.received_frames += 1


class Switch:
    """Passes frames between the segment's ports."""

    def __init__(self, listener: socket.socket, *, idle_s: float, leases: Leases | None) -> None:
        self._listener = listener
        self._idle_s = idle_s
        self._leases = leases
        self._ports: set[Port] = set()
        self._router: Port | None = None
        self._learned: dict[bytes, Port] = {}
        self._selector = selectors.DefaultSelector()
        listener.setblocking(False)
        self._selector.register(listener, selectors.EVENT_READ, None)

    def attach(self, connection: socket.socket, *, is_router: bool = False) -> None:
        """Add a port."""
        port = Port(connection)
        self._selector.register(connection, selectors.EVENT_READ, port)
        if is_router:
            self._router = port
            port.is_in = True
        self._ports.add(port)

    def run(self) -> None:
        """Switch until no guest has been there for the idle time."""
        last_used = time.monotonic()
        while True:
            for key, events in self._selector.select(1.0):
                if key.data is None:
                    self._accept()
                elif key.data in self._ports:
                    self._serve(key.data, events)
            for port in self._ports:
                if port.is_sending != bool(port.queued):
                    port.is_sending = bool(port.queued)
                    write = selectors.EVENT_WRITE if port.is_sending else 0
                    self._selector.modify(port.connection, selectors.EVENT_READ | write, port)
            now = time.monotonic()
            if any(port.is_in for port in self._ports if port is not self._router):
                last_used = now
            elif now - last_used > self._idle_s:
                return

    def _accept(self) -> None:
        try:
            connection, _address = self._listener.accept()
        except OSError:  # the guest went away again
            return
        self.attach(connection)

    def _serve(self, port: Port, events: int) -> None:
        try:
            if events & selectors.EVENT_WRITE:
                sent = port.connection.send(port.queued)
                del port.queued[:sent]
            if events & selectors.EVENT_READ:
                data = port.connection.recv(256 * 1024)
                if not data:
                    raise ConnectionResetError
                port.received += data
                for frame in port.frames():
                    port.is_in = True
                    self._forward(port, frame)
                if port.is_asking:
                    port.is_asking = False
                    port.queue(json.dumps(self._traffic()).encode())
        except BlockingIOError:
            return
        except (OSError, ValueError):
            self._detach(port)

    def _detach(self, port: Port) -> None:
        self._selector.unregister(port.connection)
        port.connection.close()
        self._ports.discard(port)
        self._learned = {mac: other for mac, other in self._learned.items() if other is not port}
        if port is self._router:
            self._router = None

    def _traffic(self) -> dict[str, list[int]]:
        """By MAC address: bytes received and sent, frames received and sent."""
        return {
            mac.hex(":"): [
                *(port.received_bytes, port.sent_bytes),
                *(port.received_frames, port.sent_frames),
            ]
            for mac, port in self._learned.items()
            if port is not self._router
        }

    def _forward(self, source: Port, frame: bytes) -> None:
        if len(frame) < 14:
            if not frame:
                source.queue(b"")
            return
        source.sent_bytes += len(frame)
        source.sent_frames += 1
        destination, sender = frame[:6], frame[6:12]
        if not sender[0] & 1:
            self._learned[sender] = source
        if self._leases is not None and source is not self._router and is_dhcp_request(frame):
            answer = dhcp_answer(frame, self._leases)
            if answer is not None:
                source.queue(answer)
            return
        target = None if destination[0] & 1 else self._learned.get(destination)
        for port in [target] if target is not None else self._ports:
            if port is not source and port.is_in:
                port.queue(frame)


def start_router(program: str, sandbox: str | None, switch: Switch) -> subprocess.Popen[bytes]:
    """Start a QEMU without a machine, which passes packets between the segment and the host."""
    ours, theirs = socket.socketpair()
    stream = {
        "type": "stream",
        "id": "segment",
        "server": False,
        "addr": {"type": "fd", "str": str(theirs.fileno())},
    }
    argv = [program, "-no-user-config", "-nodefaults", "-machine", "none", "-display", "none"]
    argv += ["-sandbox", sandbox] if sandbox else []
    argv += ["-netdev", f"user,id=nat,ipv6=off,net={NETWORK},host={ROUTER_ADDRESS}"]
    argv += ["-netdev", "hubport,id=inside,hubid=0,netdev=nat", "-netdev", json.dumps(stream)]
    argv += ["-netdev", "hubport,id=outside,hubid=0,netdev=segment"]
    libc = ctypes.CDLL(None)
    with theirs:
        # PR_SET_PDEATHSIG: the router goes with the switch, however that ends.
        router = subprocess.Popen(
            argv,
            env=dict(os.environ),  # that of this program, which was given no secret
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            preexec_fn=lambda: libc.prctl(1, signal.SIGKILL),  # noqa: PLW1509 - the only thread
        )
    switch.attach(ours, is_router=True)
    return router


def main() -> None:
    """Run the segment; the listening socket is open already, as the number given."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--listener", type=int, required=True)
    parser.add_argument("--socket", type=Path, required=True, help="removed at the end")
    parser.add_argument("--idle", type=float, required=True, help="seconds without guests")
    parser.add_argument("--leases", type=Path, help="with a router: file of the addresses")
    parser.add_argument("--router", help="QEMU's program")
    parser.add_argument("--sandbox")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(0))
    leases = Leases(arguments.leases) if arguments.leases else None
    listener = socket.socket(fileno=arguments.listener)
    switch = Switch(listener, idle_s=arguments.idle, leases=leases)
    router = None
    try:
        if arguments.router:
            router = start_router(arguments.router, arguments.sandbox, switch)
        switch.run()
    finally:
        arguments.socket.unlink(missing_ok=True)
        listener.close()
        if router is not None:
            router.kill()
            router.wait()


if __name__ == "__main__":
    main()
