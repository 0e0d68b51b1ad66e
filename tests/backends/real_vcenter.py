"""A real vCenter or ESXi, named by environment variables, as a back end of the contract.

Tests make VMs whose names begin with "vmops-test" and folders of instance UUIDs that begin with
"7e57", and remove those alone.
"""

from __future__ import annotations

import os
import ssl
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import vmops
from tests.backends import cleaning, second_view
from tests.backends.capabilities import Capability
from tests.builders import UUID_PREFIX
from vmops.vsphere.session import Session

URL = "VMOPS_TEST_VCENTER_URL"
VARIABLES = {
    URL: "https://vcenter.example.org/sdk",
    "VMOPS_TEST_VCENTER_USERNAME": "who logs in",
    "VMOPS_TEST_VCENTER_PASSWORD": "",
    "VMOPS_TEST_VCENTER_THUMBPRINT": "SHA-256 of its certificate",
    "VMOPS_TEST_VCENTER_CLUSTER": "the cluster's name",
    "VMOPS_TEST_VCENTER_DATASTORE": "a datastore that tests may fill",
    "VMOPS_TEST_VCENTER_NETWORK": "a standard port group",
    "VMOPS_TEST_VCENTER_DISTRIBUTED_NETWORK": "a distributed port group",
}
LACKS: Mapping[Capability, str] = {
    Capability.LOCAL_FILES: "its datastores are on its hosts",
    Capability.DISK_BYTES: "its disks cannot be read from here",
    Capability.COUNTED_CALLS: "it does not count calls",
    Capability.CONTROL: "its objects cannot be changed from outside",
    Capability.GUEST: "the view into the guest is QEMU's",
    Capability.NO_GUESTS: "each of its machines boots a guest",
    Capability.TPM: "it needs a key provider",
    Capability.STORAGE_POLICIES: "whose policies there are is not for tests to say",
    Capability.HOST_NETWORKS: "its hosts' networks are not the tests' to change",
    Capability.TWO_DATASTORES: "one datastore is given to the tests",
}


def is_configured() -> bool:
    """Whether somebody named one."""
    return bool(os.environ.get(URL))


def missing() -> str | None:
    """Which variables are not set, or None."""
    lacking = [name for name in VARIABLES if not os.environ.get(name)]
    return f"a vCenter needs {', '.join(lacking)}" if lacking else None


class VcenterBackend:
    """An endpoint that others may use, too."""

    name = "vcenter"
    lacks = LACKS
    cache_folder = "vmops-test_base"

    def __init__(self) -> None:
        values = [os.environ[name] for name in VARIABLES]
        self.url, self.username, self.password, self.thumbprint, *names = values
        self.cluster, self.datastore, self.network, self.distributed_network = names
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE  # the session under test checks the thumbprint
        self._undo = ExitStack()
        self._content = self._undo.enter_context(
            second_view.logged_in(self.url, self.username, self.password, context)
        )

    def connect(self) -> Session:
        return vmops.connect(self.url, self.username, self.password, thumbprint=self.thumbprint)

    def content(self) -> Any:
        return self._content

    def datastore_root(self, name: str) -> Path | None:
        return None

    def calls(self) -> Counter[str]:
        raise NotImplementedError(LACKS[Capability.COUNTED_CALLS])

    def forget_calls(self) -> None:
        """Nothing is counted."""

    def clean(self) -> None:
        cleaning.remove_machines(self._content, only_tests=True)
        with self.connect() as session:
            for entry in session.browse(_root(self.datastore)):
                if entry.name.startswith((UUID_PREFIX, self.cache_folder)):
                    cleaning.delete_folder(self._content, f"[{self.datastore}] {entry.name}")

    def close(self) -> None:
        self._undo.close()


def _root(datastore: str) -> Any:
    from vmops.model.datastore_path import DatastorePath  # noqa: PLC0415

    return DatastorePath(datastore)
