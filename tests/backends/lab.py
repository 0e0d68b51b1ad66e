"""The lab as a back end, in three kinds: without guests, as a single ESXi, with QEMU guests."""

from __future__ import annotations

import fcntl
import os
import shutil
import ssl
import struct
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from pyVmomi import vim

import vmops
from tests.backends import cleaning, second_view
from tests.backends.capabilities import Capability
from vmops.lab import Lab, LabSettings
from vmops.lab.wire.failures import Failure, How
from vmops.vsphere.session import Session

_ALL_LACK = {Capability.TPM: "it has no TPM"}
LACKS: dict[str, Mapping[Capability, str]] = {
    "lab": {Capability.GUEST: "it runs without guests", **_ALL_LACK},
    "lab-esx": {
        **_ALL_LACK,
        Capability.GUEST: "it runs without guests",
        Capability.VCENTER: "it is a single ESXi",
        Capability.STORAGE_POLICIES: "a single ESXi has no storage policies",
        Capability.DISTRIBUTED_NETWORK: "a single ESXi has no distributed switch",
        Capability.TWO_DATASTORES: "it has one datastore",
    },
    "qemu": {
        **_ALL_LACK,
        Capability.UNTOUCHED_DISKS: "its guest counts its boots on its disk",
        Capability.HOT_UNPLUG: "its guest of one sector does not let go of a card",
        Capability.NO_GUESTS: "each of its machines boots a guest",
    },
}


class LabBackend:
    """A lab on a thread of this process; its state is removed with it."""

    def __init__(self, name: str, *, state_of: LabBackend | None = None, **settings: Any) -> None:
        """Start a lab with these settings, or on the state that a killed one left."""
        self.name = name
        self.lacks = LACKS.get(name, LACKS["lab"])
        self._undo = ExitStack()
        with ExitStack() as undo:
            if state_of is None:
                self._folder = Path(tempfile.mkdtemp(prefix="vmops-lab-"))
                undo.callback(shutil.rmtree, self._folder, ignore_errors=True)
            else:
                self._folder = state_of._folder
            hypervisor = "qemu" if name == "qemu" else "none"
            self.settings = LabSettings(
                state_dir=self._folder / "state",
                esx=name == "lab-esx",
                hypervisor=settings.pop("hypervisor", hypervisor),
                **settings,
            )
            self.lab = undo.enter_context(Lab.run(self.settings))
            context = ssl.create_default_context(cafile=self.lab.certificate_file)
            self._content = undo.enter_context(
                second_view.logged_in(self.lab.url, self.lab.username, self.lab.password, context)
            )
            self._undo = undo.pop_all()
        self.url = self.lab.url
        self.username = self.lab.username
        self.password = self.lab.password
        self.thumbprint = self.lab.thumbprint
        self.cluster = "esx1.lab.local" if self.settings.esx else "cluster1"
        self.datastore = "datastore1"
        self.network = "VM Network"
        self.distributed_network = "" if self.settings.esx else "dv-net"
        self.cache_folder = "vmops_base"
        self._summaries: dict[str, Any] = {}

    def connect(self) -> Session:
        return vmops.connect(
            self.url, self.username, self.password, thumbprint=self.thumbprint, timeout_s=30.0
        )

    def content(self) -> Any:
        return self._content

    def datastore_root(self, name: str) -> Path:
        return self.lab.datastore_root(name)

    def calls(self) -> Counter[str]:
        return self.lab.wire_log.methods()

    def forget_calls(self) -> None:
        self.lab.wire_log.clear()

    def change_datastore(self, name: str, **summary: Any) -> None:
        """Show a datastore with other values in its summary until the next `clean`."""

        moid = second_view.named(self._content, vim.Datastore, name)._GetMoId()

        async def change(kernel: Any) -> None:
            obj = kernel.registry.get(moid)
            original = self._summaries.setdefault(name, obj.computed["summary"])

            def changed() -> Any:
                found = original()
                for key, value in summary.items():
                    setattr(found, key, value)
                return found

            obj.computed["summary"] = changed if summary else original
            kernel.touch(obj, "summary")

        self.lab.on_loop(change)

    def change(self, ref: Any, changes: dict[str, Any]) -> None:
        """Set properties of a managed object that no client can set."""
        moid = ref._GetMoId()

        async def run(kernel: Any) -> None:
            kernel.update(kernel.registry.get(moid), changes)

        self.lab.on_loop(run)

    def refuse(self, call: str, *, status: int = 500) -> None:
        """Let every such call fail until `allow_all`; see `vmops.lab.wire.failures`."""
        self.lab.failures.plan(Failure(call=call, how=How.REFUSED, nth=0, status=status))

    def allow_all(self) -> None:
        self.lab.failures.clear()

    @contextmanager
    def held(self, path: str) -> Iterator[None]:
        """Hold a disk as a backup proxy does while the block lasts: it can be read, not merged."""
        datastore, _, name = path.removeprefix("[").partition("] ")
        descriptor = self.datastore_root(datastore) / name
        data = next(
            each
            for ending in ("-flat.vmdk", "-delta.vmdk")
            if (each := descriptor.with_name(descriptor.name.replace(".vmdk", ending))).exists()
        )
        with data.open("rb") as file:
            lock = struct.pack("hhqqi0q", fcntl.F_RDLCK, os.SEEK_SET, 100, 1, 0)
            fcntl.fcntl(file, fcntl.F_OFD_SETLK, lock)
            yield

    def clean(self) -> None:
        self.allow_all()
        for name in list(self._summaries):
            self.change_datastore(name)
        cleaning.remove_machines(self._content)
        for datastore in self.lab.settings.datastores_dir.iterdir():
            for entry in datastore.iterdir():
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        for datastore in second_view.every(self._content, vim.Datastore, "name"):
            datastore.RefreshDatastore()

    def close(self) -> None:
        self._undo.close()
