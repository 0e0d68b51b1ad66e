"""All readers, and the one that a file is for."""

from __future__ import annotations

from collections.abc import Callable
from typing import BinaryIO

from vmops.images.formats import qcow2, vdi, vhd, vhdx
from vmops.images.formats.layout import Broken, Layout, Reader

READERS: dict[str, Callable[[Reader], Layout | None]] = {
    "qcow2": qcow2.read,
    "vhdx": vhdx.read,
    "vdi": vdi.read,
    "vhd": vhd.read,
}


def find(stream: BinaryIO, size: int) -> Layout | None:
    """What the file's headers say of its disk; None if it has none of these formats.

    Raises:
        Broken: it is of such a format, or of two at once, and cannot be used.
    """
    found = [layout for read in READERS.values() if (layout := read(Reader(stream, size)))]
    if len(found) > 1:
        raise Broken(f"it is {' and '.join(one.disk_format for one in found)} at once")
    return found[0] if found else None
