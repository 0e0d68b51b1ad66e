"""What the processes run that are in the middle of an operation, and live, or are stopped there."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.faults.own_process import connect, environment
from vmops import DirectoryImageStore, EngineSettings, Flavor, Instance, VMwareVMOps, in_flight
from vmops.lab import Lab
from vmops.model.image import DiskType
from vmops.progress import Event, StepStarted

PROJECT = Path(__file__).parents[2]
_PROGRAM = "from tests.faults import living; living.main()"
_HELD = "held"
LEASE_S = 3.0
RENEW_S = 0.5
AROUND = {
    "the same place": (),
    "another PID namespace": ("unshare", "-p", "-f", "--mount-proc"),
    "another PID namespace, with its host's /proc": ("unshare", "-p", "-f"),
    "a host of another name": (
        *("unshare", "-u", "sh", "-c", 'hostname elsewhere; exec "$@"', "sh"),
    ),
}
ADDING = "while the image is copied"


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """An operation, and the step before which it is held."""

    do: str
    held_at: str
    uuid: str = ""
    images: str = ""
    """The directory of the image store."""
    datastore: str = "datastore1"
    image: str = "flat"
    """What a spawn spawns."""


@dataclass(slots=True)
class Worker:
    """A process that is held in its work."""

    work: Work
    process: subprocess.Popen[str]
    pid: int
    """That of the Python, which may be the child of what made its namespaces."""

    def go_on(self) -> dict[str, Any]:
        """Let it go on to its end: what it failed with, {} if it did not."""
        output, _ = self.process.communicate("go on\n", timeout=60)
        told: dict[str, Any] = json.loads(output.splitlines()[-1])
        return told

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)


def permitted(around: tuple[str, ...]) -> None:
    """Skip where this machine makes no such namespaces."""
    if not around:
        return
    if shutil.which("unshare") is None:
        pytest.skip("there is no unshare here")
    trial = ["unshare", *around[1:], "true"]
    if subprocess.run(trial, capture_output=True, check=False).returncode:
        pytest.skip("namespaces are not permitted here")


@contextmanager
def held(lab: Lab, work: Work, *around: str) -> Iterator[Worker]:
    """Run a process, by the program ``around`` if one is given, until it is held in its work."""
    command = [*around, sys.executable, "-c", _PROGRAM, json.dumps(asdict(work))]
    with subprocess.Popen(
        command,
        cwd=PROJECT,
        env=environment(lab),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        pid = process.pid
        try:
            assert process.stdout is not None
            assert process.stdout.readline().strip() == _HELD, f"{work.do}: {process.stdout.read()}"
            pid = _python(process.pid)
            yield Worker(work, process, pid)
        finally:
            for each in {pid, process.pid}:
                try:
                    os.kill(each, signal.SIGKILL)
                except ProcessLookupError:
                    continue


def _python(pid: int) -> int:
    """The process itself, or its child if it only made namespaces for that."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    return int(children[0]) if children else pid


def main() -> None:
    work = Work(**json.loads(sys.argv[1]))
    in_flight.TIMING.lease_s, in_flight.TIMING.renew_s = LEASE_S, RENEW_S

    def hold() -> None:
        sys.stdout.write(f"{_HELD}\n")
        sys.stdout.flush()
        sys.stdin.readline()

    def observe(event: Event) -> None:
        if isinstance(event, StepStarted) and event.title == work.held_at:
            hold()

    told: dict[str, Any] = {}
    with connect() as session:
        config = EngineSettings(datastore=work.datastore)
        store = DirectoryImageStore(Path(work.images))
        ops = VMwareVMOps(session, images=store, config=config, observe=observe)
        try:
            _operations(ops, store, work, hold)[work.do]()
        except Exception as error:  # noqa: BLE001 - the test looks at it
            told = {
                "error": type(error).__name__,
                "text": str(error),
                "notes": list(getattr(error, "__notes__", ())),
            }
    sys.stdout.write(f"{json.dumps(told)}\n")


def _operations(
    ops: VMwareVMOps, store: DirectoryImageStore, work: Work, hold: Callable[[], None]
) -> dict[str, Callable[[], object]]:
    instance = Instance(uuid=work.uuid, name=f"vmops-test-{work.uuid[:13]}", flavor=_flavor(1))

    def add() -> None:
        holding = [hold]

        def observe_bytes(done: int, total: int) -> None:
            if holding:
                holding.pop()()

        source = store.directory / "flat.img"
        store.add(source, "added", disk_type=DiskType.PREALLOCATED, observe_bytes=observe_bytes)

    return {
        "spawn": lambda: ops.spawn(None, instance, work.image, ()),
        "import": lambda: ops.spawn(None, instance, "streamOptimized", ()),
        "resize": lambda: ops.migrate_disk_and_power_off(None, work.uuid, "", _flavor(2)),
        "rescue": lambda: ops.rescue(None, work.uuid, None, "sparse"),
        "snapshot": lambda: ops.snapshot(None, work.uuid, "made", lambda **_: None),
        "add image": add,
    }


def _flavor(vcpus: int) -> Flavor:
    return Flavor(vcpus=vcpus, memory_mib=16)
