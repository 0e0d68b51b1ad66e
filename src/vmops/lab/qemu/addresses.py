"""The addresses of a segment with a router: the plan, and who has which.

As `segment`, it imports nothing but the standard library.
"""

from __future__ import annotations

import ipaddress
import json
import struct
from pathlib import Path

NETWORK = ipaddress.IPv4Network("10.0.2.0/24")
ROUTER_ADDRESS = NETWORK[2]
NAME_SERVER_ADDRESS = NETWORK[3]
FIRST_LEASED, LAST_LEASED = 15, 254
# QEMU's user network forms its own Ethernet address so, from its IPv4 address.
ROUTER_MAC = b"\x52\x55" + ROUTER_ADDRESS.packed
BROADCAST_MAC = b"\xff" * 6
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


def dhcp_client(frame: bytes) -> bytes:
    """Return the card that a request is for."""
    return frame[14 + (frame[14] & 15) * 4 + 8 :][28:34]


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
