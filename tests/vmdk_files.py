"""VMDKs made byte by byte, so that they can be wrong in one thing at a time."""

from __future__ import annotations

import struct
import zlib

SECTOR = 512
GRAIN = 128
TABLE = 512
CAPACITY = 2048
"""Sectors: 1 MiB."""
DESCRIPTOR = """# Disk DescriptorFile
version=1
CID=12345678
parentCID=ffffffff
createType="streamOptimized"

# Extent description
RW 2048 SPARSE "disk.vmdk"

# The Disk Data Base
#DDB

ddb.virtualHWVersion = "4"
ddb.adapterType = "lsilogic"
"""


def _padded(content: bytes) -> bytes:
    return content + bytes(-len(content) % SECTOR)


def header(directory: int, **changes: int) -> bytes:
    """A streamOptimized header; ``changes`` are by field: capacity, grain, entries, version."""
    values = {"version": 3, "flags": 0x30001, "capacity": CAPACITY, "grain": GRAIN, "at": 1,
              "size": 20, "entries": TABLE} | changes  # fmt: skip
    fixed = struct.pack(
        "<4sIIQQQQIQQQ", b"KDMV", values["version"], values["flags"], values["capacity"],
        values["grain"], values["at"], values["size"], values["entries"], 0, directory, GRAIN,
    )  # fmt: skip
    return _padded(fixed + struct.pack("<BccccH", 0, b"\n", b" ", b"\r", b"\n", 1))


def streamed(
    descriptor: str | bytes = DESCRIPTOR,
    *,
    data: bytes = b"data" * 16384,
    footer: dict[str, int] | None = None,
    directory: list[int] | None = None,
    **changes: int,
) -> bytes:
    """A streamOptimized VMDK of 1 MiB whose first grain is ``data``."""
    text = descriptor.encode() if isinstance(descriptor, str) else descriptor
    out = bytearray(header(2**64 - 1, **changes) + text.ljust(20 * SECTOR, b"\0"))
    out += bytes(GRAIN * SECTOR - len(out))
    packed = zlib.compress(data)
    grain_at = len(out) // SECTOR
    out += _padded(struct.pack("<QI", 0, len(packed)) + packed)
    out += _padded(struct.pack("<QII", TABLE * 4 // SECTOR, 0, 1))
    table_at = len(out) // SECTOR
    out += struct.pack(f"<{TABLE}I", grain_at, *[0] * (TABLE - 1))
    out += _padded(struct.pack("<QII", 1, 0, 2))
    directory_at = len(out) // SECTOR
    entries = [table_at] if directory is None else [table_at if e < 0 else e for e in directory]
    out += _padded(struct.pack(f"<{len(entries)}I", *entries))
    out += _padded(struct.pack("<QII", 1, 0, 3))
    out += header(directory_at, **{**changes, **(footer or {})}) + bytes(SECTOR)
    return bytes(out)
