"""The readers of images, each as something that takes bytes and must not do more than refuse them.

What it did is counted: bytes read, pieces given. That depends on no machine.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import logging
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from vmops.errors import ImageNotAcceptable
from vmops.images import formats, intake, manifest, ovf, packed, tar, vmdk
from vmops.images.inspection import inspect_open
from vmops.images.ovf_hardware import read_facts
from vmops.images.reading import reading
from vmops.images.vmdk_descriptor import read_descriptor, read_parts

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

READ_PER_BYTE = 10
READ_BESIDES = 1 << 20
"""A file is looked at by several readers, each of which reads all of it once at most."""
_MAX_BYTES = 64 << 20
_MAX_BLOCKS = 100_000
logging.getLogger("oslo_utils").setLevel(logging.CRITICAL)


class Counted(io.FileIO):
    """A file that knows how much was read of it."""

    done = 0

    def read(self, size: int | None = -1, /) -> bytes:
        block = super().read(-1 if size is None else size)
        self.done += len(block)
        return block

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        count = super().readinto(buffer)
        self.done += count
        return count


@contextlib.contextmanager
def counted(content: bytes) -> Iterator[Counted]:
    """The content as a file; too much reading fails."""
    with tempfile.NamedTemporaryFile(prefix="vmops-fuzz-") as file:
        file.write(content)
        file.flush()
        with Counted(file.name) as stream:
            yield stream
            most = READ_PER_BYTE * len(content) + READ_BESIDES
            assert stream.done <= most, f"{stream.done} bytes read of {len(content)}"


def _inspect(content: bytes) -> None:
    with counted(content) as stream:
        for whole in (False, True):
            inspect_open(stream, "x", whole=whole)


def _convert(content: bytes) -> None:
    """Give all of a disk's bytes, as far as a test has time for them."""
    with reading("x"):
        layout = formats.find(io.BytesIO(content), len(content))
        if layout is None or layout.needs_tool:
            return
        done = 0
        for _, block in layout.blocks(io.BytesIO(content), len(content)):
            done += len(block)
            if done > _MAX_BYTES:
                break


def _add(content: bytes) -> None:
    with tempfile.TemporaryDirectory(prefix="vmops-fuzz-") as name:
        folder = Path(name)
        source = folder / "x.img"
        source.write_bytes(content)
        numbers = itertools.count()

        @contextlib.contextmanager
        def scratch() -> Iterator[Path]:
            yield folder / f"scratch-{next(numbers)}"

        with intake.Intake(source=source, folder=folder, scratch=scratch).taken() as (_, blocks):
            for _ in itertools.islice(blocks, 64):
                pass


def _unpack(content: bytes) -> None:
    with tempfile.NamedTemporaryFile(prefix="vmops-fuzz-") as file:
        file.write(content)
        file.flush()
        with Path(file.name).open("rb") as stream:
            kind = packed.kind_of(stream)
            if kind in {"gzip", "xz"}:
                done = 0
                for block in packed.unpacked(stream, len(content), "x", kind):
                    done += len(block)
                    if done > _MAX_BYTES:
                        break


def _tar(content: bytes) -> None:
    for member in tar.members(io.BytesIO(content)):
        with contextlib.suppress(ImageNotAcceptable):
            member.read_all(4096)


def _told(read: Callable[[bytes], object]) -> Callable[[bytes], None]:
    def reader(content: bytes) -> None:
        with reading("x"):
            read(content)

    return reader


def _vmdk(content: bytes) -> None:
    vmdk.check_whole(io.BytesIO(content), len(content), "x")


def _manifest(content: bytes) -> None:
    manifest.read_manifest(content)


def _ovf(content: bytes) -> None:
    read_facts(content[: ovf.MAX_BYTES])


TARGETS: dict[str, Callable[[bytes], None]] = {
    "inspect": _inspect,
    "convert": _convert,
    "add": _add,
    "unpack": _unpack,
    "tar": _tar,
    "vmdk": _vmdk,
    "descriptor": _told(read_descriptor),
    "parts": _told(read_parts),
    "manifest": _manifest,
    "ovf": _ovf,
}


def take_or_refuse(target: str, content: bytes) -> bool:
    """Whether it was taken; anything but a refusal with a reason is an error."""
    try:
        TARGETS[target](content)
    except ImageNotAcceptable as refusal:
        if not str(refusal).strip():
            raise AssertionError("refused without a reason") from refusal
        return False
    return True
