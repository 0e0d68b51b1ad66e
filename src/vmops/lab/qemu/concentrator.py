"""What a host says to a virtual serial port concentrator: VMware's telnet extension, option 232.

The host connects, offers the extension, and says what it knows of it; it asks the concentrator to
stand in for the machine's own address (DO-PROXY), and tells it the machine's UUID and name when it
asks. What the guest prints follows once the concentrator agrees (WILL-PROXY).

Notices of vMotion are left out: the lab moves a guest without closing its connection.

See: VMware, "Using a Proxy with vSphere Virtual Serial Ports"; Wireshark's packet-telnet.c for the
numbers.
"""

from __future__ import annotations

from vmops.lab.hypervisor.port import Concentrator

OPTION = 232
_KNOWN_1, _KNOWN_2, _UNKNOWN_1, _UNKNOWN_2 = 0, 1, 2, 3
_DO_PROXY, _WILL_PROXY, _WONT_PROXY = 70, 71, 73
_VC_UUID, _GET_VC_UUID, _NAME, _GET_NAME, _BIOS_UUID, _GET_BIOS_UUID = 80, 81, 82, 83, 84, 85
_KNOWN = bytes(
    [
        *(_KNOWN_1, _KNOWN_2, _UNKNOWN_1, _UNKNOWN_2, _DO_PROXY, _WILL_PROXY, _WONT_PROXY),
        *(_VC_UUID, _GET_VC_UUID, _NAME, _GET_NAME, _BIOS_UUID, _GET_BIOS_UUID),
    ]
)
_LONGEST_NAME_BYTES = 240


class Extension:
    """One connection's side of it. Messages are those inside of a subnegotiation."""

    def __init__(self, told: Concentrator) -> None:
        self._told = told
        self.is_open = False
        """Whether the concentrator takes what the guest prints."""
        self.is_refused = False
        """Whether it has declined."""

    def begin(self) -> bytes:
        """Return the message to send once the other side has agreed to the option."""
        return bytes([_KNOWN_1]) + _KNOWN

    def answers(self, message: bytes) -> list[bytes]:
        """Return what is to be said to a message of the other side."""
        if not message:
            return []
        told = self._told
        kind, content = message[0], message[1:]
        facts = {
            _GET_VC_UUID: bytes([_VC_UUID]) + spaced(told.vc_uuid),
            _GET_BIOS_UUID: bytes([_BIOS_UUID]) + spaced(told.bios_uuid),
            _GET_NAME: bytes([_NAME]) + told.vm_name.encode()[:_LONGEST_NAME_BYTES],
        }
        if kind in facts:
            return [facts[kind]]
        if kind == _KNOWN_1:
            return [bytes([_KNOWN_2]) + _KNOWN]
        if kind == _KNOWN_2 and _DO_PROXY in content:
            direction = b"S" if told.direction == "server" else b"C"
            return [bytes([_DO_PROXY]) + direction + told.service_uri.encode()]
        if kind in (_KNOWN_2, _WILL_PROXY):
            # One that cannot stand in for an address takes the output as it comes.
            self.is_open = True
        elif kind == _WONT_PROXY:
            self.is_refused = True
        elif kind not in _KNOWN:
            return [bytes([_UNKNOWN_2, kind])]
        return []


def spaced(uuid: str) -> bytes:
    """Write a UUID as hosts do here: pairs of digits."""
    return bytes.fromhex(uuid.replace("-", "")).hex(" ").encode()
