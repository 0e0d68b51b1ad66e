"""Bytes that are compared with a checksum while they are used: no second read.

They are hashed by a thread beside, as a network takes them.
"""

from __future__ import annotations

import hashlib
import io
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, BinaryIO

from vmops.errors import ImageNotAcceptable

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_KNOWN = {"sha256", "sha384", "sha512"}


class VerifiedStream(io.RawIOBase):
    """A file's bytes, once through. The last of them are given out only if all are right."""

    def __init__(self, stream: BinaryIO, size: int, checksum: str, name: str) -> None:
        super().__init__()
        algorithm, _, self._wanted = checksum.partition(":")
        if algorithm not in _KNOWN or not self._wanted:
            raise ImageNotAcceptable(
                f"{name} has a checksum that is not known: {checksum[:80]!r}; it is written as"
                " sha256:<hex>."
            )
        self._digest = hashlib.new(algorithm)
        self._stream = stream
        self._left = size
        self._name = name
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="checksum")
        self._hashing: Future[None] | None = None

    def readable(self) -> bool:
        """Always, as `io.RawIOBase` asks before it reads."""
        return True

    def fileno(self) -> int:
        """None: whoever reads the file by its descriptor passes the checksum by."""
        raise io.UnsupportedOperation("fileno")

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Give the next bytes.

        Raises:
            ImageNotAcceptable: all were read, and are not those of the checksum.
        """
        wanted = memoryview(buffer)[: self._left]
        block = self._stream.read(len(wanted))
        if len(wanted) and not block:
            raise ImageNotAcceptable(f"{self._name} became shorter while it was read.")
        self._hash(block)
        self._left -= len(block)
        if not self._left:
            self._compare()
        wanted[: len(block)] = block
        return len(block)

    def close(self) -> None:
        """End the thread; the file stays open."""
        self._pool.shutdown()
        super().close()

    def _hash(self, block: bytes) -> None:
        if self._hashing is not None:
            self._hashing.result()
        self._hashing = self._pool.submit(self._digest.update, block)

    def _compare(self) -> None:
        if self._hashing is not None:
            self._hashing.result()
        found = self._digest.hexdigest()
        if found != self._wanted.lower():
            raise ImageNotAcceptable(
                f"{self._name} is damaged: its {self._digest.name} is {found}, and"
                f" {self._wanted[:128]} is in its manifest."
            )
