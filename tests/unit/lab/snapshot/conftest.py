"""Labs without guests, sessions with them, and a machine with a disk."""

from uuid import uuid4

import pytest

from tests.unit.lab.snapshot.machines import Machine
from tests.unit.lab.vm.vm_client import connect, new_disk, scsi
from vmops.lab import Lab, LabSettings


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    settings = LabSettings(state_dir=tmp_path_factory.mktemp("lab"), hypervisor="none")
    with Lab.run(settings) as running:
        yield running


@pytest.fixture
def client(lab):
    client = connect(lab)
    yield client
    client.close()


@pytest.fixture
def machine(client):
    """A machine of its own with a disk of 4 MiB, off, gone afterwards."""
    vm = client.create(f"m-{uuid4().hex[:10]}", scsi(), new_disk())
    made = Machine(client, vm)
    yield made
    made.destroy()
