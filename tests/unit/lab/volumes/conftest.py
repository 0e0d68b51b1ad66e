"""Labs without guests, and sessions with them."""

from uuid import uuid4

import pytest

from tests.unit.lab.vm.vm_client import connect
from vmops.lab import Lab, LabSettings


@pytest.fixture(scope="session")
def lab(tmp_path_factory):
    settings = LabSettings(state_dir=tmp_path_factory.mktemp("lab"), hypervisor="none")
    with Lab.run(settings) as running:
        yield running


@pytest.fixture(scope="session")
def esx_lab(tmp_path_factory):
    settings = LabSettings(state_dir=tmp_path_factory.mktemp("esx"), hypervisor="none", esx=True)
    with Lab.run(settings) as running:
        yield running


@pytest.fixture
def own(tmp_path):
    """A session with a lab of the test's own."""
    settings = LabSettings(state_dir=tmp_path / "lab", hypervisor="none")
    with Lab.run(settings) as running:
        client = connect(running)
        yield client
        client.close()


@pytest.fixture
def client(lab):
    client = connect(lab)
    yield client
    client.close()


@pytest.fixture
def esx(esx_lab):
    client = connect(esx_lab)
    yield client
    client.close()


@pytest.fixture
def name():
    """A name of its own for the test's machine."""
    return f"m-{uuid4().hex[:10]}"
