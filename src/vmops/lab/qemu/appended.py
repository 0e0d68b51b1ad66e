"""Keeps small what guests write without end: the files of serial ports, and QEMU's own words.

QEMU appends to these files and knows no limit; a guest could write 13 GB a day. What is cut off is
the oldest, in whole lines. While no lab runs, guests that were left running write on.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
from collections.abc import Callable, Iterable
from pathlib import Path

from vmops.lab import listing

MOST_BYTES = 16 * 1024 * 1024
KEPT_BYTES = 1024 * 1024
LOOK_S = 5.0


def trim_files_of(pid: int) -> None:
    """Trim each file that a process appends to. Blocks; a process that is gone has none."""
    for descriptor in listing.files(Path(f"/proc/{pid}/fd")):
        with contextlib.suppress(OSError, ValueError):
            if _is_appended(pid, descriptor.name):
                _trim(descriptor)


def _is_appended(pid: int, descriptor: str) -> bool:
    told = Path(f"/proc/{pid}/fdinfo/{descriptor}").read_text().split("\nflags:")[1]
    return bool(int(told.split()[0], 8) & os.O_APPEND)


def _trim(descriptor: Path) -> None:
    """Let a file begin later, if it is long. What comes in that moment may go with the rest."""
    # By the process's own descriptor: a path could mean another file by now.
    found = descriptor.stat()
    if not stat.S_ISREG(found.st_mode) or found.st_size <= MOST_BYTES:
        return
    file = os.open(descriptor, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
    try:
        size = os.fstat(file).st_size
        kept = os.pread(file, KEPT_BYTES, size - KEPT_BYTES)
        os.ftruncate(file, 0)
        os.write(file, kept[kept.find(b"\n") + 1 :])
    finally:
        os.close(file)


async def keep_trimmed(pids: Callable[[], Iterable[int]]) -> None:
    """Look at the processes' files again and again, until cancelled."""
    while True:
        await asyncio.sleep(LOOK_S)
        for pid in list(pids()):
            await asyncio.to_thread(trim_files_of, pid)
