"""Operations whose server goes silent, and how long they take: run by tests, and as a program.

``python -m tests.faults.silent`` measures each case with the limits that hold by default, and
prints a table; ``--only WORDS`` those whose name has these words.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import vmops
from tests.backends.lab import LabBackend
from tests.builders import Images, an_image_store, an_instance
from tests.contract.engine import Bench
from tests.contract.migrating import Told, migrate, other_host
from tests.vsphere.silencer import Scope, Silencer, Way, Where
from vmops import DirectoryImageStore, Instance, VMwareVMOps
from vmops.errors import ConnectionLost, VMOpsError
from vmops.vsphere.wire.limits import Limits

What = Literal["vmops list", "get_info", "list", "spawn", "destroy", "live_migration", "snapshot"]
STREAM = "WaitForUpdatesEx"
_HEAD = "| row | case | seconds | closing | at most | outcome |\n|---|---|---|---|---|---|\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """An operation, and where its server goes silent: "" is before its first call.

    ``most_s`` is how long it may take with the limits that hold by default.
    """

    row: str
    what: What
    most_s: float
    call: str = ""
    way: Way | Literal["killed"] = "hole"
    where: Where = "request"
    scope: Scope = "all"
    nth: int = 1
    image: str = "flat"
    succeeds: bool = False

    @property
    def name(self) -> str:
        at = f" at {self.call} ({self.where})" if self.call else ""
        return f"{self.what}: {self.way}{at}, {self.scope}, {self.image}"


def _change(what: What, call: str, **rest: object) -> Iterator[Case]:
    for where in ("request", "answer"):
        yield Case(row="change", what=what, call=call, where=where, most_s=30, **rest)  # type: ignore[arg-type]


CASES: tuple[Case, ...] = (
    Case(row="read", what="get_info", most_s=15),
    Case(row="read", what="list", most_s=15),
    Case(row="read", what="vmops list", most_s=15),
    Case(row="read", what="vmops list", call="RetrievePropertiesEx", most_s=15),
    *_change("spawn", "CreateVM_Task"),
    *_change("spawn", "ReconfigVM_Task"),
    *_change("spawn", "PowerOnVM_Task"),
    *_change("destroy", "Destroy_Task"),
    *_change("live_migration", "RelocateVM_Task"),
    *_change("snapshot", "CreateSnapshot_Task"),
    *_change("snapshot", "RemoveSnapshot_Task"),
    *(
        Case(
            row="upload",
            what="spawn",
            call=call,
            where="upload",
            scope=scope,
            image=image,
            most_s=65,
        )
        for call, image in (("POST /nfc", "streamOptimized"), ("PUT /folder", "flat"))
        for scope in ("all", "connection")
    ),
    *(
        Case(
            row="download",
            what="snapshot",
            call="GET /nfc",
            where="download",
            scope=scope,
            most_s=65,
        )
        for scope in ("all", "connection")
    ),
    Case(row="trickle", what="get_info", way="trickle", most_s=65),
    Case(row="trickle", what="list", way="trickle", most_s=65),
    Case(row="trickle", what="vmops list", way="trickle", most_s=65),
    Case(
        row="trickle",
        what="snapshot",
        call="GET /nfc",
        where="download",
        way="trickle",
        scope="connection",
        most_s=75,
    ),
    Case(
        row="stream", what="spawn", call=STREAM, nth=0, scope="connection", most_s=15, succeeds=True
    ),
    Case(
        row="stream",
        what="destroy",
        call=STREAM,
        nth=0,
        scope="connection",
        most_s=15,
        succeeds=True,
    ),
    Case(row="killed", what="get_info", way="killed", most_s=11.5),
    Case(row="killed", what="spawn", way="killed", call="CreateVM_Task", most_s=11.5),
    Case(row="killed", what="spawn", way="killed", call="PowerOnVM_Task", most_s=11.5),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    seconds: float
    """Until the operation ended, closing the session not counted."""
    closing_s: float
    error: VMOpsError | None

    @property
    def notes(self) -> list[str]:
        return list(getattr(self.error, "__notes__", []))


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """An instance on a lab, and a way to it that goes silent."""

    bench: Bench
    silencer: Silencer
    limits: Limits
    made: Path

    def run(self, case: Case) -> tuple[Outcome, Instance]:
        """Run the operation of a case against a server that goes silent."""
        bench, silencer = self.bench, self.silencer
        instance = an_instance(root_gib=1)
        if case.what != "spawn":
            bench.spawn(instance=instance)
        if case.what == "vmops list":
            return self._command(case), instance
        if case.call == STREAM:
            self._silence(case)
        session = vmops.connect(
            silencer.url,
            bench.control.username,
            bench.control.password,
            ca_file=silencer.ca_file,
            timeout_s=self.limits.answer_s,
            limits=self.limits,
        )
        try:
            if case.call and case.call != STREAM:
                session.inventory.wait_fresh()
            ops = bench.engine(session=session, images=DirectoryImageStore(self.images_of(case)))
            do = self._operation(case, ops, instance)
            if case.call != STREAM:
                self._silence(case)
            begin = time.monotonic()
            error = None
            try:
                do()
            except VMOpsError as raised:
                error = raised
            seconds = time.monotonic() - begin
        finally:
            begin = time.monotonic()
            session.close()
            closing_s = time.monotonic() - begin
        return Outcome(seconds=seconds, closing_s=closing_s, error=error), instance

    def _command(self, case: Case) -> Outcome:
        """Run the command in a process of its own, with the limits that it has."""
        settings = {
            "VMOPS_URL": self.silencer.url,
            "VMOPS_USERNAME": self.bench.control.username,
            "VMOPS_PASSWORD": self.bench.control.password,
            "VMOPS_CA_FILE": str(self.silencer.ca_file),
            "VMOPS_STATE_DIR": str(self.made.with_name("state")),
        }
        self._silence(case)
        begin = time.monotonic()
        ended = subprocess.run(
            [sys.executable, "-m", "vmops.cli.main", "list"],
            env={**os.environ, **settings},
            capture_output=True,
            text=True,
            check=False,
        )
        error = ConnectionLost(ended.stderr.strip()) if ended.returncode else None
        return Outcome(seconds=time.monotonic() - begin, closing_s=0.0, error=error)

    def images_of(self, case: Case) -> Path:
        return self.made if case.what == "snapshot" else self.bench.images.store.directory

    def _silence(self, case: Case) -> None:
        if case.way == "killed":
            if case.call:
                self.silencer.silence(case.call, way="killed")
            else:
                self.silencer.refuse()
        elif case.call:
            self.silencer.silence(
                case.call, case.nth, way=case.way, where=case.where, scope=case.scope
            )
        else:
            self.silencer.silence_all(case.way)

    def _operation(self, case: Case, ops: VMwareVMOps, instance: Instance) -> Callable[[], object]:
        bench = self.bench
        match case.what:
            case "get_info":
                return lambda: ops.get_info(instance)
            case "list":
                return ops.list_instances
            case "spawn":
                return lambda: bench.spawn(case.image, ops=ops, instance=instance)
            case "destroy":
                return lambda: ops.destroy(instance, None)
            case "snapshot":
                return lambda: ops.snapshot(None, instance, "made", lambda **_: None)
        host = other_host(bench, instance)
        return lambda: migrate(bench, instance, host, Told(), ops=ops)


@contextmanager
def scene(backend: LabBackend, images: Images, limits: Limits) -> Iterator[Scene]:
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "made"
        with backend.connect() as session, Silencer(backend.url, Path(folder)) as silencer:
            bench = Bench(backend=backend, session=session, images=images)
            yield Scene(bench=bench, silencer=silencer, limits=limits, made=made)


def shortened(case: Case, factor: float) -> Limits:
    """So much shorter limits, with which a case's ``most_s`` is as much shorter."""
    limits = Limits().times(factor)
    return replace(limits, stream_silence_s=0.5) if case.row == "stream" else limits


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="")
    parser.add_argument("--times", type=float, default=1.0, help="with limits so much longer")
    arguments = parser.parse_args()
    backend = LabBackend("lab")
    try:
        with tempfile.TemporaryDirectory() as folder:
            images = an_image_store(Path(folder) / "images")
            sys.stdout.write(_HEAD)
            for case in CASES:
                if arguments.only not in f"{case.row} {case.name}":
                    continue
                limits = Limits().times(arguments.times)
                with scene(backend, images, limits) as ready:
                    outcome, _ = ready.run(case)
                sys.stdout.write(_line(case, outcome))
                sys.stdout.flush()
                backend.clean()
    finally:
        backend.close()


def _line(case: Case, outcome: Outcome) -> str:
    error = outcome.error
    told = "done" if error is None else f"{type(error).__name__}: {error}"
    told = "; ".join([told, *outcome.notes]).replace("|", "/").replace("\n", " ")
    return (
        f"| {case.row} | {case.name} | {outcome.seconds:.1f} | {outcome.closing_s:.1f}"
        f" | {case.most_s:g} | {told} |\n"
    )


if __name__ == "__main__":
    main()
