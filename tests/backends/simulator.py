"""The govmomi simulator as a back end of the contract."""

from __future__ import annotations

import shutil
import ssl
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import vmops
from tests.backends import cleaning, second_view
from tests.backends.capabilities import Capability
from tests.backends.vcsim import Vcsim
from vmops.vsphere.session import Session

LACKS: Mapping[Capability, str] = {
    Capability.DISK_BYTES: "its disks are empty files",
    Capability.DISK_CONVERSION: "CopyVirtualDisk_Task with a spec is not implemented",
    Capability.DISK_GROWTH: "ExtendVirtualDisk_Task is not implemented",
    Capability.LINKED_CLONES: "a disk with a parent is not told apart",
    Capability.NFC_IMPORT: "bytes of an import are thrown away",
    Capability.UNIQUE_NAMES: "a second VM of the same name is accepted",
    Capability.REGISTERED_CONFIG: "RegisterVM_Task does not read the .vmx",
    Capability.POWER_FAULTS: "a VM that is off can be suspended",
    Capability.LOGIN_FOR_FILES: "/folder asks for no login",
    Capability.WHOLE_UPLOADS: "a truncated upload is kept",
    Capability.COUNTED_CALLS: "it does not count calls",
    Capability.SHARED_DATASTORES: "a datastore tells one of its hosts only",
    Capability.CONTROL: "its objects cannot be changed from outside",
    Capability.CASE_BLIND_UUIDS: "UUIDs are compared with their case",
    Capability.PROMPT_UPDATES: "it looks for changes every 250 ms",
    Capability.KEYED_PATHS: "it serves whole lists only",
    Capability.NESTED_POOLS: "a VM of a nested pool cannot be removed any more",
    Capability.NUMBERED_NICS: "keys of NICs follow on those of all devices",
    Capability.CONSOLES: "it has no consoles, screens or logs",
    Capability.EXTENSIONS: "its ExtensionManager has no methods",
    Capability.REMOVED_FOLDERS: "it ends when something is made in a folder that was removed",
    Capability.HOST_NETWORKS: "its hosts have no physical NICs, and share their port groups",
    Capability.ASSOCIATED_POLICIES: "it forgets which policy a machine was given",
    Capability.TPM: "it speaks 6.5, which has no TPM",
    Capability.FIRST_CLASS_DISKS: "AttachDisk_Task is not implemented",
    Capability.GUEST: "it has no guests",
}


class SimulatorBackend:
    """vcsim of Debian's package in a process of its own."""

    name = "vcsim"
    lacks = LACKS
    cluster = "DC0_C0"
    datastore = "LocalDS_0"
    network = "VM Network"
    distributed_network = "DC0_DVPG0"
    cache_folder = "vmops_base"

    def __init__(self) -> None:
        with ExitStack() as undo:
            self.simulator = undo.enter_context(Vcsim())
            context = ssl.create_default_context(cadata=self.simulator.certificate)
            self.url = self.simulator.url
            self.username = self.simulator.username
            self.password = self.simulator.password
            self.thumbprint = self.simulator.thumbprint
            self._content = undo.enter_context(
                second_view.logged_in(self.url, self.username, self.password, context)
            )
            self._undo = undo.pop_all()

    def connect(self) -> Session:
        return vmops.connect(
            self.url, self.username, self.password, thumbprint=self.thumbprint, timeout_s=30.0
        )

    def content(self) -> Any:
        return self._content

    def datastore_root(self, name: str) -> Path:
        return self.simulator.datastore_root(name)

    def calls(self) -> Counter[str]:
        raise NotImplementedError(LACKS[Capability.COUNTED_CALLS])

    def forget_calls(self) -> None:
        """Nothing is counted."""

    def clean(self) -> None:
        cleaning.remove_machines(self._content)
        for name in self.simulator.datastores:
            for entry in self.datastore_root(name).iterdir():
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()

    def close(self) -> None:
        self._undo.close()
