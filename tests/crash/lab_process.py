"""A lab that is a process: it can be killed, and started again on what it left."""

from __future__ import annotations

import shutil
import ssl
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import vmops
from tests.backends import cleaning, second_view
from tests.backends.capabilities import Capability
from tests.backends.lab import LACKS
from tests.crash.nursery import Child, Nursery
from vmops.lab import LabSettings, daemon
from vmops.lab.wire.tls import thumbprint
from vmops.vsphere.session import Session

LEASE_S = 2
"""How long the lab waits for the reader of an export that was killed."""
START_S = 60.0


class LabProcess:
    """A `tests.backends.backend.Backend` whose server runs in a process of its own."""

    name = "lab"
    cluster = "cluster1"
    datastore = "datastore1"
    network = "VM Network"
    distributed_network = "dv-net"
    cache_folder = "vmops_base"

    def __init__(
        self,
        nursery: Nursery,
        folder: Path,
        *,
        hypervisor: str = "none",
        lease_s: int = LEASE_S,
        trace_s: float = 0.0,
    ) -> None:
        """Start it. With ``trace_s`` it prints where its memory went in the second half of that."""
        self._nursery = nursery
        self._given = {"lease_s": lease_s, "trace_s": trace_s}
        self._process: Child | None = None
        self._views = ExitStack()
        self.has_guests = hypervisor != "none"
        self.lacks: Mapping[Capability, str] = LACKS["lab" if hypervisor == "none" else "qemu"]
        self.settings = LabSettings(
            state_dir=folder / "state", hypervisor="none" if hypervisor == "none" else "qemu"
        )
        self.start()

    def start(self) -> None:
        """Start it, on the port that it had before if it had one."""
        arguments = daemon.arguments(self.settings)
        self._process = self._nursery.fork("lab", {"arguments": arguments, **self._given})
        end = time.monotonic() + START_S
        while (found := daemon.status(self.settings)) is None:
            assert time.monotonic() < end, "the lab does not start"
            assert not self._process.has_said(), "the lab ended as it started"
            time.sleep(0.01)
        self.url = found.url
        self.username = found.user_name
        self.password = found.password
        self.thumbprint = thumbprint(self.settings.certificate_file)
        context = ssl.create_default_context(cafile=found.certificate_file)
        view = second_view.logged_in(self.url, self.username, self.password, context)
        self._content = self._views.enter_context(view)

    def kill(self) -> None:
        """End the server as ``kill -9`` does."""
        if self._process is not None:
            self._process.end()
            self._process = None

    def restart(self) -> None:
        """Start it after it was killed."""
        self._views.close()
        self._views = ExitStack()
        self.start()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def connect(self) -> Session:
        return vmops.connect(
            self.url, self.username, self.password, thumbprint=self.thumbprint, timeout_s=30.0
        )

    def content(self) -> Any:
        return self._content

    def datastore_root(self, name: str) -> Path:
        return self.settings.datastores_dir / name

    def calls(self) -> Counter[str]:
        raise NotImplementedError("what the server saw is counted by the gate before it")

    def forget_calls(self) -> None:
        raise NotImplementedError("what the server saw is counted by the gate before it")

    def clean(self) -> None:
        cleaning.remove_machines(self._content)
        for datastore in self.settings.datastores_dir.iterdir():
            for entry in datastore.iterdir():
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()

    def close(self) -> None:
        self._views.close()
        self.kill()
