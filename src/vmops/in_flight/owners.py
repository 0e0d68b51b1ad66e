"""Who is at work: a process, by a random id; and where it can be known, whether it lives.

An owner is written "<id>-<place>-<pid>-<start>". The id alone says who it is. The rest is for the
short cut: processes of one boot and one PID namespace see each other in ``/proc``. ``place`` is a
hash of what tells such a neighbourhood from every other. Nothing is guessed: where one of the facts
cannot be read, or ``/proc`` is that of other processes, nothing is known of anybody.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from enum import StrEnum
from pathlib import Path

OWNER = r"[0-9a-f]{8,12}-[0-9a-f]{8,12}-[0-9]{1,10}-[0-9]{1,20}"
"""How an owner is written, as a regular expression."""
NOBODY = "000000000000-000000000000-0-0"
"""The owner of work that was given up: it has none."""

_PARTS = re.compile(
    r"(?P<id>[0-9a-f]+)-(?P<place>[0-9a-f]+)-(?P<pid>[0-9]{1,10})-(?P<start>[0-9]{1,20})"
)
_UNKNOWN_PLACE = "0" * 12
_PROC = Path("/proc")


class Life(StrEnum):
    """What is known of another process."""

    ALIVE = "alive"
    DEAD = "dead"
    UNKNOWN = "unknown"


class _Own:
    """What this process is called; made anew in a process that was forked off."""

    def __init__(self) -> None:
        self.owner = ""

    def forget(self) -> None:
        self.owner = ""


_own = _Own()
os.register_at_fork(after_in_child=_own.forget)


def owner() -> str:
    """This process, as marks name it."""
    if not _own.owner:
        _own.owner = named(os.getpid())
    return _own.owner


def named(pid: int) -> str:
    """A new name for a process of this neighbourhood."""
    return f"{secrets.token_hex(6)}-{place()}-{pid}-{_start_time(pid) or 0}"


def boot() -> str:
    """What tells this boot of this machine's kernel from others; "" if that is not known."""
    try:
        found = (_PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""
    return hashlib.sha256(found.encode()).hexdigest()[:12] if found else ""


def place() -> str:
    """The boot and the namespaces of this process; zeros if that is not known for certain.

    The namespace of time is one of them: a process' start is told in it.
    """
    try:
        if str((_PROC / "self").readlink()) != str(os.getpid()):
            return _UNKNOWN_PLACE  # /proc is that of another PID namespace
        pids = str((_PROC / "self/ns/pid").readlink())
    except OSError:
        return _UNKNOWN_PLACE
    try:
        time = str((_PROC / "self/ns/time").readlink())
    except OSError:
        time = ""  # a kernel without them
    if not (found := boot()) or not pids:
        return _UNKNOWN_PLACE
    return hashlib.sha256(f"{found} {pids} {time}".encode()).hexdigest()[:12]


def life_of(name: str) -> Life:
    """Whether an owner lives, by the short cut; what is not certain is unknown."""
    if name == NOBODY:
        return Life.DEAD
    parts = _PARTS.fullmatch(name)
    if parts is None or parts["place"] == _UNKNOWN_PLACE or parts["place"] != place():
        return Life.UNKNOWN
    pid, start = int(parts["pid"]), int(parts["start"])
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return Life.DEAD
    except (PermissionError, OverflowError):
        pass
    found = _start_time(pid)
    if found is None or not start:
        return Life.UNKNOWN
    return Life.ALIVE if found == start else Life.DEAD


def _start_time(pid: int) -> int | None:
    """A process' start in clock ticks since boot; None if it has ended or is not shown.

    proc(5): field 22 of ``stat``. One that has ended and that nobody has waited for is no proof:
    its threads may run on.
    """
    try:
        stat = (_PROC / f"{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    return None if len(fields) < 20 or fields[0] in {"Z", "X"} else int(fields[19])
