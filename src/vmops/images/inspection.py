"""Look into an image before anything else opens it.

Two looks: oslo.utils' `format_inspector`, which knows the attacks on image formats that Nova,
Glance and Cinder met (CVE-2022-47951, CVE-2024-32498), and our own reading of the VMDK header.
Nothing here follows a name found in an image.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vmops.errors import ImageNotAcceptable
from vmops.images import vmdk
from vmops.model.image import DiskType

_SECTOR = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFacts:
    """What an image file is: its layout, its own size and that of the disk in it."""

    disk_type: DiskType
    size_bytes: int
    capacity_bytes: int


def inspect(file: Path, claimed: DiskType | None = None) -> ImageFacts:
    """What ``file`` really is, checked against what is ``claimed`` of it.

    A flat image has nothing to tell it by, so a file without a VMDK header is taken for one only
    if it is claimed to be flat.

    Raises:
        ImageNotAcceptable: the file is missing, empty, cut off, of another format than claimed, or
            could make a tool read other files of this machine.
    """
    if not file.is_file():
        raise ImageNotAcceptable(f"There is no image file {file}.")
    size = file.stat().st_size
    if size == 0:
        raise ImageNotAcceptable(f"{file.name} is empty.")
    detected = _detect(file)
    if detected == "raw":
        if claimed is None or not claimed.is_flat:
            raise ImageNotAcceptable(
                f"{file.name} is not a VMDK. If it holds the bytes of a disk as they are,"
                " say so with disk type 'preallocated'."
            )
        if size % _SECTOR:
            raise ImageNotAcceptable(
                f"{file.name} has {size} bytes, which is not a whole number of sectors:"
                " it is cut off, or no disk."
            )
        return ImageFacts(disk_type=claimed, size_bytes=size, capacity_bytes=size)
    if detected != "vmdk":
        raise ImageNotAcceptable(
            f"{file.name} has format {detected}, which vSphere cannot use. Convert it with:"
            f" qemu-img convert -f {detected} -O vmdk -o subformat=streamOptimized IN OUT"
        )
    header = vmdk.read_header(file)
    if claimed is not None and claimed is not header.disk_type:
        raise ImageNotAcceptable(f"{file.name} is said to be {claimed}, but is {header.disk_type}.")
    return ImageFacts(
        disk_type=header.disk_type, size_bytes=size, capacity_bytes=header.capacity_bytes
    )


def _detect(file: Path) -> str:
    """The format's name as oslo.utils has it; raises if the file is a trap."""
    from oslo_utils.imageutils import format_inspector  # noqa: PLC0415 - slow to import

    with file.open("rb") as stream:
        head = stream.read(64)
    if head.startswith(vmdk.MAGIC) or head.lstrip().lower().startswith(vmdk.DESCRIPTOR_START):
        # Our own reading first: it says best what is wrong with a broken one, and what to do about
        # a bare descriptor, which names other files.
        vmdk.read_header(file)
    try:
        found = format_inspector.detect_file_format(str(file))
        if found is None:
            raise ImageNotAcceptable(f"{file.name} has no format that is known.")
        name = str(found)
        # A boot sector alone is a raw disk to us.
        if name in {"gpt", "mbr"}:
            name = "raw"
        if name != "raw":
            found.safety_check()
    except format_inspector.SafetyCheckFailed as failure:
        raise ImageNotAcceptable(
            f"{file.name} is refused: {_reasons(failure)}. Such an image could make a tool read"
            " files of this machine."
        ) from None
    except format_inspector.ImageFormatError as failure:
        raise ImageNotAcceptable(f"{file.name} is refused: {failure}") from None
    return name


def _reasons(failure: object) -> str:
    failures = getattr(failure, "failures", None)
    return "; ".join(sorted(map(str, failures.values()))) if failures else str(failure)
