"""Each disk refers to its datastore, below a snapshot too; Nova moves machines by that."""

from collections.abc import Iterator
from typing import Any

import pytest
from pyVmomi import vim

from tests.lab.client import Client
from tests.lab.specs import new_disk, of_type, scsi


def backings(vm: Any) -> Iterator[Any]:
    [disk] = of_type(vm, vim.vm.device.VirtualDisk)
    backing = disk.backing
    while backing is not None:
        yield backing
        backing = backing.parent


@pytest.mark.parametrize("snapshots", [0, 2])
def test_every_file_of_a_disk_names_its_datastore(own: Client, snapshots: int) -> None:
    vm = own.create("named", scsi(), new_disk(1))
    for number in range(snapshots):
        own.result(vm.CreateSnapshot_Task(str(number), "", False, False))
    found = [backing.datastore for backing in backings(vm)]
    assert len(found) == 1 + snapshots
    assert {each.name for each in found} == {"datastore1"}
