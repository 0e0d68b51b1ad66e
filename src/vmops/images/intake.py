"""Takes a file of a user's into a store: what it is, and the bytes that are to be stored of it.

The file is opened once; what was inspected is what is read. Compressed files are unpacked, other
formats become streamOptimized VMDKs on the way.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import BinaryIO

from vmops import units
from vmops.errors import ImageNotAcceptable, NoDiskSpace
from vmops.images import packed
from vmops.images.conversion import Observe, as_stream_optimized
from vmops.images.inspection import CONVERTED, ImageFacts, check_claims, inspect_open, opened
from vmops.images.private_copy import write_sparse
from vmops.images.reading import reading
from vmops.images.split_vmdk import SplitVmdk, opened_parts
from vmops.images.stream_optimized import stream_optimized
from vmops.model.image import DiskType

_BLOCK = units.MIB
_SPARE_BYTES = 64 * units.MIB
_SUFFIXES = {
    ".qcow2": "qcow2",
    ".vmdk": "vmdk",
    ".vhd": "vhd",
    ".vhdx": "vhdx",
    ".vdi": "vdi",
    ".iso": "iso",
    ".ova": "ova",
    ".raw": "raw",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Intake:
    """A user's file, what is claimed of it, and where it goes.

    ``scratch`` gives names of new files in ``folder``, which are not there afterwards.
    """

    source: Path
    folder: Path
    scratch: Callable[[], AbstractContextManager[Path]]
    disk_type: DiskType | None = None
    disk_format: str | None = None
    observe: Observe = lambda done, total: None

    @contextlib.contextmanager
    def taken(self) -> Iterator[tuple[ImageFacts, Iterator[bytes]]]:
        """What is to be stored, and its bytes.

        Raises:
            ImageNotAcceptable: the file cannot be used, or is not what is claimed of it.
            NoDiskSpace: there is no room for it.
            NotSupported: a program is needed that is not here.
        """
        with contextlib.ExitStack() as held:
            stream = held.enter_context(opened(self.source))
            name = self.source.name
            if parts := held.enter_context(opened_parts(self.source, stream)):
                yield self._of_parts(parts)
                return
            kind = packed.kind_of(stream)
            name = packed.inner_name(name, kind)
            if kind:
                stream = self._unpacked(held, stream, kind)
            facts = inspect_open(stream, name, self.disk_type, self.disk_format)
            self._check_suffix(name, facts)
            self._refuse_full(_allocated(stream))
            if facts.disk_format in CONVERTED:
                blocks = as_stream_optimized(
                    stream,
                    name,
                    facts.disk_format,
                    lambda: held.enter_context(self.scratch()),
                    self.observe,
                )
                yield _streamed(facts.capacity_bytes or 0), blocks
            else:
                yield facts, self._blocks(stream, facts.size_bytes)

    def _of_parts(self, parts: SplitVmdk) -> tuple[ImageFacts, Iterator[bytes]]:
        facts = _streamed(parts.capacity_bytes)
        check_claims(facts, self.source.name, self.disk_type, self.disk_format)
        self._refuse_full(min(parts.size_bytes, parts.capacity_bytes))
        return facts, self._of_disk(parts)

    def _of_disk(self, parts: SplitVmdk) -> Iterator[bytes]:
        def observed() -> Iterator[tuple[int, bytes]]:
            for at, block in parts.blocks():
                yield at, block
                self.observe(at + len(block), parts.capacity_bytes)

        with reading(self.source.name):
            yield from stream_optimized(parts.capacity_bytes, observed())

    def _unpacked(self, held: contextlib.ExitStack, stream: BinaryIO, kind: str) -> BinaryIO:
        """What is in a compressed file, as a file that only we have."""
        size = os.fstat(stream.fileno()).st_size
        self._refuse_full(size)
        file = held.enter_context(self.scratch())
        inner = held.enter_context(file.open("x+b"))
        write_sparse(packed.unpacked(stream, size, self.source.name, kind), inner)
        return inner

    def _check_suffix(self, name: str, facts: ImageFacts) -> None:
        """A name that says what the file is says it rightly, or is overruled."""
        suffix = PurePath(name).suffix.lower()
        said = _SUFFIXES.get(suffix)
        is_one = facts.container_format if facts.container_format != "bare" else facts.disk_format
        is_flat = is_one == "vmdk" and facts.disk_type.is_flat
        if said in {None, is_one} or self.disk_format or (is_flat and self.disk_type):
            return
        raise ImageNotAcceptable(
            f"{name} is named as {said}, but is {is_one}. If that is what you mean, rename it, or"
            f" add --disk-format {is_one}."
        )

    def _refuse_full(self, wanted_bytes: int) -> None:
        there = next(p for p in (self.folder, *self.folder.absolute().parents) if p.is_dir())
        free = max(shutil.disk_usage(there).free - _SPARE_BYTES, 0)
        if wanted_bytes > free:
            raise NoDiskSpace(
                f"{there} has room for {units.human_bytes(free)} more, and {self.source.name} takes"
                f" up to {units.human_bytes(wanted_bytes)}."
            )

    def _blocks(self, stream: BinaryIO, total: int) -> Iterator[bytes]:
        """The file's bytes, told of as they go."""
        done = 0
        stream.seek(0)
        while block := stream.read(_BLOCK):
            yield block
            done += len(block)
            self.observe(done, total)
        if done != total:
            raise ImageNotAcceptable(f"{self.source.name} changed while it was read.")


def _allocated(stream: BinaryIO) -> int:
    return os.fstat(stream.fileno()).st_blocks * 512


def _streamed(capacity_bytes: int) -> ImageFacts:
    return ImageFacts(
        size_bytes=0, capacity_bytes=capacity_bytes, disk_type=DiskType.STREAM_OPTIMIZED
    )
