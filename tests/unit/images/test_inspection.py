"""Images are looked into before anything opens them: only what is sound and safe passes."""

import random
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from vmops.errors import ImageNotAcceptable
from vmops.images.inspection import inspect
from vmops.images.iso import build_iso
from vmops.model.image import DiskType

MIB = 1 << 20
QEMU_IMG = shutil.which("qemu-img")
needs_qemu_img = pytest.mark.skipif(QEMU_IMG is None, reason="qemu-img is not installed")


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    file = tmp_path / "disk.raw"
    with file.open("wb") as stream:
        stream.write(random.Random(1).randbytes(4 * MIB))
        stream.truncate(16 * MIB)
    return file


def convert(raw: Path, kind: str, *, subformat: str | None = None) -> Path:
    target = raw.with_name(f"{subformat or 'disk'}.{kind}")
    options = ["-o", f"subformat={subformat}"] if subformat else []
    command = [str(QEMU_IMG), "convert", "-f", "raw", "-O", kind, *options, str(raw), str(target)]
    subprocess.run(command, check=True)
    return target


@needs_qemu_img
@pytest.mark.parametrize(
    ("subformat", "disk_type"),
    [("streamOptimized", DiskType.STREAM_OPTIMIZED), ("monolithicSparse", DiskType.SPARSE)],
)
def test_a_sound_vmdk_is_what_it_is(raw: Path, subformat: str, disk_type: DiskType) -> None:
    file = convert(raw, "vmdk", subformat=subformat)
    facts = inspect(file)
    assert facts.disk_type is disk_type
    assert facts.capacity_bytes == 16 * MIB
    assert facts.size_bytes == file.stat().st_size


@needs_qemu_img
@pytest.mark.parametrize("subformat", ["streamOptimized", "monolithicSparse"])
@pytest.mark.parametrize("keep", [0.02, 0.5, 0.95])
def test_a_truncated_vmdk_is_refused(raw: Path, subformat: str, keep: float) -> None:
    file = convert(raw, "vmdk", subformat=subformat)
    with file.open("r+b") as stream:
        stream.truncate(int(file.stat().st_size * keep))
    with pytest.raises(ImageNotAcceptable, match=r"cut off|ends within"):
        inspect(file)


@needs_qemu_img
def test_a_vmdk_that_is_claimed_to_be_another_kind_is_refused(raw: Path) -> None:
    file = convert(raw, "vmdk", subformat="streamOptimized")
    with pytest.raises(ImageNotAcceptable, match="said to be sparse, but is streamOptimized"):
        inspect(file, DiskType.SPARSE)


@needs_qemu_img
def test_a_format_that_is_not_taken_is_refused(raw: Path) -> None:
    with pytest.raises(ImageNotAcceptable, match="qed is refused"):
        inspect(convert(raw, "qed"))


@needs_qemu_img
def test_a_qcow2_is_one_unless_another_is_claimed(raw: Path) -> None:
    file = convert(raw, "qcow2")
    facts = inspect(file)
    assert (facts.disk_format, facts.capacity_bytes) == ("qcow2", 16 * MIB)
    assert facts.disk_type is DiskType.STREAM_OPTIMIZED
    for claim in ({"claimed": DiskType.PREALLOCATED}, {"disk_format": "raw"}):
        with pytest.raises(ImageNotAcceptable, match="but is qcow2"):
            inspect(file, **claim)


def test_raw_bytes_are_to_be_called_so(raw: Path) -> None:
    with pytest.raises(ImageNotAcceptable, match=r"--disk-format raw.*--disk-type\s+preallocated"):
        inspect(raw)
    facts = inspect(raw, disk_format="raw")
    assert (facts.disk_format, facts.capacity_bytes) == ("raw", 16 * MIB)


def test_an_iso_has_no_disk(tmp_path: Path) -> None:
    file = tmp_path / "x.iso"
    file.write_bytes(build_iso("x", {"a": b"1"}))
    facts = inspect(file)
    assert (facts.disk_format, facts.capacity_bytes) == ("iso", None)
    with pytest.raises(ImageNotAcceptable, match="preallocated, but is an ISO image"):
        inspect(file, DiskType.PREALLOCATED)


def test_a_bootable_iso_may_have_a_boot_sector_and_nothing_else(tmp_path: Path) -> None:
    hybrid = tmp_path / "x.iso"
    content = bytearray(build_iso("x", {"a": b"1"}))
    content[446:462] = bytes([0x80, 0, 1, 0, 0x17, 0xFE, 0xFF, 0xFF, 0, 0, 0, 0, 9, 0, 0, 0])
    content[510:512] = b"\x55\xaa"
    hybrid.write_bytes(content)
    assert inspect(hybrid).disk_format == "iso"
    content[:8] = b"QFI\xfb\0\0\0\3"
    hybrid.write_bytes(content)
    with pytest.raises(ImageNotAcceptable, match="refused"):
        inspect(hybrid)


def test_a_cut_off_iso_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "x.iso"
    file.write_bytes(build_iso("x", {"a": b"1" * MIB})[: MIB // 2])
    with pytest.raises(ImageNotAcceptable, match="cut off"):
        inspect(file)


def test_flat_bytes_need_to_be_claimed(raw: Path) -> None:
    with pytest.raises(ImageNotAcceptable, match="not a VMDK"):
        inspect(raw)
    assert inspect(raw, DiskType.PREALLOCATED).capacity_bytes == 16 * MIB


def test_flat_bytes_that_end_within_a_sector_are_refused(raw: Path) -> None:
    with raw.open("r+b") as stream:
        stream.truncate(16 * MIB - 100)
    with pytest.raises(ImageNotAcceptable, match="sectors"):
        inspect(raw, DiskType.PREALLOCATED)


@pytest.mark.parametrize("claimed", [None, DiskType.PREALLOCATED])
def test_an_empty_file_is_refused(tmp_path: Path, claimed: DiskType | None) -> None:
    file = tmp_path / "empty.vmdk"
    file.touch()
    with pytest.raises(ImageNotAcceptable, match="empty"):
        inspect(file, claimed)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageNotAcceptable, match="no image file"):
        inspect(tmp_path / "absent.vmdk")


@pytest.mark.parametrize("claimed", [None, DiskType.PREALLOCATED, DiskType.SPARSE])
@pytest.mark.parametrize("extent", ["/etc/passwd", "../../secret", "disk-flat.vmdk"])
def test_a_descriptor_that_names_other_files_is_refused(
    tmp_path: Path, claimed: DiskType | None, extent: str
) -> None:
    file = tmp_path / "trap.vmdk"
    file.write_text(
        "# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\n"
        f'createType="monolithicFlat"\nRW 2048 FLAT "{extent}" 0\n'
    )
    with pytest.raises(ImageNotAcceptable, match="names other files"):
        inspect(file, claimed)


def sparse_vmdk(tmp_path: Path, descriptor: str, **fields: int) -> Path:
    """A hand-made sparse VMDK: header, descriptor, one grain table without grains."""
    values = {
        "version": 1, "flags": 3, "capacity": 2048, "grain": 128, "descriptor_at": 1,
        "descriptor_size": 20, "tables_size": 512, "rgd": 0, "gd": 21, "overhead": 40, **fields,
    }  # fmt: skip
    header = b"KDMV" + struct.pack("<IIQQQQIQQQ", *values.values())
    body = header.ljust(512, b"\0") + descriptor.encode().ljust(20 * 512, b"\0")
    body += struct.pack("<I", 22).ljust(512, b"\0") + bytes(4 * 512)
    file = tmp_path / "made.vmdk"
    file.write_bytes(body.ljust(64 * 512, b"\0"))
    return file


SPARSE = (
    "# Disk DescriptorFile\nversion=1\nCID=1\nparentCID=ffffffff\n"
    'createType="monolithicSparse"\nRW 2048 SPARSE "made.vmdk"\n'
)


def test_the_hand_made_vmdk_is_sound(tmp_path: Path) -> None:
    assert inspect(sparse_vmdk(tmp_path, SPARSE)).capacity_bytes == MIB


@pytest.mark.parametrize(
    "fields",
    [
        {"capacity": 1 << 60}, {"capacity": 0}, {"grain": 0}, {"grain": 3}, {"grain": 1 << 40},
        {"tables_size": 0}, {"tables_size": 1 << 30}, {"descriptor_size": 1 << 40},
        {"descriptor_at": 1 << 50}, {"gd": 1 << 50}, {"overhead": 1 << 50}, {"version": 99},
    ],
)  # fmt: skip
def test_claims_that_the_file_cannot_hold_are_refused(
    tmp_path: Path, fields: dict[str, int]
) -> None:
    with pytest.raises(ImageNotAcceptable):
        inspect(sparse_vmdk(tmp_path, SPARSE, **fields))


def test_an_embedded_descriptor_with_a_flat_extent_elsewhere_is_refused(tmp_path: Path) -> None:
    trap = SPARSE.replace("monolithicSparse", "monolithicFlat").replace(
        'SPARSE "made.vmdk"', 'FLAT "/etc/passwd" 0'
    )
    with pytest.raises(ImageNotAcceptable, match="'monolithicFlat', not one file"):
        inspect(sparse_vmdk(tmp_path, trap))
