"""Builds the Linux guest: packages in, a disk image out, in two or three seconds."""

from __future__ import annotations

import fcntl
import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from tempfile import TemporaryDirectory

from vmops.lab.guest.conversion import DiskFormat, convert_raw
from vmops.lab.guest.disk import (
    FIRST_PARTITION_MIB,
    MIB,
    assemble_disk,
    make_boot_partition,
    make_root_partition,
)
from vmops.lab.guest.errors import BuildFailed
from vmops.lab.guest.initramfs import build_initramfs
from vmops.lab.guest.kernel_modules import BOOT_MODULES, ROOT_MODULES, select_modules
from vmops.lab.guest.packages import Kernel, Packages, fetch_packages
from vmops.lab.guest.rootfs import lay_out_root

USER = "root"
PASSWORD = "vmops"  # noqa: S105 - the guest is a test machine, its password is in the docs
# Root files, kernel modules and a journal need about 7 MiB.
_SMALLEST_ROOT_MIB = 12
_SYSLINUX_CONFIG = """\
DEFAULT vmops
PROMPT 0
TIMEOUT 1
LABEL vmops
 KERNEL vmlinuz
 APPEND initrd=initrd.gz console=tty1 console=ttyS0,115200 loglevel=4 {options}
"""
# Each spares something that only costs time in a short-lived guest on emulated hardware.
_KERNEL_OPTIONS = (
    "mitigations=off",
    "cryptomgr.notests",
    "random.trust_cpu=on",
    "panic=10",
    "scsi_mod.scan=sync",  # a controller's disks are all there once its driver has loaded
    # A guest that can get memory beyond 4 GiB would set 64 MiB aside to reach it by old devices.
    "swiotlb=2048",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestImage:
    """A guest as it was built."""

    path: Path
    """The image; with format "flat" the descriptor, whose extent lies beside it."""
    format: DiskFormat
    capacity_bytes: int
    file_bytes: int
    """Bytes allocated for all files of the image."""
    kernel_release: str
    build_seconds: float


def build_guest(
    output: Path,
    *,
    work_dir: Path,
    format: DiskFormat = "streamOptimized",  # noqa: A002 - the word of the field
    size_mib: int = 64,
    kernel: Kernel = "cloud",
) -> GuestImage:
    """Build the Linux guest; nothing outside ``work_dir`` and ``output`` is written.

    Args:
        output: the image to write; its folder must exist. A file that is there is replaced.
        work_dir: keeps ``packages/`` from build to build; the rest is removed at the end.
        format: what to write.
        size_mib: capacity of the disk, which the root file system fills.
        kernel: "cloud" boots in half the time and knows pvscsi, IDE, NVMe, virtio and vmxnet3;
            "generic" adds AHCI, LSI Logic, SAS, e1000 and the rest.

    Raises:
        PackagesUnavailable: a package cannot be fetched.
        PackageContentsChanged: a package lacks what is taken from it.
        BuildFailed: a tool failed, or the disk is too small.
    """
    packages = fetch_packages(work_dir / "packages", kernel=kernel)
    return _build(output, packages, work_dir=work_dir, disk_format=format, size_mib=size_mib)


def _build(
    output: Path, packages: Packages, *, work_dir: Path, disk_format: DiskFormat, size_mib: int
) -> GuestImage:
    started = time.monotonic()
    release = packages.kernel_release
    busybox = packages.file("busybox-static", "bin/busybox")
    kernel_tree = packages.trees[packages.kernel]
    boot_modules = select_modules(kernel_tree, release, BOOT_MODULES)
    all_modules = select_modules(kernel_tree, release, BOOT_MODULES + ROOT_MODULES)
    environment = packages.tool_environment()
    with TemporaryDirectory(dir=work_dir, prefix="build-") as folder:
        work = Path(folder)
        fat, ext4, raw = work / "boot.fat", work / "root.ext4", work / "disk.raw"
        fat_mib = make_boot_partition(
            fat,
            {
                "syslinux.cfg": _SYSLINUX_CONFIG.format(options=" ".join(_KERNEL_OPTIONS)).encode(),
                "vmlinuz": packages.file(packages.kernel, f"boot/vmlinuz-{release}").read_bytes(),
                "initrd.gz": build_initramfs(busybox.read_bytes(), release, boot_modules),
            },
            packages.file("syslinux-common", "usr/lib/syslinux/modules/bios/ldlinux.c32"),
            environment,
        )
        root_mib = size_mib - FIRST_PARTITION_MIB - fat_mib
        if root_mib < _SMALLEST_ROOT_MIB:
            least = FIRST_PARTITION_MIB + fat_mib + _SMALLEST_ROOT_MIB
            raise BuildFailed(f"the guest needs a disk of {least} MiB, {size_mib} is too small")
        lay_out_root(work / "root", busybox, release, all_modules)
        make_root_partition(ext4, work / "root", root_mib, environment)
        code = packages.file("syslinux-common", "usr/lib/syslinux/mbr/mbr.bin").read_bytes()
        assemble_disk(raw, size_mib, code, (fat, fat_mib), (ext4, root_mib))
        file_bytes = convert_raw(raw, output, disk_format)
    return GuestImage(
        path=output,
        format=disk_format,
        capacity_bytes=size_mib * MIB,
        file_bytes=file_bytes,
        kernel_release=release,
        build_seconds=time.monotonic() - started,
    )


def ensure_guest(state_dir: Path) -> Path:
    """Return the Linux guest as a streamOptimized VMDK, building it where needed.

    It lies under ``state_dir/guest`` and is built again only when the builder's own files or
    the packages in its cache are different ones. Processes that ask at the same time wait for
    the one that builds.

    Raises:
        GuestError: see `build_guest`.
    """
    home = state_dir / "guest"
    home.mkdir(parents=True, exist_ok=True)
    with _locked(home / "lock"):
        packages = fetch_packages(home / "packages")
        image = home / f"vmops-guest-{content_key(packages)}.vmdk"
        if not image.is_file():
            with TemporaryDirectory(dir=home, prefix="fresh-") as folder:
                fresh = Path(folder) / image.name
                _build(fresh, packages, work_dir=home, disk_format="streamOptimized", size_mib=64)
                fresh.replace(image)
    return image


def content_key(packages: Packages) -> str:
    """Twelve hex digits that change whenever the image would."""
    digest = hashlib.sha256()
    for deb in sorted(packages.versions.values()):
        digest.update(deb.encode() + b"\0")
    for name, content in _own_files(files(__package__), ""):
        digest.update(name.encode() + b"\0" + content + b"\0")
    return digest.hexdigest()[:12]


def _own_files(folder: Traversable, prefix: str) -> Iterator[tuple[str, bytes]]:
    for item in sorted(folder.iterdir(), key=lambda item: item.name):
        if item.name == "__pycache__":
            continue
        name = f"{prefix}{item.name}"
        if item.is_dir():
            yield from _own_files(item, f"{name}/")
        else:
            yield name, item.read_bytes()


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
