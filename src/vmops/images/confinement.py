"""Runs a tool that opens an image, with no more than it needs for that.

It has no network where the system lets us make it so, the rights of nobody where we are root, a
folder of its own, none of our environment, and an end to what it may use: address space, processor
time, bytes in a file, and time.
"""

from __future__ import annotations

import contextlib
import functools
import os
import pwd
import resource
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO

from vmops import units
from vmops.child_environment import tool_environment

_USER = "nobody"
_OTHERS_MAY_GO = 0o001
_OTHERS_MAY_RUN = 0o005
_PROBE_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a tool may use; ``file_bytes`` is for each file that it writes."""

    file_bytes: int
    wall_s: float
    memory_bytes: int = 2 * units.GIB
    cpu_s: int = 3600


@dataclass(slots=True)
class Confined:
    """A tool at work."""

    process: subprocess.Popen[bytes]
    limits: Limits
    is_late: threading.Event = field(default_factory=threading.Event)

    def why_ended(self) -> str:
        """What a tool that was ended from outside had done; "" if it ended by itself."""
        status = self.process.returncode
        if self.is_late.is_set():
            return f"it was not ready after {self.limits.wall_s:.0f} seconds"
        if status in {-signal.SIGXFSZ, 128 + signal.SIGXFSZ}:
            return f"it would become bigger than {units.human_bytes(self.limits.file_bytes)}"
        if status in {-signal.SIGXCPU, 128 + signal.SIGXCPU}:
            return f"it takes more than {self.limits.cpu_s} seconds of a processor"
        return ""


@contextlib.contextmanager
def running(
    argv: Sequence[str],
    *,
    limits: Limits,
    complaints: IO[bytes],
    files: Sequence[int] = (),
    given: int = subprocess.DEVNULL,
) -> Iterator[Confined]:
    """The tool, which does not outlive the block; its output is a pipe, its input ``given``.

    ``files`` are descriptors that it gets under their own numbers: in ``argv`` they are
    "/proc/self/fd/<number>". They belong to the tool's user inside, and to us afterwards.
    """
    with contextlib.ExitStack() as held:
        folder = held.enter_context(TemporaryDirectory(prefix="vmops-tool-"))
        limiter = shutil.which("prlimit")
        # Without it the limits are set from here, which only works on a process of our own user.
        before = _prefix() if limiter and _is_for_all(Path(argv[0])) else ()
        if _changes_user(before):
            account = pwd.getpwnam(_USER)
            os.chown(folder, account.pw_uid, account.pw_gid)
            for descriptor in files:
                held.enter_context(_given_to(descriptor, account))
        process = subprocess.Popen(
            [*_limiting(limiter, limits), *before, *argv],
            env=tool_environment(HOME=folder, TMPDIR=folder, USER=_USER, LOGNAME=_USER),
            cwd=folder,
            pass_fds=files,
            stdin=given,
            stdout=subprocess.PIPE,
            stderr=complaints,
        )
        confined = Confined(process, limits)
        held.enter_context(_ended(confined))
        if limiter is None:
            _limit(process.pid, limits)
        yield confined


@contextlib.contextmanager
def _ended(confined: Confined) -> Iterator[None]:
    def end() -> None:
        confined.is_late.set()
        confined.process.kill()

    timer = threading.Timer(confined.limits.wall_s, end)
    timer.daemon = True
    timer.start()
    try:
        with confined.process:
            try:
                yield
            except BaseException:
                confined.process.kill()
                raise
    finally:
        timer.cancel()


def _table(limits: Limits) -> tuple[tuple[str, int, int], ...]:
    return (
        ("as", resource.RLIMIT_AS, limits.memory_bytes),
        ("cpu", resource.RLIMIT_CPU, limits.cpu_s),
        ("fsize", resource.RLIMIT_FSIZE, limits.file_bytes),
        ("core", resource.RLIMIT_CORE, 0),
    )


def _limiting(limiter: str | None, limits: Limits) -> tuple[str, ...]:
    """What is started first of all: the limits hold before anything else runs."""
    if limiter is None:
        return ()
    return (limiter, *(f"--{word}={most}:{most}" for word, _, most in _table(limits)), "--")


def _limit(pid: int, limits: Limits) -> None:
    for _, kind, most in _table(limits):
        with contextlib.suppress(ProcessLookupError):
            resource.prlimit(pid, kind, (most, most))


@contextlib.contextmanager
def _given_to(descriptor: int, account: pwd.struct_passwd) -> Iterator[None]:
    before = os.fstat(descriptor)
    os.fchown(descriptor, account.pw_uid, account.pw_gid)
    try:
        yield
    finally:
        os.fchown(descriptor, before.st_uid, before.st_gid)


def _is_for_all(program: Path) -> bool:
    """Whether another user can start it: it may lie in a folder of ours."""
    with contextlib.suppress(OSError):
        there = program.resolve(strict=True)
        others = [parent.stat().st_mode & _OTHERS_MAY_GO for parent in there.parents]
        return all(others) and there.stat().st_mode & _OTHERS_MAY_RUN == _OTHERS_MAY_RUN
    return False


def _changes_user(prefix: tuple[str, ...]) -> bool:
    return any(part.startswith("--reuid") for part in prefix)


@functools.cache
def _prefix() -> tuple[str, ...]:
    """What is started before the tool, as much of it as works here; each replaces itself by it."""
    unshare, setpriv = shutil.which("unshare"), shutil.which("setpriv")
    is_root = os.geteuid() == 0
    alone = (unshare, "--net", *(() if is_root else ("--user",)), "--") if unshare else ()
    other: tuple[str, ...] = ()
    if setpriv:
        other = (setpriv, "--no-new-privs", "--")
        if is_root:
            with contextlib.suppress(KeyError):
                account = pwd.getpwnam(_USER)
                user = (f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}")
                other = (setpriv, *user, "--clear-groups", "--no-new-privs", "--")
    for prefix in ((*alone, *other), other, alone):
        if prefix and _works(prefix):
            return prefix
    return ()


def _works(prefix: tuple[str, ...]) -> bool:
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        tried = subprocess.run(
            [*prefix, "true"],
            env=tool_environment(),
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=_PROBE_S,
            check=False,
        )
        return tried.returncode == 0
    return False
