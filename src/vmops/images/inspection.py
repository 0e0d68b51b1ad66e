"""Look into an image before anything else opens it.

Two looks: oslo.utils' `format_inspector`, which knows the attacks on image formats that Nova,
Glance and Cinder met (CVE-2022-47951, CVE-2024-32498), and our own reading of the VMDK header.
Nothing here follows a name found in an image.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from vmops.errors import ImageNotAcceptable
from vmops.images import ova, vmdk
from vmops.images.manifest import plain_name
from vmops.images.vmdk import SparseVmdk
from vmops.model.image import DiskType, ImageDisk, ImagePackage

if TYPE_CHECKING:
    from oslo_utils.imageutils.format_inspector import FileInspector

_SECTOR = 512


CONVERTED = frozenset({"qcow2", "raw"})
"""Formats that become streamOptimized on their way to vSphere."""
# A stream with its directory at the end is read to its end: each block costs, whatever its size.
_BLOCK = 64 * 1024
_TAR_MAGIC_AT = 257


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
    """What ``file`` really is, checked against what is ``claimed`` of it.

    A flat image has nothing to tell it by, so a file without a known header is taken for one only
    if it is claimed to be flat, or of ``disk_format`` raw. Without ``check_digests`` an OVA's files
    are not read to compare them with its manifest; they are when they are used.

    Raises:
        ImageNotAcceptable: the file is missing, empty, cut off, of another format than claimed, or
            could make a tool read other files of this machine.
    """
    missing = f"There is no image file {file}."
    if not file.is_file():
        raise ImageNotAcceptable(missing)
    try:
        if check_digests and _is_tar(file):
            ova.verify(file)
        facts = _inspect_content(file, claimed, disk_format)
    except FileNotFoundError:
        raise ImageNotAcceptable(missing) from None  # it went while it was read
    if disk_format is not None and disk_format != facts.disk_format:
        raise ImageNotAcceptable(
            f"{file.name} is said to have format {disk_format}, but is {facts.disk_format}."
        )
    if claimed is not None and claimed is not facts.disk_type:
        if disk_format in CONVERTED:
            raise ImageNotAcceptable(
                f"{file.name} of format {disk_format} is converted to {facts.disk_type}, and cannot"
                f" be {claimed} as well: leave out --disk-type (hw_disk_type), or leave out"
                f" --disk-format {disk_format} to take the file's bytes as they are."
            )
        raise ImageNotAcceptable(f"{file.name} is said to be {claimed}, but is {facts.disk_type}.")
    return facts


def _inspect_content(file: Path, claimed: DiskType | None, disk_format: str | None) -> ImageFacts:
    size = file.stat().st_size
    if size == 0:
        raise ImageNotAcceptable(f"{file.name} is empty.")
    if _is_tar(file):
        return _inspect_ova(file, size)
    return _inspect_plain(file, size, claimed, disk_format)


def _inspect_plain(
    file: Path, size: int, claimed: DiskType | None, disk_format: str | None
) -> ImageFacts:
    detected, capacity = _detect(file)
    if detected == "raw":
        return _flat(file, size, claimed, disk_format)
    if detected == "iso":
        if claimed not in {None, DiskType.THIN}:
            raise ImageNotAcceptable(f"{file.name} is said to be {claimed}, but is an ISO image.")
        if capacity > size:
            raise ImageNotAcceptable(f"{file.name} is cut off: it claims {capacity} bytes.")
        return ImageFacts(
            size_bytes=size, capacity_bytes=None, disk_type=DiskType.THIN, disk_format="iso"
        )
    if detected in CONVERTED:
        if claimed is not None and claimed is not DiskType.STREAM_OPTIMIZED:
            raise ImageNotAcceptable(f"{file.name} is said to be {claimed}, but is {detected}.")
        return ImageFacts(
            size_bytes=size,
            capacity_bytes=capacity,
            disk_type=DiskType.STREAM_OPTIMIZED,
            disk_format=detected,
        )
    if detected != "vmdk":
        raise ImageNotAcceptable(
            f"{file.name} has format {detected}, which vSphere cannot use. Convert it with:"
            f" qemu-img convert -f {detected} -O vmdk -o subformat=streamOptimized IN OUT"
        )
    found = vmdk.read_whole(file)
    return ImageFacts(
        disk_type=found.header.disk_type,
        size_bytes=size,
        capacity_bytes=found.header.capacity_bytes,
        package=bare_package(found),
    )


def bare_package(found: SparseVmdk) -> ImagePackage:
    """What a VMDK says of the machine: the adapter of its disk."""
    word, adapter = found.descriptor.adapter_word, found.descriptor.adapter
    if adapter is not None:
        return ImagePackage(boot_file="", defaults={"vmware_adaptertype": adapter.value})
    note = f"The VMDK's adapter type {word[:40]!r} is not known; the disk gets the image's."
    return ImagePackage(boot_file="", notes=(note,) if word else ())


def _flat(file: Path, size: int, claimed: DiskType | None, disk_format: str | None) -> ImageFacts:
    is_raw = disk_format == "raw"
    if not is_raw and (claimed is None or not claimed.is_flat):
        raise ImageNotAcceptable(
            f"{file.name} is not a VMDK, nor an ISO, OVA or qcow2 image. For a disk's bytes as they"
            " are, add --disk-format raw to have it converted, or --disk-type preallocated to take"
            " it as it is."
        )
    if size % _SECTOR:
        raise ImageNotAcceptable(
            f"{file.name} has {size} bytes, which is not a whole number of sectors:"
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


def _is_tar(file: Path) -> bool:
    with file.open("rb") as stream:
        return stream.read(512)[_TAR_MAGIC_AT:].startswith(b"ustar")


def _inspect_ova(file: Path, size: int) -> ImageFacts:
    content = ova.look(file)
    capacities = {}
    with file.open("rb") as archive:
        for name, (offset, length) in content.places.items():
            called = f"{name} in {file.name}"
            whole = vmdk.check_whole(
                io.BufferedReader(ova.Slice(archive, offset, length)), length, called
            )
            if not whole.header.is_streamed:
                raise ImageNotAcceptable(f"{called} is not a streamOptimized VMDK.")
            _second_opinion(io.BufferedReader(ova.Slice(archive, offset, length)), called)
            capacities[name] = whole.header.capacity_bytes
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


def _detect(file: Path) -> tuple[str, int]:
    """The format's name and capacity as oslo.utils has them; raises if the file is a trap."""
    with file.open("rb") as stream:
        head = stream.read(64)
    if head.startswith(vmdk.MAGIC) or head.lstrip().lower().startswith(vmdk.DESCRIPTOR_START):
        # Our own reading first: it says best what is wrong with a broken one, and what to do about
        # a bare descriptor, which names other files.
        vmdk.read_whole(file)
    with file.open("rb") as stream:
        return _second_opinion(stream, file.name)


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
