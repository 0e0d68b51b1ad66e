"""What guests may send to the router of their segment: nothing that leads to this machine.

As `segment`, it imports nothing but the standard library.
"""

from __future__ import annotations

import contextlib
import ipaddress
import time
from pathlib import Path

from vmops.lab.qemu.addresses import NAME_SERVER_ADDRESS, NETWORK, ROUTER_ADDRESS

OWN_ADDRESSES = Path("/proc/net/fib_trie")
OWN_ADDRESSES_KEPT_S = 5.0


class Fence:
    """What may go to the router: nothing that leads to this machine.

    Behind QEMU's user network each address of the segment is this machine's loopback, and the
    machine's other addresses are what they are for any program on it. Pings of the router end
    there, and questions for names go on to the machine's name server.
    """

    def __init__(self) -> None:
        self._own: frozenset[bytes] = frozenset()
        self._read_at = float("-inf")

    def lets(self, frame: bytes) -> bool:
        """Tell whether a guest's frame may pass."""
        if frame[12:14] == b"\x08\x06":  # ARP
            return True
        if len(frame) < 38 or frame[12:14] != b"\x08\x00" or frame[14] != 0x45:
            return False
        protocol, to = frame[23], ipaddress.IPv4Address(frame[30:34])
        is_whole = not int.from_bytes(frame[20:22]) & 0x3FFF
        if to == ROUTER_ADDRESS:
            return protocol == 1
        if to == NAME_SERVER_ADDRESS:
            return is_whole and protocol in (6, 17) and frame[36:38] == b"\x00\x35"
        leads_here = to in NETWORK or to.is_loopback or to.is_link_local or to.is_unspecified
        if leads_here or to.is_multicast or to.is_reserved or frame[30] == 0:
            return False
        own = self._addresses_here()
        return bool(own) and to.packed not in own  # without the list nothing is let out

    def _addresses_here(self) -> frozenset[bytes]:
        """This machine's own addresses, which may change."""
        now = time.monotonic()
        if now - self._read_at > OWN_ADDRESSES_KEPT_S:
            self._read_at, last, found = now, "", set()
            with contextlib.suppress(OSError):
                for line in OWN_ADDRESSES.read_text().splitlines():
                    if "/32 host LOCAL" in line:
                        found.add(ipaddress.IPv4Address(last).packed)
                    last = line.rpartition(" ")[2]
            self._own = frozenset(found)
        return self._own
