"""Processes in no time: one that has imported everything forks those that are killed.

The warm process has one thread and does what it is told over a socket: fork, wait. It ends, and
kills what it forked, when that socket is closed, so that nothing outlives a harness that dies.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

PROJECT = Path(__file__).parents[2]
LARGEST = 1 << 20
_PROGRAM = "import sys; from tests.crash import nursery; nursery.main(int(sys.argv[1]))"
_WARM = (
    "vmops.cli.main",
    "vmops.cli.verbs.audit",
    "vmops.cli.verbs.destroy",
    "vmops.lab.server",
    "vmops.ops.vmops.vmops",
    "vmops.vsphere.session",
)
_LOOK_S = 0.002


class Child:
    """A forked process and the channel to it. Messages are JSON; `told` None is its end."""

    def __init__(self, nursery: Nursery, pid: int, channel: socket.socket) -> None:
        self.pid = pid
        self._nursery = nursery
        self._channel = channel
        self._status: int | None = None

    def tell(self, message: object) -> None:
        with suppress(OSError):
            self._channel.send(json.dumps(message).encode())

    def finish(self) -> None:
        """There is no more to tell it: it ends when it has done what it was told."""
        with suppress(OSError):
            self._channel.shutdown(socket.SHUT_WR)

    def told(self, seconds: float) -> Any:
        """What it says next; None if it has ended.

        Raises:
            TimeoutError: it says nothing, and lives.
        """
        self._channel.settimeout(seconds)
        try:
            message = self._channel.recv(LARGEST)
        except ConnectionError:
            return None
        return json.loads(message) if message else None

    def has_said(self) -> bool:
        """Whether it has something to tell, or has ended."""
        return bool(select.select([self._channel], [], [], 0)[0])

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send a signal; a process that has ended is not there to be told, but keeps its id."""
        if self._status is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def wait(self, seconds: float) -> int:
        """Its exit status, negative for a signal.

        Raises:
            TimeoutError: it goes on.
        """
        if self._status is None:
            status = self._nursery.ask({"do": "wait", "pid": self.pid, "seconds": seconds})
            if status is None:
                raise TimeoutError(f"process {self.pid} does not end")
            self._status = int(status)
            self._channel.close()
        return self._status

    def end(self) -> None:
        """Kill it, if it has not ended."""
        self.kill()
        self.wait(10)


class Nursery:
    """The warm process, as its harness has it. ``log`` gets what all its children print."""

    def __init__(self, log: Path) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs, log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _PROGRAM, str(theirs.fileno())],
                cwd=PROJECT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=[theirs.fileno()],
                # The lab's certificate is pinned: to load the system's costs each child 20 ms.
                env={**os.environ, "SSL_CERT_FILE": os.devnull, "SSL_CERT_DIR": os.devnull},
            )
        self._control = ours
        self._lock = threading.Lock()

    def fork(self, role: str, given: dict[str, Any]) -> Child:
        """Start a process that runs one of `tests.crash.roles`."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            asked = {"do": "fork", "role": role, "given": given}
            pid = self.ask(asked, theirs.fileno())
        return Child(self, int(pid), ours)

    def warm(self, role: str, given: dict[str, Any]) -> None:
        """Let the warm process itself do what its children will do."""
        self.ask({"do": "warm", "role": role, "given": given})

    def ask(self, question: dict[str, Any], *descriptors: int) -> Any:
        with self._lock:
            socket.send_fds(self._control, [json.dumps(question).encode()], list(descriptors))
            answer = self._control.recv(LARGEST)
        assert answer, "the warm process has ended"
        return json.loads(answer)

    def close(self) -> None:
        self._control.close()
        try:
            self._process.wait(30)
        finally:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def main(descriptor: int) -> None:
    """The warm process."""
    for name in _WARM:
        importlib.import_module(name)
    roles = importlib.import_module("tests.crash.roles").ROLES
    # A page that the collector touches would be copied for each child.
    gc.collect()
    gc.freeze()
    children: set[int] = set()
    with socket.socket(fileno=descriptor) as control:
        while True:
            message, descriptors, _, _ = socket.recv_fds(control, LARGEST, 1)
            if not message:
                break
            asked = json.loads(message)
            if asked["do"] == "fork":
                pid = os.fork()
                if pid == 0:
                    control.close()
                    _be_child(roles[asked["role"]], asked["given"], descriptors[0])
                os.close(descriptors[0])
                children.add(pid)
                answer: int | None = pid
            elif asked["do"] == "warm":
                answer = _warm(roles[asked["role"]], asked["given"])
            else:
                answer = _wait(asked["pid"], asked["seconds"])
                if answer is not None:
                    children.discard(asked["pid"])
            control.send(json.dumps(answer).encode())
    for pid in children:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _warm(do: Callable[[Any, socket.socket], None], given: Any) -> int:
    """Do once here what children will do, so that they find loaded what it loads."""
    environment, arguments = dict(os.environ), sys.argv[:]
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        ours.shutdown(socket.SHUT_WR)
        do(given, theirs)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = arguments
    assert threading.active_count() == 1, "a fork would take a thread's locks along"
    gc.collect()
    gc.freeze()
    return 0


def _be_child(do: Callable[[Any, socket.socket], None], given: Any, descriptor: int) -> None:
    status = 1
    try:
        with socket.socket(fileno=descriptor) as channel:
            do(given, channel)
        status = 0
    except BaseException:  # noqa: BLE001 - the last frame of a process
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _wait(pid: int, seconds: float) -> int | None:
    end = time.monotonic() + seconds
    while True:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > end:
            return None
        time.sleep(_LOOK_S)
