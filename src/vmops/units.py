"""The only place that multiplies or divides by 1024.

vSphere mixes bytes, KiB (``capacityInKB``) and MiB (``memoryMB``); Nova gives GiB and MiB. All
sizes here are whole numbers; names say the unit.
"""

from __future__ import annotations

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB
TIB = 1024 * GIB


def gib_to_bytes(gib: int) -> int:
    """The bytes of so many GiB."""
    return gib * GIB


def mib_to_kib(mib: int) -> int:
    """The KiB of so many MiB."""
    return mib * KIB


def bytes_to_kib(size_bytes: int) -> int:
    """Bytes to KiB, rounded up, so that what has this size fits in."""
    return -(-size_bytes // KIB)


def bytes_to_gib(size_bytes: int) -> int:
    """Bytes to GiB, rounded up."""
    return -(-size_bytes // GIB)


def mib_to_bytes(mib: int) -> int:
    """The bytes of so many MiB."""
    return mib * MIB


def kib_to_bytes(kib: int) -> int:
    """The bytes of so many KiB."""
    return kib * KIB


def human_bytes(size_bytes: float) -> str:
    """A size for people: "512 B", "64.0 MiB"."""
    if size_bytes < KIB:
        return f"{size_bytes:.0f} B"
    size = float(size_bytes)
    for unit in ("KiB", "MiB", "GiB"):
        size /= KIB
        if size < KIB:
            return f"{size:.1f} {unit}"
    return f"{size / KIB:.1f} TiB"
