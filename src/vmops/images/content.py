"""What an image's file is to vSphere: an ISO image, or a VMDK that may have to be taken out of it.

Stores may hold images as they came: in an OVA archive, or as qcow2 or raw. What is known of such an
image is completed before anything is built from it, by a look at its first bytes; the VMDK is made
when it is sent.
"""

from __future__ import annotations

import contextlib
import shutil
import struct
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO, Protocol

from vmops import units
from vmops.context import tell
from vmops.errors import ImageNotAcceptable
from vmops.images import inspection, ova, qemu_img, vmdk
from vmops.model.image import DISK_FORMATS, DiskType, Image, ImagePackage
from vmops.progress import TransferProgress

_QCOW2 = struct.Struct(">4sIQIIQ")
_QCOW2_MAGIC = b"QFI\xfb"


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
    if image.disk_format == "qcow2":
        return _streamed(image, image.capacity_bytes or _capacity_of_qcow2(store, image))
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


def _capacity_of_qcow2(store: Opens, image: Image) -> int:
    with store.open(image) as stream:
        head = stream.read(_QCOW2.size)
    if len(head) < _QCOW2.size or head[:4] != _QCOW2_MAGIC:
        raise ImageNotAcceptable(f"Image {image.name!r} is said to be qcow2, but is not.")
    return int(_QCOW2.unpack(head)[5])


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
            source = Path(folder) / f"image.{image.disk_format}"
            with store.open(image) as stream, source.open("xb") as writer:
                shutil.copyfileobj(stream, writer, units.MIB)
            facts = inspection.inspect(source, disk_format=image.disk_format)
            made = Path(folder) / "image.vmdk"
            total = facts.capacity_bytes or 0
            qemu_img.convert(source, image.disk_format, made, _telling(image, total))
            source.unlink()
            size = made.stat().st_size
            yield _File(made), replace(image, size_bytes=size, disk_format="vmdk")
    else:
        yield store, image


def _telling(image: Image, total_bytes: int) -> qemu_img.Tell:
    def tell_percent(percent: float) -> None:
        done = int(total_bytes * percent / 100)
        tell(TransferProgress(name=image.name, done_bytes=done, total_bytes=total_bytes))

    return tell_percent


@dataclass(frozen=True, slots=True)
class _InOva:
    """Gives a disk in a store's archive."""

    store: Opens
    archive: Image

    @contextlib.contextmanager
    def open(self, image: Image) -> Iterator[BinaryIO]:
        with self.store.open(self.archive) as stream:
            yield ova.open_disk(stream, self.archive.part).stream


@dataclass(frozen=True, slots=True)
class _File:
    """Gives a file that was made here."""

    path: Path

    @contextlib.contextmanager
    def open(self, image: Image) -> Iterator[BinaryIO]:
        with self.path.open("rb", buffering=0) as stream:
            yield stream
