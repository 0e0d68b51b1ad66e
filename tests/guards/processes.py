"""Finds the processes that a test session started, however far they detached themselves.

A mark in the environment is inherited by every descendant, also by a daemon with a session and a
parent of its own, and Linux shows it in `/proc/PID/environ`.
"""

from __future__ import annotations

import os
import secrets
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

MARK = "VMOPS_TEST_SESSION"


@dataclass(frozen=True, slots=True)
class Process:
    pid: int
    command: str


def new_mark() -> str:
    return secrets.token_hex(16)


def find(mark: str) -> list[Process]:
    """Return the living processes whose environment holds the mark, this one left out."""
    entry = f"{MARK}={mark}".encode()
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit() or int(folder.name) == os.getpid():
            continue
        # Processes end while we look, and those of other users do not let us read.
        with suppress(OSError):
            # A zombie has an empty environment: it is not found, and it holds nothing.
            if entry in (folder / "environ").read_bytes().split(b"\0"):
                words = (folder / "cmdline").read_bytes().split(b"\0")
                command = b" ".join(words).decode(errors="replace").strip()
                found.append(Process(int(folder.name), command))
    return found


def wait_for_none(mark: str, *, seconds: float) -> list[Process]:
    """Give processes that are about to end that long, and return those that did not."""
    deadline = time.monotonic() + seconds
    while (found := find(mark)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return found


def end(processes: list[Process], *, seconds: float = 3.0) -> None:
    """Ask the processes to end, and kill those that do not within that time."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        for process in processes:
            with suppress(ProcessLookupError):
                os.kill(process.pid, number)
        deadline = time.monotonic() + seconds
        while any(is_alive(process.pid) for process in processes):
            if time.monotonic() > deadline:
                break
            time.sleep(0.05)


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in {"Z", "X"}
