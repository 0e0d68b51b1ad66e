"""Makes a streamOptimized VMDK of a disk in another format, in one pass, as its bytes are read.

Nothing is opened for that but the file that was inspected. What our readers cannot unpack is
converted by qemu-img, from a copy that nobody else can write to.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from vmops import units
from vmops.images import formats, qemu_img
from vmops.images.formats.raw import raw_layout
from vmops.images.private_copy import copy_holes
from vmops.images.reading import reading
from vmops.images.stream_optimized import stream_optimized

Observe = Callable[[int, int], None]
"""Takes the bytes of the disk that are done, and all."""


def as_stream_optimized(
    stream: BinaryIO,
    name: str,
    disk_format: str,
    scratch: Callable[[], Path],
    observe: Observe = lambda done, total: None,
) -> Iterator[bytes]:
    """The VMDK's bytes in pieces. The file has been inspected, and is read again as it is now.

    ``scratch`` gives the name of a new file where one is needed, which the caller removes.

    Raises:
        ImageNotAcceptable: the file is not sound (any more).
        NotSupported: qemu-img is needed, and not there.
    """
    size = os.fstat(stream.fileno()).st_size
    with reading(name):
        layout = _layout(stream, size, disk_format)
        total = layout.capacity_bytes
        if not layout.needs_tool:
            yield from stream_optimized(total, _observed(layout, stream, size, observe))
            observe(total, total)
            return
    copy, made = scratch(), scratch()
    with copy.open("xb") as writer:
        copy_holes(stream, writer)
    qemu_img.convert(
        copy, disk_format, made, lambda percent: observe(int(total * percent / 100), total)
    )
    with made.open("rb") as result:
        while block := result.read(units.MIB):
            yield block


def _layout(stream: BinaryIO, size: int, disk_format: str) -> formats.Layout:
    layout = formats.find(stream, size)
    found = layout.disk_format if layout is not None else "raw"
    if found != disk_format:
        raise formats.Broken(f"it became {found}, and was {disk_format}")
    return layout if layout is not None else raw_layout(stream, size)


def _observed(
    layout: formats.Layout, stream: BinaryIO, size: int, observe: Observe
) -> Iterator[tuple[int, bytes]]:
    for at, block in layout.blocks(stream, size):
        yield at, block
        observe(min(at + len(block), layout.capacity_bytes), layout.capacity_bytes)
