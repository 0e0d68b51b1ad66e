"""What an image's file is to vSphere: an ISO image, or a VMDK that may have to be taken out of it.

Stores may hold images as they came: in an OVA archive, or as qcow2 or raw. What is known of such an
image is completed before anything is built from it, by a look at its first bytes; the VMDK is made
when it is sent.
"""

from __future__ import annotations

import contextlib
import io
import itertools
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, BinaryIO, Protocol

from vmops import units
from vmops.context import tell
from vmops.errors import ImageNotAcceptable
from vmops.images import formats, inspection, ova, vmdk
from vmops.images.conversion import as_stream_optimized
from vmops.images.formats import vhd
from vmops.images.private_copy import write_sparse
from vmops.images.reading import reading
from vmops.images.verified import VerifiedStream
from vmops.model.image import DISK_FORMATS, DiskType, Image, ImagePackage
from vmops.progress import TransferProgress

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_SECTOR = 512
_HEAD = 4 * units.MIB
"""Where the headers of all formats are; a VHDX has its own in the first megabytes."""


class Opens(Protocol):
    """What gives an image's bytes: a store, or one image made here."""

    def open(self, image: Image) -> AbstractContextManager[BinaryIO]:
        """See `vmops.images.store.ImageStore.open`."""


def complete(store: Opens, image: Image) -> Image:
    """The same with its disk's type and capacity; of an ISO image, the type of the disk beside it.

    Only what the store does not tell is looked for, in the image's first bytes.

    Raises:
        ImageNotAcceptable: it is of a format that cannot become a machine's disk or CD-ROM.
    """
    if image.container_format == "ova":
        return image if image.package is not None else _look_into_ova(store, image)
    if image.container_format not in {"bare", ""}:
        raise ImageNotAcceptable(
            f"Image {image.name!r} is in a container of format {image.container_format!r};"
            " only ova is known."
        )
    if image.disk_format == "iso":
        return _of_type(image, DiskType.THIN)
    if image.disk_format == "raw":
        return _streamed(image, image.capacity_bytes or image.size_bytes)
    if image.disk_format in formats.READERS:
        return _streamed(image, image.capacity_bytes or _capacity(store, image))
    if image.disk_format != "vmdk":
        known = ", ".join(DISK_FORMATS)
        raise ImageNotAcceptable(
            f"Image {image.name!r} has disk format {image.disk_format!r}; known are {known}."
        )
    if image.properties.disk_type.is_flat or image.package is not None:
        return image
    with store.open(image) as stream:
        found = vmdk.peek(stream, image.size_bytes, image.name)
    return _packed(image, inspection.bare_package(found), found.header.capacity_bytes)


def _streamed(image: Image, capacity_bytes: int) -> Image:
    return replace(_of_type(image, DiskType.STREAM_OPTIMIZED), capacity_bytes=capacity_bytes)


def _of_type(image: Image, disk_type: DiskType) -> Image:
    return replace(image, properties=replace(image.properties, disk_type=disk_type))


def _packed(image: Image, package: ImagePackage, capacity_bytes: int) -> Image:
    """The same with what its file says of the machine, where its properties say nothing."""
    properties = image.properties.with_defaults(package.defaults)
    capacity_bytes = image.capacity_bytes or capacity_bytes
    return replace(image, properties=properties, package=package, capacity_bytes=capacity_bytes)


def _look_into_ova(store: Opens, image: Image) -> Image:
    """An archive from elsewhere is read in one pass, no further than its last disk's beginning."""
    capacities: dict[str, int] = {}

    def look_at(name: str, size: int, stream: BinaryIO) -> None:
        found = vmdk.peek(stream, size, f"{name} in {image.name}")
        capacities[name] = found.header.capacity_bytes

    with store.open(image) as stream:
        content = ova.glance(stream, look_at)
    package = inspection.package_of(content, capacities)
    streamed = _of_type(image, DiskType.STREAM_OPTIMIZED)
    return _packed(streamed, package, capacities[package.boot_file])


def _capacity(store: Opens, image: Image) -> int:
    """What an image's first bytes say; all is looked into when it is used."""
    with store.open(image) as stream:
        head = _up_to(stream, _HEAD)
    layout = None
    with reading(image.name):
        if image.disk_format == "vhd" and not head.startswith(vhd.MAGIC):
            return image.size_bytes - _SECTOR  # a fixed one: what says so is its last sector
        reader = formats.layout.Reader(io.BytesIO(head), image.size_bytes)
        layout = formats.READERS[image.disk_format](reader)
    if layout is None:
        raise ImageNotAcceptable(
            f"Image {image.name!r} is said to be {image.disk_format}, but is not."
        )
    return layout.capacity_bytes


def _up_to(stream: BinaryIO, size: int) -> bytes:
    """So many bytes or all there are: networks give them in pieces."""
    blocks = []
    while size and (block := stream.read(size)):
        blocks.append(block)
        size -= len(block)
    return b"".join(blocks)


@contextlib.contextmanager
def as_vmdk(store: Opens, image: Image) -> Iterator[tuple[Opens, Image]]:
    """The image as a bare VMDK or ISO, and what opens it; what was made for that goes at the end.

    Raises:
        ImageNotAcceptable: there is no such disk in it.
        NotSupported: it must be converted, and there is no qemu-img.
    """
    if image.container_format == "ova":
        with store.open(image) as stream:
            size = ova.open_disk(stream, image.part).size_bytes
        yield _InOva(store, image), replace(image, size_bytes=size, container_format="bare")
    elif image.disk_format in inspection.CONVERTED:
        with TemporaryDirectory(prefix="vmops-image-") as folder:
            made = _converted(store, image, Path(folder))
            size = made.stat().st_size
            yield _File(made), replace(image, size_bytes=size, disk_format="vmdk")
    else:
        yield store, image


def _converted(store: Opens, image: Image, folder: Path) -> Path:
    """The image's VMDK, a file in the folder, which only we have."""
    source, made = folder / f"image.{image.disk_format}", folder / "image.vmdk"
    with store.open(image) as stream, source.open("xb") as writer:
        write_sparse(iter(lambda: stream.read(units.MIB), b""), writer)
    numbers = itertools.count(1)
    with source.open("rb") as stream, made.open("xb") as writer:
        inspection.inspect_open(stream, image.name, disk_format=image.disk_format)
        blocks = as_stream_optimized(
            stream,
            image.name,
            image.disk_format,
            lambda: folder / f"scratch-{next(numbers)}",
            lambda done, total: tell(
                TransferProgress(name=image.name, done_bytes=done, total_bytes=total)
            ),
        )
        for block in blocks:
            writer.write(block)
    source.unlink()
    return made


@dataclass(frozen=True, slots=True)
class _InOva:
    """Gives a disk in a store's archive."""

    store: Opens
    archive: Image

    @contextlib.contextmanager
    def open(self, image: Image) -> Iterator[BinaryIO]:
        with self.store.open(self.archive) as stream:
            disk = ova.open_disk(stream, self.archive.part).stream
            yield io.BufferedReader(_ThenRest(disk, stream), units.MIB)


class _ThenRest(io.RawIOBase):
    """A disk in an archive. At its end the archive is read to its own, which may tell of damage."""

    def __init__(self, disk: BinaryIO, archive: BinaryIO) -> None:
        super().__init__()
        self._disk = disk
        self._archive = archive

    def readable(self) -> bool:
        """Always, as `io.RawIOBase` asks before it reads."""
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Give the next bytes."""
        wanted = memoryview(buffer)
        block = self._disk.read(len(wanted))
        if not block and isinstance(getattr(self._archive, "raw", None), VerifiedStream):
            while self._archive.read(units.MIB):
                pass
        wanted[: len(block)] = block
        return len(block)


@dataclass(frozen=True, slots=True)
class _File:
    """Gives a file that was made here."""

    path: Path

    @contextlib.contextmanager
    def open(self, image: Image) -> Iterator[BinaryIO]:
        with self.path.open("rb", buffering=0) as stream:
            yield stream
