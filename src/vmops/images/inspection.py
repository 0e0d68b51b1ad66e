"""Look into an image before anything else opens it.

Two looks: our own readers (`vmops.images.formats`, `vmdk`, `ova`), which have one open file and
follow no name found in it, and oslo.utils' `format_inspector`, which knows the attacks on image
formats that Nova, Glance and Cinder met (CVE-2022-47951, CVE-2024-32498).
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from vmops import units
from vmops.errors import ImageNotAcceptable
from vmops.images import formats, ova, vmdk
from vmops.images.manifest import plain_name
from vmops.images.reading import reading
from vmops.images.vmdk import SparseVmdk
from vmops.model.image import DiskType, ImageDisk, ImagePackage

if TYPE_CHECKING:
    from oslo_utils.imageutils.format_inspector import FileInspector

_SECTOR = 512
CONVERTED = frozenset({"raw", *formats.READERS})
"""Formats that become streamOptimized on their way to vSphere."""
# A stream with its directory at the end is read to its end: each block costs, whatever its size.
_BLOCK = 64 * 1024
_TAR_MAGIC_AT = 257
_ISO_AT, _ISO_HEAD = 16 * 2048, b"\1CD001"
_ISO_BLOCKS, _ISO_BLOCK = slice(80, 84), slice(128, 130)
_EMPTY_BYTES = 64 * units.GIB
_RATIO = 4096
"""A disk may have so many times the bytes of its file, and those above besides."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFacts:
    """What an image file is: its layout, its own size and that of the disk in it.

    ``disk_type`` is what the disk is on its way to vSphere; of an ISO image, which has none, it is
    that of the blank disk beside it.
    """

    size_bytes: int
    capacity_bytes: int | None
    disk_type: DiskType
    disk_format: str = "vmdk"
    container_format: str = "bare"
    package: ImagePackage | None = None
    """What the file says of the machine."""


def inspect(
    file: Path,
    claimed: DiskType | None = None,
    disk_format: str | None = None,
    *,
    check_digests: bool = True,
) -> ImageFacts:
    """What ``file`` really is; see `inspect_open`.

    Raises:
        ImageNotAcceptable: there is no such file, or it cannot be used.
    """
    with opened(file) as stream:
        return inspect_open(stream, file.name, claimed, disk_format, check_digests=check_digests)


@contextlib.contextmanager
def opened(file: Path) -> Iterator[BinaryIO]:
    """A file that is one, not a pipe or a device.

    Raises:
        ImageNotAcceptable: there is none.
    """
    if not file.is_file():
        raise ImageNotAcceptable(f"There is no image file {file}.")
    try:
        stream = file.open("rb")
    except FileNotFoundError:  # it has just gone
        raise ImageNotAcceptable(f"There is no image file {file}.") from None
    with stream:
        yield stream


def inspect_open(
    stream: BinaryIO,
    name: str,
    claimed: DiskType | None = None,
    disk_format: str | None = None,
    *,
    check_digests: bool = True,
    whole: bool = True,
) -> ImageFacts:
    """What an open file really is, checked against what is ``claimed`` of it.

    A flat image has nothing to tell it by, so a file without a known header is taken for one only
    if it is claimed to be flat, or of ``disk_format`` raw. Without ``check_digests`` an OVA's files
    are not read to compare them with its manifest; they are when they are used. Without ``whole``
    headers alone are read, whatever the file's size; that is no ground for opening it elsewhere.

    Raises:
        ImageNotAcceptable: it is empty, cut off, of another format than claimed, claims a disk out
            of all proportion, or could make a tool read other files of this machine.
    """
    size = os.fstat(stream.fileno()).st_size
    if size == 0:
        raise ImageNotAcceptable(f"{name} is empty.")
    with reading(name):
        if _is_tar(stream):
            if check_digests and whole:
                ova.verify(stream)
            facts = _inspect_ova(stream, size, name, whole=whole)
        else:
            facts = _inspect_plain(_Looked(stream, size, name, whole), claimed, disk_format)
    check_claims(facts, name, claimed, disk_format)
    return facts


@dataclass(frozen=True, slots=True)
class _Looked:
    """A file that is looked into, wholly or at its headers."""

    stream: BinaryIO
    size: int
    name: str
    whole: bool

    def reader(self) -> io.BufferedReader:
        """The file from its beginning; closing it does nothing."""
        return io.BufferedReader(ova.Slice(self.stream, 0, self.size))


def check_claims(
    facts: ImageFacts, name: str, claimed: DiskType | None, disk_format: str | None
) -> None:
    """Refuse a file that is another one than is claimed of it.

    Raises:
        ImageNotAcceptable: it is.
    """
    if disk_format is not None and disk_format != facts.disk_format:
        raise ImageNotAcceptable(
            f"{name} is said to have format {disk_format}, but is {facts.disk_format}."
        )
    if claimed is not None and claimed is not facts.disk_type:
        if disk_format in CONVERTED:
            raise ImageNotAcceptable(
                f"{name} of format {disk_format} is converted to {facts.disk_type}, and cannot"
                f" be {claimed} as well: leave out --disk-type (hw_disk_type), or leave out"
                f" --disk-format {disk_format} to take the file's bytes as they are."
            )
        raise ImageNotAcceptable(f"{name} is said to be {claimed}, but is {facts.disk_type}.")


def _check_proportion(name: str, capacity: int, size: int) -> int:
    most = _EMPTY_BYTES + _RATIO * size
    if capacity > most:
        raise ImageNotAcceptable(
            f"{name} claims a disk of {units.human_bytes(capacity)} in a file of"
            f" {units.human_bytes(size)}; at most {units.human_bytes(most)} are believed of it."
        )
    return capacity


def _inspect_plain(file: _Looked, claimed: DiskType | None, disk_format: str | None) -> ImageFacts:
    size, name = file.size, file.name
    if _is_vmdk(file.stream):
        # Our own reading first: it says best what is wrong with a broken one, and what to do about
        # a bare descriptor, which names other files.
        found = _vmdk(file)
        capacity = _check_proportion(name, found.header.capacity_bytes, size)
        return ImageFacts(
            disk_type=found.header.disk_type,
            size_bytes=size,
            capacity_bytes=capacity,
            package=bare_package(found),
        )
    layout = formats.find(file.stream, size)
    second, iso_bytes = _second_opinion(file.reader(), name) if file.whole else ("", 0)
    if layout is not None:
        detected = layout.disk_format
        if second not in {"", detected} and (detected, second) != ("vhd", "raw"):
            raise ImageNotAcceptable(f"{name} is refused: it is {detected} and {second} at once.")
        if claimed is not None and claimed is not DiskType.STREAM_OPTIMIZED:
            raise ImageNotAcceptable(f"{name} is said to be {claimed}, but is {detected}.")
        if file.whole:
            layout.check(file.stream, size)
        return ImageFacts(
            size_bytes=size,
            capacity_bytes=_check_proportion(name, layout.capacity_bytes, size),
            disk_type=DiskType.STREAM_OPTIMIZED,
            disk_format=detected,
        )
    if second == "iso" or (not second and _iso_bytes(file.stream) is not None):
        return _iso(file, claimed, iso_bytes or _iso_bytes(file.stream) or 0)
    if second not in {"", "raw"}:
        raise ImageNotAcceptable(
            f"{name} has format {second}, which is not taken. Convert it with:"
            f" qemu-img convert -f {second} -O vmdk -o subformat=streamOptimized IN OUT"
        )
    return _flat(name, size, claimed, disk_format)


def _is_vmdk(stream: BinaryIO) -> bool:
    stream.seek(0)
    head = stream.read(64)
    return head.startswith(vmdk.MAGIC) or head.lstrip().lower().startswith(vmdk.DESCRIPTOR_START)


def _vmdk(file: _Looked) -> SparseVmdk:
    if not file.whole:
        return vmdk.peek(file.reader(), file.size, file.name)
    found = vmdk.check_whole(file.stream, file.size, file.name)
    _second_opinion(file.reader(), file.name)
    return found


def _iso_bytes(stream: BinaryIO) -> int | None:
    """The size that an ISO image's first volume descriptor claims, None if there is none."""
    stream.seek(_ISO_AT)
    head = stream.read(2048)
    if not head.startswith(_ISO_HEAD):
        return None
    blocks, block = head[_ISO_BLOCKS], head[_ISO_BLOCK]
    return int.from_bytes(blocks, "little") * int.from_bytes(block, "little")


def _iso(file: _Looked, claimed: DiskType | None, claimed_bytes: int) -> ImageFacts:
    if claimed not in {None, DiskType.THIN}:
        raise ImageNotAcceptable(f"{file.name} is said to be {claimed}, but is an ISO image.")
    if claimed_bytes > file.size:
        raise ImageNotAcceptable(f"{file.name} is cut off: it claims {claimed_bytes} bytes.")
    return ImageFacts(
        size_bytes=file.size, capacity_bytes=None, disk_type=DiskType.THIN, disk_format="iso"
    )


def bare_package(found: SparseVmdk) -> ImagePackage:
    """What a VMDK says of the machine: the adapter of its disk."""
    word, adapter = found.descriptor.adapter_word, found.descriptor.adapter
    if adapter is not None:
        return ImagePackage(boot_file="", defaults={"vmware_adaptertype": adapter.value})
    note = f"The VMDK's adapter type {word[:40]!r} is not known; the disk gets the image's."
    return ImagePackage(boot_file="", notes=(note,) if word else ())


def _flat(name: str, size: int, claimed: DiskType | None, disk_format: str | None) -> ImageFacts:
    is_raw = disk_format == "raw"
    if not is_raw and (claimed is None or not claimed.is_flat):
        raise ImageNotAcceptable(
            f"{name} is not a VMDK, nor an ISO, OVA, qcow2, VDI, VHD or VHDX image. For a disk's"
            " bytes as they are, add --disk-format raw to have it converted, or --disk-type"
            " preallocated to take it as it is."
        )
    if size % _SECTOR:
        raise ImageNotAcceptable(
            f"{name} has {size} bytes, which is not a whole number of sectors:"
            " it is cut off, or not a disk."
        )
    if is_raw:
        return ImageFacts(
            size_bytes=size,
            capacity_bytes=size,
            disk_type=DiskType.STREAM_OPTIMIZED,
            disk_format="raw",
        )
    assert claimed is not None  # noqa: S101 - refused above
    return ImageFacts(disk_type=claimed, size_bytes=size, capacity_bytes=size)


def _is_tar(stream: BinaryIO) -> bool:
    stream.seek(0)
    return stream.read(512)[_TAR_MAGIC_AT:].startswith(b"ustar")


def _inspect_ova(archive: BinaryIO, size: int, name: str, *, whole: bool) -> ImageFacts:
    content = ova.look(archive)
    capacities = {}
    for disk, (offset, length) in content.places.items():
        called = f"{disk} in {name}"
        part = io.BufferedReader(ova.Slice(archive, offset, length))
        found = (vmdk.check_whole if whole else vmdk.peek)(part, length, called)
        if not found.header.is_streamed:
            raise ImageNotAcceptable(f"{called} is not a streamOptimized VMDK.")
        if whole:
            _second_opinion(io.BufferedReader(ova.Slice(archive, offset, length)), called)
        capacities[disk] = _check_proportion(called, found.header.capacity_bytes, length)
    package = package_of(content, capacities)
    return ImageFacts(
        size_bytes=size,
        capacity_bytes=capacities[package.boot_file],
        disk_type=DiskType.STREAM_OPTIMIZED,
        container_format="ova",
        package=package,
    )


def package_of(content: ova.OvaContent, capacities: Mapping[str, int]) -> ImagePackage:
    """What an archive says of the machine; ``capacities`` are those of its files' disks."""
    facts = content.facts
    boot, *others = facts.disks
    return ImagePackage(
        boot_file=plain_name(boot.file),
        disks=tuple(
            ImageDisk(
                file=plain_name(disk.file),
                capacity_bytes=capacities[plain_name(disk.file)]
                if disk.file
                else disk.capacity_bytes,
                adapter=disk.adapter,
            )
            for disk in others
        ),
        defaults=facts.properties,
        vcpus=facts.vcpus,
        memory_mib=facts.memory_mib,
        notes=content.notes(),
    )


def _second_opinion(stream: BinaryIO, called: str) -> tuple[str, int]:
    from oslo_utils.imageutils import format_inspector  # noqa: PLC0415 - slow to import

    try:
        found = _one_format(stream)
        if found is None:
            raise ImageNotAcceptable(f"{called} has no format that is known.")
        # A boot sector alone is a raw disk to us.
        name = "raw" if str(found) in {"gpt", "mbr"} else str(found)
        if name in {"raw", "vmdk"}:  # of a VMDK our own reading says more, and is stricter
            return name, 0
        found.safety_check()
        return name, int(found.virtual_size)
    except format_inspector.SafetyCheckFailed as failure:
        raise ImageNotAcceptable(
            f"{called} is refused: {_reasons(failure)}. Such an image could make a tool read"
            " files of this machine."
        ) from None
    except format_inspector.ImageFormatError as failure:
        raise ImageNotAcceptable(f"{called} is refused: {failure}") from None


def _one_format(stream: BinaryIO) -> FileInspector | None:
    """The one format that the file has; a bootable ISO image may have a boot sector, too."""
    from oslo_utils.imageutils import format_inspector  # noqa: PLC0415 - slow to import

    with contextlib.closing(format_inspector.InspectWrapper(stream)) as w:
        while w.formats is None and w.read(_BLOCK):
            pass
    by_name = {str(one): one for one in w.formats or ()}
    if set(by_name) <= {"iso", "gpt", "mbr"} and "iso" in by_name:
        return by_name["iso"]
    return w.format


def _reasons(failure: object) -> str:
    failures = getattr(failure, "failures", None)
    return "; ".join(sorted(map(str, failures.values()))) if failures else str(failure)
