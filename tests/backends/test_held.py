"""A disk that somebody else holds: what the lab does then, as vSphere does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pyVmomi import vim

from tests.backends.lab import LabBackend
from tests.lab.client import Client
from tests.lab.machines import Machine
from tests.lab.specs import new_disk, scsi


@pytest.fixture(scope="module")
def backend() -> Iterator[LabBackend]:
    backend = LabBackend("lab")
    try:
        yield backend
    finally:
        backend.close()


@pytest.mark.parametrize(
    ("power", "fault"), [("off", vim.fault.FileLocked), ("on", vim.fault.GenericVmConfigFault)]
)
def test_a_snapshot_goes_and_its_disk_waits_for_consolidation(
    backend: LabBackend, power: str, fault: Any
) -> None:
    client = Client(backend.lab)
    machine = Machine(client, client.create(f"held-{power}", scsi(), new_disk(4)))
    machine.write(1)
    base = machine.disk
    snapshot = machine.snapshot("one")
    machine.write(2)
    if power == "on":
        machine.on()
    for held in (base, machine.disk):
        with backend.held(held), pytest.raises(fault):
            if machine.vm.snapshot is not None:
                machine.remove(snapshot)
            else:
                machine.result(machine.ConsolidateVMDisks_Task())
        assert machine.vm.snapshot is None
        assert machine.runtime.consolidationNeeded
        assert machine.chain == [f"held-{power}-000001.vmdk", f"held-{power}.vmdk"]
        assert machine.read() == 2
    machine.result(machine.ConsolidateVMDisks_Task())
    assert not machine.runtime.consolidationNeeded
    assert machine.chain == [f"held-{power}.vmdk"]
    assert machine.read() == 2
    client.close()
