"""What the process runs that is killed in the middle of operations, or between them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.backends.lab import LabBackend
from tests.faults.own_process import connect, environment
from vmops import DirectoryImageStore, EngineSettings, Flavor, VMwareVMOps
from vmops.model.image import Image
from vmops.progress import Event, StepStarted

PROJECT = Path(__file__).parents[2]
_PROGRAM = "from tests.faults import killing; killing.main()"


def after(name: str) -> str:
    """The moment after an operation."""
    return f"after {name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Doom:
    """Operations on an instance, and the moment at which the process is killed.

    A moment is the title of a step, which then has begun, `after` an operation, or `MID_TRANSFER`.
    """

    uuid: str
    do: tuple[str, ...]
    moment: str
    vcpus: int = 1
    memory_mib: int = 16
    root_gib: int = 0
    images: str = ""
    """The directory of the image store."""
    signal: int = signal.SIGKILL
    """What it gets at a step; SIGSTOP leaves it there, doing nothing."""


MID_TRANSFER = "some of the image is there"


def kill(backend: LabBackend, doom: Doom) -> None:
    """Run a process that works on a lab, and see it killed."""
    command = [sys.executable, "-c", _PROGRAM, json.dumps(asdict(doom))]
    process = subprocess.run(
        command, cwd=PROJECT, env=environment(backend.lab), timeout=120, check=False
    )
    assert process.returncode == -signal.SIGKILL, f"it was not killed at {doom.moment!r}"


@contextmanager
def stopped(backend: LabBackend, doom: Doom) -> Iterator[int]:
    """Run a process that stops in the middle of its work, give its id, and kill it at the end."""
    command = [sys.executable, "-c", _PROGRAM, json.dumps(asdict(doom))]
    process = subprocess.Popen(command, cwd=PROJECT, env=environment(backend.lab))
    try:
        state = os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        assert state is not None
        assert state.si_code == os.CLD_STOPPED, f"it did not stop at {doom.moment!r}"
        yield process.pid
    finally:
        process.kill()
        process.wait()


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class _DoomedStore(DirectoryImageStore):
    """Dies when it has written a part of a new image."""

    def receive(self, name: str, blocks: Iterable[bytes], **facts: Any) -> Image:
        def some() -> Iterable[bytes]:
            for block in blocks:
                yield block
                _die()

        return super().receive(name, some(), **facts)


def main() -> None:
    doom = Doom(**json.loads(sys.argv[1]))

    def observe(event: Event) -> None:
        if isinstance(event, StepStarted) and event.title == doom.moment:
            os.kill(os.getpid(), doom.signal)

    store = _DoomedStore if doom.moment == MID_TRANSFER else DirectoryImageStore
    with connect() as session:
        ops = VMwareVMOps(
            session, images=store(Path(doom.images)), config=EngineSettings(), observe=observe
        )
        for name in doom.do:
            _operations(ops, doom)[name]()
            if doom.moment == after(name):
                _die()


def _operations(ops: VMwareVMOps, doom: Doom) -> dict[str, Callable[[], object]]:
    uuid = doom.uuid
    flavor = Flavor(vcpus=doom.vcpus, memory_mib=doom.memory_mib, root_gib=doom.root_gib)
    return {
        "migrate": lambda: ops.migrate_disk_and_power_off(None, uuid, "", flavor),
        "finish": lambda: ops.finish_migration(None, None, uuid, None, None, None, True),
        "confirm": lambda: ops.confirm_migration(None, uuid, None),
        "revert": lambda: ops.finish_revert_migration(uuid, None),
        "rescue": lambda: ops.rescue(None, uuid, None, "flat"),
        "unrescue": lambda: ops.unrescue(uuid),
        "snapshot": lambda: ops.snapshot(None, uuid, "made", lambda **_: None),
    }
