"""The marks of operations under way, by which leftovers are found when their process died.

An owner is a process: machine, boot, process id and start time, so that a number that the system
gave to another process is not taken for the owner. A mark is "<operation> <owner>".
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
import secrets
import socket
from pathlib import Path

_OWNER = re.compile(r"(?P<machine>[0-9a-f]{8})-(?P<boot>[0-9a-f]{8})-(?P<pid>\d+)-(?P<start>\d+)")


@functools.cache
def _machine() -> str:
    """This machine, told from others without giving its name away."""
    try:
        machine_id = Path("/etc/machine-id").read_text(encoding="ascii").strip()
    except OSError:
        machine_id = ""
    return hashlib.sha256(f"{machine_id} {socket.gethostname()}".encode()).hexdigest()[:8]


@functools.cache
def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")[:8]
    except OSError:
        return "0" * 8


def _start_time(pid: int) -> int | None:
    """The process' start in clock ticks since boot; None if there is none (proc(5), field 22)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return int(stat.rpartition(")")[2].split()[19])


def owner() -> str:
    """This process, as marks name it."""
    pid = os.getpid()
    return f"{_machine()}-{_boot()}-{pid}-{_start_time(pid) or 0}"


def mark(operation: str) -> str:
    """The mark of an operation of this process."""
    return f"{operation} {owner()}"


def unique_name(prefix: str) -> str:
    """A new name for a temporary thing, which tells its owner: "tmp-<owner>-<random>"."""
    return f"{prefix}-{owner()}-{secrets.token_hex(4)}"


def owner_is_gone(text: str) -> bool:
    """Whether the process named in a mark or in a temporary name is known to be dead.

    False for a text that names no owner, and for an owner on another machine: nobody here can know.
    """
    found = _OWNER.search(text)
    if found is None:
        return False
    if found["machine"] != _machine():
        return False
    if found["boot"] != _boot():
        return True
    return _start_time(int(found["pid"])) != int(found["start"])
