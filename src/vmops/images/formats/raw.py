"""The bytes of a disk as they are: what the file system knows as holes is not read."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from typing import BinaryIO

from vmops.images.formats.layout import Extent, Layout


def raw_layout(stream: BinaryIO, size: int) -> Layout:
    """A file that is a disk."""
    descriptor = stream.fileno()
    return Layout(
        "raw", size, lambda _: (Extent(at, end - at, at) for at, end in data_in(descriptor, size))
    )


def data_in(descriptor: int, size: int) -> Iterator[tuple[int, int]]:
    """Begin and end of each part of a file that is no hole."""
    at = 0
    while at < size:
        try:
            begin = os.lseek(descriptor, at, os.SEEK_DATA)
        except OSError as failure:
            if failure.errno != errno.ENXIO:  # ENXIO: nothing but a hole from here on
                yield at, size  # a file system that knows of no holes
            return
        end = min(os.lseek(descriptor, begin, os.SEEK_HOLE), size)
        yield begin, end
        at = end
