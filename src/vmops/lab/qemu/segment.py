"""One layer-2 segment: a learning switch, with an address server and a router where there is NAT.

It is a program of its own and imports nothing but the standard library and two files beside it, by
`alone`, so that it starts in 50 ms, stays small, and outlives the lab together with the guests on
it. It ends by itself when no guest has been on the segment for a while.

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

from vmops.lab.qemu.addresses import (
    NETWORK,
    ROUTER_ADDRESS,
    Leases,
    dhcp_answer,
    dhcp_client,
    is_dhcp_request,
)
from vmops.lab.qemu.fence import Fence

LONGEST_FRAME_BYTES = 64 * 1024 + 256
LONGEST_QUEUE_BYTES = 4 * 1024 * 1024
QUESTION = 0xFFFFFFFF
# What one port may fill tables with; a guest that runs guests of its own has a few more cards.
MOST_CARDS_OF_A_PORT = 64
MOST_LEASES_OF_A_PORT = 8


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
        self.cards: set[bytes] = set()
        self.leased: set[bytes] = set()
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

    def __init__(
        self,
        listener: socket.socket,
        *,
        idle_s: float,
        leases: Leases | None,
        fence: Fence | None = None,
    ) -> None:
        self._listener = listener
        self._fence = fence
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
        if not sender[0] & 1 and _may_have(source.cards, sender, MOST_CARDS_OF_A_PORT):
            self._learned[sender] = source
        if self._leases is not None and source is not self._router and is_dhcp_request(frame):
            if _may_have(source.leased, dhcp_client(frame), MOST_LEASES_OF_A_PORT):
                answer = dhcp_answer(frame, self._leases)
                if answer is not None:
                    source.queue(answer)
            return
        target = None if destination[0] & 1 else self._learned.get(destination)
        for port in [target] if target is not None else self._ports:
            if port is source or not port.is_in:
                continue
            if port is not self._router or self._fence is None or self._fence.lets(frame):
                port.queue(frame)


def _may_have(known: set[bytes], mac: bytes, most: int) -> bool:
    if mac not in known and len(known) >= most:
        return False
    known.add(mac)
    return True


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
    parser.add_argument("--open", action="store_true", help="guests reach this machine")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(0))
    leases = Leases(arguments.leases) if arguments.leases else None
    listener = socket.socket(fileno=arguments.listener)
    fence = None if arguments.open else Fence()
    switch = Switch(listener, idle_s=arguments.idle, leases=leases, fence=fence)
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
