"""Which MAC addresses a NIC can be given: those that vSphere takes as static ones.

Source: vSphere Networking, "Assign a Static MAC Address": of VMware's own prefix 00:50:56 only
00:50:56:00:00:00 to 00:50:56:3f:ff:ff; the rest is what vCenter and hosts give out themselves.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from vmops.errors import InvalidArgument

_OF_VMWARE = bytes.fromhex("005056")
_LAST_STATIC = 0x3F


def check_given(macs: Iterable[str]) -> None:
    """Refuse addresses of NICs, as "00:50:56:00:00:01", that no NIC can have; "" is none given.

    Raises:
        InvalidArgument: one is a group's, all zero, or of the range that vSphere gives out itself;
            or two NICs have the same.
    """
    given = [mac.lower() for mac in macs if mac]
    for mac in given:
        if why := _why_not(bytes.fromhex(mac.replace(":", ""))):
            raise InvalidArgument(f"No NIC can be given the MAC address {mac}: {why}.")
    twice = [mac for mac, times in Counter(given).items() if times > 1]
    if twice:
        raise InvalidArgument(f"Two NICs cannot have the same MAC address {twice[0]}.")


def _why_not(address: bytes) -> str:
    if not any(address):
        return "it is all zeros"
    if address[0] & 1:
        return "it is the address of a group"
    if address[:3] == _OF_VMWARE and address[3] > _LAST_STATIC:
        return "vSphere gives out 00:50:56:40:00:00 and above itself; take one below, or none"
    return ""
