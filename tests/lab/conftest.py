"""Labs without guests, sessions with them, and a machine with a disk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests.lab.client import Client, connect
from tests.lab.machines import Machine
from tests.lab.specs import new_disk, scsi
from vmops.lab import Lab, LabSettings


def own_name() -> str:
    return f"m-{uuid4().hex[:10]}"


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    settings = LabSettings(state_dir=tmp_path_factory.mktemp("lab"), hypervisor="none")
    with Lab.run(settings) as running:
        yield running


@pytest.fixture(scope="session")
def esx_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    settings = LabSettings(state_dir=tmp_path_factory.mktemp("esx"), hypervisor="none", esx=True)
    with Lab.run(settings) as running:
        yield running


@pytest.fixture(scope="session")
def small_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A lab whose datastores hold 8 MiB each."""
    settings = LabSettings(
        state_dir=tmp_path_factory.mktemp("small"),
        hypervisor="none",
        datastore_capacity_bytes=8 * 1024**2,
    )
    with Lab.run(settings) as running:
        yield running


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Client]:
    """A session with a lab of the test's own."""
    settings = LabSettings(state_dir=tmp_path / "lab", hypervisor="none")
    with Lab.run(settings) as running:
        client = connect(running)
        yield client
        client.close()


@pytest.fixture
def client(lab: Lab) -> Iterator[Client]:
    client = connect(lab)
    yield client
    client.close()


@pytest.fixture
def esx(esx_lab: Lab) -> Iterator[Client]:
    client = connect(esx_lab)
    yield client
    client.close()


@pytest.fixture
def small(small_lab: Lab) -> Iterator[Client]:
    client = connect(small_lab)
    yield client
    client.close()


@pytest.fixture
def name() -> str:
    """A name of its own, for the test's machine or folder."""
    return own_name()


@pytest.fixture
def folder(client: Client, name: str) -> str:
    """A new folder on the first datastore, by name."""
    (client.root() / name).mkdir()
    return name


@pytest.fixture
def machine(client: Client) -> Iterator[Machine]:
    """A machine of its own with a disk of 4 MiB, off, gone afterwards."""
    made = Machine(client, client.create(own_name(), scsi(), new_disk()))
    yield made
    made.destroy()
