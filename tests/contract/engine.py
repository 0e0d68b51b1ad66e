"""The engine under test together with the second view of what it did."""

from __future__ import annotations

import hashlib
import re
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pyVmomi import vim

from tests.backends import files, second_view
from tests.backends.backend import Backend
from tests.backends.lab import LabBackend
from tests.builders import Images, an_instance, qemu_img
from vmops import EngineSettings, Instance, Vif, VMwareVMOps
from vmops.progress import Event, StepStarted
from vmops.vsphere.session import Session

# The calls by which a session waits for its tasks: so many as the endpoint takes time.
OF_WAITING = frozenset({"WaitForUpdatesEx", "ModifyListView"})


class SerialLog:
    """The file behind a guest's serial port."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def text(self) -> str:
        return self._file.read_bytes().decode("ascii", "replace") if self._file.exists() else ""

    def ticks(self) -> list[int]:
        """The ticks told so far, the last line left out while it is not whole."""
        return [int(number) for number in re.findall(r"tick (\d+)\r\n", self.text())]

    def wait_for(self, words: str, seconds: float = 30.0) -> None:
        deadline = time.monotonic() + seconds
        while words not in self.text():
            assert time.monotonic() < deadline, f"no {words!r} in {self.text()[-500:]!r}"
            time.sleep(0.05)


@dataclass(kw_only=True)
class Bench:
    """One test's engine. ``events`` are those that its observer got."""

    backend: Backend
    session: Session
    images: Images
    settings: EngineSettings = field(default_factory=EngineSettings)
    events: list[Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.settings = replace(
            self.settings,
            datastore=self.backend.datastore,
            cache_folder=self.backend.cache_folder,
            serial_log=self.settings.serial_log,
        )
        self.ops = self.engine()

    def engine(self, **changes: Any) -> VMwareVMOps:
        """Another engine on the same session."""
        cluster = changes.pop("cluster_name", self.backend.cluster)
        session = changes.pop("session", self.session)
        return VMwareVMOps(
            session,
            virtapi=changes.pop("virtapi", None),
            volumeops=changes.pop("volumeops", None),
            cluster_name=cluster,
            images=changes.pop("images", self.images.store),
            observe=changes.pop("observe", self.events.append),
            config=replace(self.settings, **changes),
        )

    def spawn(
        self,
        image: str = "flat",
        *,
        instance: Instance | None = None,
        vifs: Iterable[Vif | Mapping[str, Any]] = (),
        ops: VMwareVMOps | None = None,
        **options: Any,
    ) -> Instance:
        instance = instance or an_instance()
        (ops or self.ops).spawn(None, instance, image, tuple(vifs), **options)
        return instance

    def calls_of(self, do: Callable[[], object]) -> Counter[str]:
        """The calls that the server saw meanwhile, those of the session's stream left out."""
        self.backend.forget_calls()
        do()
        calls = self.backend.calls()
        for stream in ("WaitForUpdatesEx", "ModifyListView"):
            calls.pop(stream, None)
        return calls

    # The second view

    @property
    def content(self) -> Any:
        return self.backend.content()

    def vm(self, instance: Instance | str) -> Any:
        """The VM of an instance as pyVmomi sees it, or None."""
        uuid = instance if isinstance(instance, str) else instance.uuid
        return second_view.vm_of(self.content, uuid)

    def power(self, instance: Instance | str) -> str:
        return str(second_view.properties(self.vm(instance), "runtime.powerState").popitem()[1])

    def root_disk(self, instance: Instance) -> Any:
        return second_view.devices(self.vm(instance), vim.vm.device.VirtualDisk)[0]

    def vms(self) -> dict[str, dict[str, Any]]:
        return second_view.vms(self.content)

    @property
    def control(self) -> LabBackend:
        """The lab behind the endpoint, in which a test changes what it likes (CONTROL)."""
        assert isinstance(self.backend, LabBackend)
        return self.backend

    def root(self, datastore: str = "") -> Path:
        """The directory on this machine behind a datastore, or behind the one in use."""
        root = self.backend.datastore_root(datastore or self.backend.datastore)
        assert root is not None, "this test needs CONTROL or DISK_BYTES"
        return root

    def tree(self) -> dict[str, int]:
        """All files of all the datastores that are directories here."""
        found = {}
        names = second_view.every(self.content, vim.Datastore, "name").values()
        for name in sorted(values["name"] for values in names):
            root = self.backend.datastore_root(name)
            if root is not None:
                found.update({f"[{name}] {k}": size for k, size in files.tree(root).items()})
        return found

    def world(self) -> tuple[dict[str, dict[str, Any]], dict[str, int]]:
        """What must be the same before and after something that failed.

        What a running guest writes is left out.
        """
        tree = {
            path: 0 if path.endswith(("/serial.log", "-delta.vmdk")) else size
            for path, size in self.tree().items()
        }
        return self.vms(), tree

    def disk_digest(self, path: str, size: int) -> str:
        """SHA-256 of the first bytes of a disk as a guest would read it, seen by qemu-img."""
        descriptor = files.local(self.root(), path)
        source = f"driver=raw,file.filename={files.flat_of(descriptor)}"
        if files.is_delta(descriptor):
            parent = files.local(self.root(), self._parent_of(path))
            source = (
                f"driver=qcow2,file.filename={files.flat_of(descriptor)},"
                f"backing.driver=raw,backing.file.filename={files.flat_of(parent)}"
            )
        with tempfile.NamedTemporaryFile() as copy:
            words = ("dd", "--image-opts", "-O", "raw", f"bs={size}", "count=1")
            qemu_img(*words, f"if={source}", f"of={copy.name}")
            return hashlib.sha256(copy.read()).hexdigest()

    def _parent_of(self, path: str) -> str:
        every = second_view.every(self.content, vim.VirtualMachine, "config.hardware.device")
        for values in every.values():
            for device in values.get("config.hardware.device", ()):
                backing = device.backing
                if getattr(backing, "fileName", None) == path and backing.parent is not None:
                    return str(backing.parent.fileName)
        raise AssertionError(f"no VM has {path} as a child of another disk")

    def head_digest(self, flat: Path) -> str:
        """SHA-256 of as many bytes of a file as an image's disk has."""
        with flat.open("rb") as stream:
            return hashlib.sha256(stream.read(len(self.images.disk))).hexdigest()

    def image_digest(self) -> str:
        return hashlib.sha256(self.images.disk).hexdigest()

    def serial(self, instance: Instance) -> SerialLog:
        """What the guest wrote to its serial port, read from the datastore's file."""
        return SerialLog(self.root() / instance.uuid / "serial.log")

    def steps(self) -> list[tuple[str, str]]:
        """(operation, title) of the steps that began."""
        return [(e.operation, e.title) for e in self.events if isinstance(e, StepStarted)]
