"""What every back end of the contract tests gives."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from tests.backends.capabilities import Capability
from vmops.vsphere.session import Session


class Backend(Protocol):
    """A vSphere endpoint with an account, and a second view of it that is not the code under test.

    Attributes:
        name: as in docs/coverage.md.
        lacks: what it has not, each with the reason.
        url, username, password, thumbprint: how to get in.
        cluster: the cluster's or compute resource's name.
        datastore: the name of a datastore that tests may fill.
        network, distributed_network: names of port groups; "" where there is none.
        cache_folder: where the engine under test keeps images there.
    """

    name: str
    lacks: Mapping[Capability, str]
    url: str
    username: str
    password: str
    thumbprint: str
    cluster: str
    datastore: str
    network: str
    distributed_network: str
    cache_folder: str

    def connect(self) -> Session:
        """A session of the code under test."""

    def content(self) -> Any:
        """The service content over a stub of pyVmomi's own, logged in: the second view."""

    def datastore_root(self, name: str) -> Path | None:
        """The directory that holds a datastore's files; None if they are not on this machine."""

    def calls(self) -> Counter[str]:
        """SOAP calls the server saw since `forget_calls`, of all clients."""

    def forget_calls(self) -> None:
        """Begin at nothing again."""

    def clean(self) -> None:
        """Remove what tests made: VMs, folders, resource pools."""

    def close(self) -> None:
        """End it."""
