"""Where a round plays: a lab in a process, a gate before it, and an engine that prepares."""

from __future__ import annotations

import json
import shutil
import tempfile
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Self

from pyVmomi import vim, vmodl

from tests.backends import second_view
from tests.builders import Images, an_image_store
from tests.contract.engine import Bench
from tests.crash import facts
from tests.crash.deeds import DEEDS, instance_of
from tests.crash.driver import Access
from tests.crash.facts import Facts
from tests.crash.gate import Gate
from tests.crash.lab_process import LabProcess
from tests.crash.nursery import Child, Nursery
from vmops import Instance
from vmops.vsphere.session import Session

UUID = "7e57c4a5-0000-4000-8000-000000000001"
CLIENT_S = 90.0


class CommandResult:
    """What a run of ``vmops`` left."""

    def __init__(self, told: dict[str, Any]) -> None:
        self.code = int(told["code"])
        self.out = str(told["out"])
        self.err = str(told["err"])

    @property
    def names(self) -> list[str]:
        """What a list in JSON has under "kind" and "name"."""
        rows = json.loads(self.out) if self.out.strip() else []
        return [f"{row['kind']}: {row['name']}" for row in rows]


class Stage:
    """One lab and all that works on it. Close it, or use it in a ``with``."""

    def __init__(self, **lab: Any) -> None:
        """Start the lab with what `LabProcess` takes."""
        with ExitStack() as undo:
            self.folder = Path(tempfile.mkdtemp(prefix="vmops-crash-"))
            undo.callback(shutil.rmtree, self.folder, ignore_errors=True)
            self.nursery = undo.enter_context(Nursery(self.folder / "processes.log"))
            self.lab = LabProcess(self.nursery, self.folder, **lab)
            undo.callback(self.lab.close)
            settings = self.lab.settings
            self.gate = undo.enter_context(
                Gate(self.lab.url, settings.certificate_file, settings.key_file)
            )
            self.images: Images = an_image_store(self.folder / "images")
            self._own = {file.name for file in self.images.store.directory.iterdir()}
            self.nursery.warm("command", self._command("audit", "-o", "json"))
            self.nursery.warm("client", {"access": plain(self.access(through_gate=False))})
            self._session = self._connect()
            self._undo = undo.pop_all()

    def _connect(self) -> Session:
        session = self.lab.connect()
        session.inventory.wait_fresh()
        self.bench = Bench(backend=self.lab, session=session, images=self.images)
        return session

    def close(self) -> None:
        self._session.close()
        self._undo.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # What happens

    def access(self, *, through_gate: bool, timeout_s: float = 30.0) -> Access:
        lab = self.lab
        return Access(
            url=self.gate.url if through_gate else lab.url,
            username=lab.username,
            password=lab.password,
            thumbprint=lab.thumbprint,
            images=str(self.images.store.directory),
            datastore=lab.datastore,
            cache_folder=lab.cache_folder,
            timeout_s=timeout_s,
        )

    def do(self, deed: str, uuid: str = UUID, **extra: Any) -> None:
        """Do something here, undisturbed."""
        DEEDS[deed](self.bench.ops, uuid, extra)

    def client(self, access: Access) -> Child:
        """A process that waits, connected, to be told what to do."""
        child = self.nursery.fork("client", {"access": plain(access)})
        if child.told(30) != "ready":
            child.end()
            raise AssertionError(self.log())
        return child

    def vmops(self, *arguments: str) -> CommandResult:
        """Run the command in a process of its own, without the gate."""
        child = self.nursery.fork("command", self._command(*arguments))
        try:
            told = child.told(CLIENT_S)
            assert told is not None, self.log()
            child.wait(10)
        finally:
            child.end()
        return CommandResult(told)

    def _command(self, *arguments: str) -> dict[str, Any]:
        return {
            "arguments": arguments,
            "variables": self.access(through_gate=False).variables(),
            "state_dir": str(self.folder / "command"),
        }

    def restart_lab(self) -> None:
        """Start the lab that was killed, and log in again."""
        self._session.close()
        self.lab.restart()
        self._session = self._connect()

    def clean(self) -> None:
        """As it was at first."""
        self.lab.clean()
        directory = self.images.store.directory
        for file in [file for file in directory.iterdir() if file.name not in self._own]:
            file.unlink()

    def wait_for_task(self, moid: str) -> None:
        """Wait until one of the server's tasks has ended, well or not."""
        with suppress(vmodl.MethodFault):
            second_view.finished(vim.Task(moid, self.bench.content.rootFolder._GetStub()))

    # What is seen

    def facts(self) -> Facts:
        found = facts.of(self.bench, guests=self.lab.has_guests)
        return {**found, **facts.images(self.images.store.directory, self._own)}

    @property
    def instance(self) -> Instance:
        return instance_of(UUID)

    def log(self) -> str:
        return (self.folder / "processes.log").read_text()[-4000:]


def plain(access: Access) -> dict[str, Any]:
    """What a forked process is given."""
    return {name: getattr(access, name) for name in Access.__slots__}
