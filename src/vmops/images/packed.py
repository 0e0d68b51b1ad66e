"""Images that were compressed as files: gzip, xz and zstd, told by their first bytes.

What comes out is bounded by what goes in, holes aside, and so is the memory that a stream may ask
for.
"""

from __future__ import annotations

import lzma
import os
import shutil
import zlib
from collections.abc import Callable, Iterator
from pathlib import PurePath
from tempfile import TemporaryFile
from typing import BinaryIO, Protocol

from vmops import units
from vmops.errors import ImageNotAcceptable, NotSupported
from vmops.images.confinement import Limits, running
from vmops.images.reading import reading

_MAGIC = {b"\x1f\x8b\x08": "gzip", b"\xfd7zXZ\0": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
SUFFIXES = {".gz": "gzip", ".xz": "xz", ".zst": "zstd"}
_BLOCK = 256 * units.KIB
_MEMORY = 256 * units.MIB
_BESIDES = 8 * units.GIB
_RATIO = 1100
_WALL_S = 300.0
_SLOWEST = 4 * units.MIB


class _Decoder(Protocol):
    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...


def kind_of(stream: BinaryIO) -> str:
    """How the file is compressed; "" if it is not."""
    stream.seek(0)
    head = stream.read(8)
    return next((kind for magic, kind in _MAGIC.items() if head.startswith(magic)), "")


def inner_name(name: str, kind: str) -> str:
    """The name of what is in it: "a.qcow2" of "a.qcow2.xz".

    Raises:
        ImageNotAcceptable: the name claims another compression, or one that is not there.
    """
    claimed = SUFFIXES.get(PurePath(name).suffix.lower(), "")
    if claimed and claimed != kind:
        raise ImageNotAcceptable(
            f"{name} is named as {claimed}, but is {kind or 'not compressed'}."
        )
    return PurePath(name).stem if claimed else name


def unpacked(stream: BinaryIO, size: int, name: str, kind: str) -> Iterator[bytes]:
    """The bytes in it.

    Raises:
        ImageNotAcceptable: it is damaged, cut off, or would never end.
        NotSupported: it takes the program zstd, which is not there.
    """
    most, done = _BESIDES + _RATIO * size, 0
    with reading(name):
        for block in _zstd(stream, size, name) if kind == "zstd" else _decoded(stream, kind):
            done += len(block)
            if done > most:
                raise ImageNotAcceptable(
                    f"{name} becomes bigger than {units.human_bytes(most)}, which is not believed"
                    f" of {units.human_bytes(size)}."
                )
            yield block


def _decoded(stream: BinaryIO, kind: str) -> Iterator[bytes]:
    """One stream or several, one behind the other, as both formats allow."""
    stream.seek(0)
    given = stream.read(_BLOCK)
    while given:
        decode, decoder = _decoder(kind)
        while not decoder.eof:
            yield from decode(given)
            if decoder.eof:
                given = decoder.unused_data
            elif not (given := stream.read(_BLOCK)):
                raise EOFError("it is cut off")
        given = given.lstrip(b"\0") or _next(stream)


def _next(stream: BinaryIO) -> bytes:
    """What comes behind padding."""
    while block := stream.read(_BLOCK):
        if rest := block.lstrip(b"\0"):
            return rest
    return b""


def _decoder(kind: str) -> tuple[Callable[[bytes], Iterator[bytes]], _Decoder]:
    if kind == "gzip":
        inflating = zlib.decompressobj(zlib.MAX_WBITS | 16)

        def inflate(given: bytes) -> Iterator[bytes]:
            while given and not inflating.eof:
                yield inflating.decompress(given, _BLOCK)
                given = inflating.unconsumed_tail

        return inflate, inflating
    decoder = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MEMORY)

    def decode(given: bytes) -> Iterator[bytes]:
        yield decoder.decompress(given, _BLOCK)
        while not decoder.needs_input and not decoder.eof:
            yield decoder.decompress(b"", _BLOCK)

    return decode, decoder


def _zstd(stream: BinaryIO, size: int, name: str) -> Iterator[bytes]:
    program = shutil.which("zstd")
    if program is None:
        raise NotSupported(f"{name} is compressed with zstd (Debian: apt-get install zstd).")
    stream.seek(0)
    os.lseek(stream.fileno(), 0, os.SEEK_SET)  # the tool begins where the descriptor is
    limits = Limits(file_bytes=0, wall_s=_WALL_S + size / _SLOWEST)
    argv = [program, "-d", "-c", "-q", "--single-thread", "-M256MiB"]
    with (
        TemporaryFile() as complaints,
        running(argv, given=stream.fileno(), limits=limits, complaints=complaints) as tool,
    ):
        assert tool.process.stdout is not None  # noqa: S101 - it is a pipe
        while block := tool.process.stdout.read(_BLOCK):
            yield block
        if tool.process.wait() != 0:
            complaints.seek(0)
            said = complaints.read(300).decode("utf-8", "replace").strip()
            raise ImageNotAcceptable(
                f"{name} cannot be unpacked: {tool.why_ended() or said or 'it is damaged'}"
            )
