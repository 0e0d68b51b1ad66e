"""The guests the lab boots: a small Linux, and one of a single sector for fast tests.

Both are made here from their parts, by an unprivileged user and without mounting anything.
"""

from vmops.lab.guest.boot_sector import boot_count, boot_sector_disk, build_boot_sector_guest
from vmops.lab.guest.builder import PASSWORD, USER, GuestImage, build_guest, ensure_guest
from vmops.lab.guest.conversion import DiskFormat
from vmops.lab.guest.errors import (
    BuildFailed,
    GuestError,
    PackageContentsChanged,
    PackagesUnavailable,
)

__all__ = [
    "PASSWORD",
    "USER",
    "BuildFailed",
    "DiskFormat",
    "GuestError",
    "GuestImage",
    "PackageContentsChanged",
    "PackagesUnavailable",
    "boot_count",
    "boot_sector_disk",
    "build_boot_sector_guest",
    "build_guest",
    "ensure_guest",
]
