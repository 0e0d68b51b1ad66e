"""Last look at a disk's files before QEMU opens them."""

from __future__ import annotations

import struct

from vmops.lab.hypervisor.errors import HypervisorError
from vmops.lab.hypervisor.port import DiskLayer

_QCOW2_MAGIC = b"QFI\xfb"
_EXTERNAL_DATA = 1 << 2  # incompatible feature: the clusters lie in another file the header names


def check_layer(layer: DiskLayer) -> None:
    """Refuse a file that is not there, or that would make QEMU open another file. Blocks.

    Backing files need no look: the command line names them, and headers are not followed.

    Raises:
        HypervisorError: the file is unreadable, not of its format, or keeps its data elsewhere.
    """
    try:
        with layer.file.open("rb") as stream:
            header = stream.read(80)
    except OSError as error:
        raise HypervisorError(f"the disk file cannot be read: {error}") from error
    if layer.file_format == "raw":
        return
    if not header.startswith(_QCOW2_MAGIC) or len(header) < 80:
        raise HypervisorError(f"{layer.file.name} is not a delta disk of this lab")
    version, features = (
        struct.unpack_from(">I", header, 4)[0],
        struct.unpack_from(">Q", header, 72)[0],
    )
    if version >= 3 and features & _EXTERNAL_DATA:
        raise HypervisorError(f"{layer.file.name} keeps its data in another file, which is refused")
