"""Disk images in every format, made of the same bytes by qemu-img, which is not ours."""

from __future__ import annotations

import gzip
import lzma
import os
import random
import subprocess
from pathlib import Path

import pytest

from tests.builders import qemu_img

MIB = 1 << 20
SIZE = 20 * MIB
# name -> format as Glance calls it, qemu-img's options
FORMATS: dict[str, tuple[str, tuple[str, ...]]] = {
    "qcow2": ("qcow2", ("-O", "qcow2")),
    "qcow2-v2": ("qcow2", ("-O", "qcow2", "-o", "compat=0.10")),
    "qcow2-compressed": ("qcow2", ("-c", "-O", "qcow2")),
    "qcow2-zstd": ("qcow2", ("-c", "-O", "qcow2", "-o", "compression_type=zstd")),
    "qcow2-small-clusters": ("qcow2", ("-c", "-O", "qcow2", "-o", "cluster_size=512")),
    "qcow2-big-clusters": ("qcow2", ("-c", "-O", "qcow2", "-o", "cluster_size=2M")),
    "vdi": ("vdi", ("-O", "vdi")),
    "vdi-static": ("vdi", ("-O", "vdi", "-o", "static=on")),
    "vhd": ("vhd", ("-O", "vpc", "-o", "force_size=on")),
    "vhd-fixed": ("vhd", ("-O", "vpc", "-o", "subformat=fixed,force_size=on")),
    "vhdx": ("vhdx", ("-O", "vhdx")),
    "vhdx-fixed": ("vhdx", ("-O", "vhdx", "-o", "subformat=fixed")),
}
SPLIT = ("monolithicFlat", "twoGbMaxExtentFlat", "twoGbMaxExtentSparse")
PACKERS = ("gz", "xz", "zst")


def a_disk(target: Path, size: int = SIZE) -> Path:
    """A raw disk with data at its beginning, in its middle and at its end, and holes between."""
    with target.open("wb") as stream:
        stream.write(random.Random(1).randbytes(MIB // 2 + 512))
        stream.seek(size // 2)
        stream.write(b"in the middle" * 1000)
        stream.seek(size - 100_000)
        stream.write(b"at the end" * 10)
        stream.truncate(size)
    return target


def in_format(raw: Path, name: str) -> Path:
    target = raw.with_name(f"{name}.{FORMATS[name][0]}")
    qemu_img("convert", "-f", "raw", *FORMATS[name][1], raw, target)
    return target


def split(raw: Path, kind: str) -> Path:
    target = raw.with_name(f"{kind}.vmdk")
    qemu_img("convert", "-f", "raw", "-O", "vmdk", "-o", f"subformat={kind}", raw, target)
    return target


def packed(file: Path, how: str) -> Path:
    target = file.with_name(f"{file.name}.{how}")
    content = file.read_bytes()
    if how == "zst":
        program = "zstd"
        if not any(
            os.access(Path(folder) / program, os.X_OK)
            for folder in os.environ["PATH"].split(os.pathsep)
        ):
            pytest.skip("no zstd")
        subprocess.run(["zstd", "-q", str(file), "-o", str(target)], check=True)
    else:
        target.write_bytes(gzip.compress(content) if how == "gz" else lzma.compress(content))
    return target


def disk_of(vmdk: Path, folder: Path) -> bytes:
    """The bytes of a VMDK's disk as qemu-img sees them."""
    target = folder / "seen.raw"
    qemu_img("convert", "-f", "vmdk", "-O", "raw", vmdk, target)
    return target.read_bytes()
