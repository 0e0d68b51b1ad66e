"""Copies of images in which holes stay holes."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import BinaryIO

from vmops import units
from vmops.images.formats.raw import data_in

_BLOCK = units.MIB
_PAGE = 64 * 1024
_ZEROS = bytes(_PAGE)


def copy_holes(source: BinaryIO, target: BinaryIO) -> None:
    """Copy a file; what has no bytes in it gets none in the copy, which shares blocks if it can."""
    size = os.fstat(source.fileno()).st_size
    given, made = source.fileno(), target.fileno()
    for begin, end in data_in(given, size):
        at = begin
        while at < end:
            done = os.copy_file_range(given, made, min(end - at, 64 * _BLOCK), at, at)
            if not done:
                break  # it became shorter
            at += done
    os.truncate(made, size)


def write_sparse(blocks: Iterable[bytes], target: BinaryIO) -> int:
    """Write bytes as they come, pages of zeros as holes; how many there were."""
    at = 0
    for block in blocks:
        for begin in range(0, len(block), _PAGE):
            page = block[begin : begin + _PAGE]
            if page != _ZEROS[: len(page)]:
                target.seek(at + begin)
                target.write(page)
        at += len(block)
    target.truncate(at)
    target.flush()
    return at
