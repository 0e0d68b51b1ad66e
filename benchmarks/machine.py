"""Where and with what a run was made."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks.workers import PROJECT

PACKAGES = ("pyvmomi", "aiohttp", "nova", "oslo.vmware", "suds-community")


def described() -> list[tuple[str, str]]:
    """Name and value of each fact."""
    return [
        ("date", f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"),
        ("vmops", f"{version('vmops')}, commit {_commit()}"),
        ("processor", f"{_processor()}, {os.cpu_count()} cores"),
        ("memory", f"{_memory_gib():.0f} GiB"),
        ("system", f"{_system()}, Linux {platform.release()}"),
        ("Python", platform.python_version()),
        ("peers and libraries", ", ".join(f"{name} {_version(name)}" for name in PACKAGES)),
        ("programs", ", ".join(filter(None, (_first_line("curl"), _first_line(_QEMU))))),
        ("guests run by", "KVM" if _has_kvm() else "emulation (TCG): no hardware virtualisation"),
    ]


def load() -> float:
    """Processes that wanted to run, on average of the last minute."""
    return os.getloadavg()[0]


def goes_before_others() -> bool:
    """Whether the kernel gives this run's processes more than their share of the processors."""
    group = Path("/proc/self/autogroup")
    return group.exists() and int(group.read_text().split()[-1]) < 0


_QEMU = "qemu-system-x86_64"


def _commit() -> str:
    found = _output("git", "rev-parse", "--short", "HEAD").strip()
    changed = _output("git", "status", "--porcelain", "--untracked-files=no", "--", "src")
    return f"{found or 'unknown'}{' with changes' if changed.strip() else ''}"


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _memory_gib() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1024**3


def _system() -> str:
    return platform.freedesktop_os_release().get("PRETTY_NAME", "Linux")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "(not installed)"


def _first_line(program: str) -> str:
    words = _output(program, "--version").partition("\n")[0].split()
    return " ".join(words[:2] if program == "curl" else words[:4])


def _has_kvm() -> bool:
    flags = Path("/proc/cpuinfo").read_text()
    return Path("/dev/kvm").exists() and (" vmx " in flags or " svm " in flags)


def _output(*command: str) -> str:
    try:
        done = subprocess.run(
            command, cwd=PROJECT, capture_output=True, text=True, timeout=30, check=False
        )
    except OSError:
        return ""
    return done.stdout
