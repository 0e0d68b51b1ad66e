"""How much memory a process took at most, as the kernel counts it."""

from __future__ import annotations

from pathlib import Path


def forget_peak(pid: int) -> int:
    """Start the kernel's high-water mark anew at what the process has now; return that."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")
    return peak(pid)


def peak(pid: int) -> int:
    """The most bytes that were resident."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("the kernel does not tell a process's peak of memory")
