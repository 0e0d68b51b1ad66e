"""The marks of operations under way, by which leftovers are found when their process died.

An owner is a process: machine, boot, process id and start time, so that a number that the system
gave to another process is not taken for the owner. A mark is "<operation> <owner> <since>".
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
import secrets
import socket
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

LONGEST = timedelta(hours=1)
"""How long a process on another machine is believed to be at work: nobody here can look."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What another process is at. ``pid`` is None if it is on another machine."""

    operation: str
    since: datetime
    pid: int | None

    def __str__(self) -> str:
        where = "on another machine" if self.pid is None else f"in process {self.pid}"
        since = self.since.astimezone()
        return f"{self.operation} has been running since {since:%H:%M:%S} {where}"


def owner(pid: int | None = None) -> str:
    """This process, or another one of this machine, as marks name it."""
    pid = pid or os.getpid()
    return f"{_machine()}-{_boot()}-{pid}-{_start_time(pid) or 0}"


def mark(operation: str, *, pid: int | None = None) -> str:
    """The mark of an operation, one word, of this process or of another one of this machine."""
    return f"{operation} {owner(pid)} {datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"


def work_of_another(text: str) -> Work | None:
    """What a mark says that another process is at; None if that is over.

    It is if the process is dead, or if it is this one: who is at work here is known otherwise. One
    on another machine is believed for `LONGEST`.
    """
    found = _OWNER.search(text)
    if found is None or owner_is_gone(text) or found[0] == owner():
        return None
    operation, _, since = text.partition(f" {found[0]}")
    try:
        begun = datetime.strptime(since.strip(), "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError:
        begun = datetime.fromtimestamp(0, UTC)
    is_here = found["machine"] == _machine()
    if not is_here and datetime.now(UTC) - begun > LONGEST:
        return None
    return Work(operation=operation, since=begun, pid=int(found["pid"]) if is_here else None)


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
