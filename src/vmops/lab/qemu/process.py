"""Processes that outlive the lab, and how to be certain that a process is the one meant.

A process is started detached in a session of its own, so that neither the lab's end nor a Ctrl-C in
its terminal reaches it. Between two runs of the lab it is known by its number, the moment it
started and the boot of the machine; a number alone may meanwhile be another's. Once held, it is
known by a pidfd, which can never point to another process.
"""

from __future__ import annotations

import asyncio
import dataclasses
import fcntl
import json
import os
import select
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from vmops.lab import listing
from vmops.lab.whole_files import write_whole

_FIRST_DESCRIPTOR = 3
# Copies made while starting lie above every number the child gets its descriptors at.
_SCRATCH_DESCRIPTORS = 128
# The environment may hold passwords, and a guest that broke into QEMU could read it. What is
# passed on is the mark by which tests find what they have left running.
_INHERITED_VARIABLES = ("VMOPS_TEST_SESSION",)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessIdentity:
    """What names one process for good. ``start_time`` counts clock ticks since the boot."""

    pid: int
    start_time: int
    boot_id: str

    @classmethod
    def of(cls, pid: int) -> Self:
        """Return the identity of a process that runs now.

        Raises:
            ProcessLookupError: there is none of that number.
        """
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except FileNotFoundError as error:
            raise ProcessLookupError(f"no process {pid}") from error
        # The second field is the program's name in brackets, with any character inside.
        after_name = stat.rpartition(")")[2].split()
        return cls(pid=pid, start_time=int(after_name[19]), boot_id=_boot_id())

    @classmethod
    def load(cls, file: Path) -> Self | None:
        """Return what `save` wrote, or None if there is nothing readable."""
        try:
            fields = json.loads(file.read_text())
            return cls(
                pid=int(fields["pid"]),
                start_time=int(fields["start_time"]),
                boot_id=str(fields["boot_id"]),
            )
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def save(self, file: Path) -> None:
        """Write the identity whole or not at all."""
        write_whole(file, json.dumps(dataclasses.asdict(self)))


class HeldProcess:
    """A process that is certainly the one meant, for as long as the object is open."""

    def __init__(self, identity: ProcessIdentity, pidfd: int) -> None:
        self.identity = identity
        self.exit_code: int | None = None
        """Negative for a signal; None while it runs, and if it was another process's child."""
        self._pidfd: int | None = pidfd
        self._ended = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(pidfd, self._on_end)

    @classmethod
    def hold(cls, identity: ProcessIdentity) -> Self | None:
        """Return the process if it still runs, or None."""
        if identity.boot_id != _boot_id():
            return None
        try:
            # The order is what makes it safe: first hold whatever has the number, then look
            # whether it is the one. Looked up the other way it could be replaced in between.
            pidfd = os.pidfd_open(identity.pid)
        except ProcessLookupError:
            return None
        try:
            is_it = ProcessIdentity.of(identity.pid) == identity
        except ProcessLookupError:
            is_it = False
        if is_it and select.select([pidfd], [], [], 0)[0]:
            _reap(identity.pid)
            is_it = False
        if not is_it:
            os.close(pidfd)
            return None
        return cls(identity, pidfd)

    @classmethod
    def of_child(cls, identity: ProcessIdentity) -> Self:
        """Return a process just started here, also if it has ended already."""
        # Nobody else reaps it, so until then the number is its own.
        return cls(identity, os.pidfd_open(identity.pid))

    @property
    def has_ended(self) -> bool:
        """Whether the process is over."""
        return self._ended.is_set()

    async def wait_ended(self, timeout_s: float | None) -> bool:
        """Wait for the end and return whether it came in time."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._ended.wait()
        except TimeoutError:
            return False
        return True

    def kill(self) -> None:
        """End the process at once; no error if it has ended."""
        if self._pidfd is not None and not self.has_ended:
            try:
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
            except ProcessLookupError:
                return

    def release(self) -> None:
        """Let go of the process; it runs on."""
        if self._pidfd is not None:
            self._loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = None

    def _on_end(self) -> None:
        self.exit_code = _reap(self.identity.pid)
        self.release()
        self._ended.set()


def start_detached(
    argv: Sequence[str], *, log_file: Path, descriptors: Sequence[int]
) -> ProcessIdentity:
    """Start a program with its output in ``log_file`` and nothing of the lab's environment.

    It gets ``descriptors`` as its numbers 3, 4, ... in that order, and no other. Blocks for some
    milliseconds.

    Raises:
        OSError: the program or the log cannot be opened.
    """
    copies: list[int] = []
    try:
        for descriptor in descriptors:  # one by one, so that those made are closed on failure
            copy = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, _SCRATCH_DESCRIPTORS)
            copies.append(copy)
        kept = {name: os.environ[name] for name in _INHERITED_VARIABLES if name in os.environ}
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_NOFOLLOW
        pid = os.posix_spawn(
            argv[0],
            list(argv),
            {"PATH": os.defpath, "LC_ALL": "C", **kept},
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, str(log_file), flags, 0o600),
                (os.POSIX_SPAWN_DUP2, 1, 2),
                *(
                    (os.POSIX_SPAWN_DUP2, copy, _FIRST_DESCRIPTOR + index)
                    for index, copy in enumerate(copies)
                ),
                *((os.POSIX_SPAWN_CLOSE, number) for number in _others(len(copies))),
            ],
            setsid=True,
            setsigmask=[],
            setsigdef=[signal.SIGPIPE, signal.SIGINT, signal.SIGHUP],
        )
    finally:
        for copy in copies:
            os.close(copy)
    # Nobody but HeldProcess reaps it, so the number stays its own even if it has ended already.
    return ProcessIdentity.of(pid)


def _others(passed: int) -> list[int]:
    """Return the numbers that a new process is to close, beside those it is passed.

    Python's own files close by themselves. What this process was started with does not: a pipe
    among it would never end for the one who reads from it.
    """
    numbers = [int(link.name) for link in listing.files(Path("/proc/self/fd"))]
    return [number for number in numbers if number >= _FIRST_DESCRIPTOR + passed]


def _reap(pid: int) -> int | None:
    """Take the exit code of a child that has ended; None if it is not this process's child."""
    try:
        ended, status = os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return None
    return os.waitstatus_to_exitcode(status) if ended else None


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
