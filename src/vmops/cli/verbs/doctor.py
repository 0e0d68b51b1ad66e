"""``vmops doctor``."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import click

from vmops import units
from vmops.cli.context import CommandContext, pass_context
from vmops.cli.output import output_options, print_rows, take_output_options
from vmops.lab.qemu.missing import find_efi_firmware

_NEEDED_BYTES = 2 * units.GIB
PROGRAMS = {
    "qemu-system-x86_64": ("qemu-system-x86", "guests in the lab"),
    "qemu-img": ("qemu-utils", "qcow2 images with zstd inside, and exports as qcow2"),
    "zstd": ("zstd", "images compressed with zstd"),
    "apt-get": ("apt", "building the lab's guest image"),
    "apt-cache": ("apt", "building the lab's guest image"),
    "dpkg-deb": ("dpkg", "building the lab's guest image"),
}
"""What is started, its Debian package and what for."""
COLUMNS = ("name", "status", "found", "needed_for", "remedy")


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was looked at; ``remedy`` says how to get it."""

    name: str
    passed: bool
    found: str
    remedy: str = ""
    needed_for: str = "everything"


@click.command()
@output_options
@pass_context
def doctor(context: CommandContext, /, **options: Any) -> None:
    """Check what this machine lacks, and say how to get it. The exit code is 1 if it lacks any."""
    how = take_output_options(options)
    checks = list(_checks(context))
    rows = [
        {
            "name": check.name,
            "status": "ok" if check.passed else "missing",
            "found": check.found,
            "needed_for": check.needed_for,
            "remedy": check.remedy if not check.passed else "",
        }
        for check in checks
    ]
    print_rows(rows, how, keys=COLUMNS, narrow=COLUMNS)
    if not all(check.passed for check in checks):
        sys.exit(1)


def _checks(context: CommandContext) -> Iterator[Check]:
    yield Check(
        name="Python", passed=sys.version_info >= (3, 11), found=sys.version.split()[0],
        remedy="Python 3.11 or newer",
    )  # fmt: skip
    for module, what in (("aiohttp", "the lab"), ("cryptography", "everything")):
        there = importlib.util.find_spec(module) is not None
        yield Check(
            name=module, passed=there, found="installed" if there else "not installed",
            needed_for=what, remedy="pip install 'vmops[lab]'",
        )  # fmt: skip
    yield from _programs()
    yield _acceleration()
    yield from _state_folder(context)


def _programs() -> Iterator[Check]:
    for program, (package, what) in PROGRAMS.items():
        where = shutil.which(program)
        yield Check(
            name=program, passed=where is not None, found=where or "not found",
            needed_for=what, remedy=f"apt-get install {package}",
        )  # fmt: skip
    firmware = find_efi_firmware()
    yield Check(
        name="EFI firmware", passed=firmware is not None,
        found=str(firmware[0]) if firmware else "not found",
        needed_for="guests in the lab that boot by EFI", remedy="apt-get install ovmf",
    )  # fmt: skip


def _acceleration() -> Check:
    """Guests run without hardware help, too, only slower: this never fails."""
    flags = ""
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as cpuinfo:  # noqa: PTH123
            flags = next((line for line in cpuinfo if line.startswith("flags")), "")
    except OSError:
        flags = ""
    can = not {"vmx", "svm"}.isdisjoint(flags.split())
    usable = can and os.access("/dev/kvm", os.R_OK | os.W_OK)
    return Check(
        name="KVM", passed=True, needed_for="faster guests",
        found="usable" if usable else "not available: guests are emulated",
    )  # fmt: skip


def _state_folder(context: CommandContext) -> Iterator[Check]:
    folder = context.state_dir
    while not folder.exists():
        folder = folder.parent
    usable = folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)
    yield Check(
        name="state folder", passed=usable,
        found=f"{context.state_dir}{'' if usable else f': {folder} cannot be written to'}",
        remedy="Set VMOPS_STATE_DIR to a folder of your own",
        needed_for="the lab and the image store",
    )  # fmt: skip
    free = shutil.disk_usage(folder).free
    yield Check(
        name="disk space", passed=free >= _NEEDED_BYTES,
        found=f"{units.human_bytes(free)} free at {context.state_dir}",
        remedy="Free some, or set VMOPS_STATE_DIR to a place with space",
        needed_for="the lab and the image store",
    )  # fmt: skip
