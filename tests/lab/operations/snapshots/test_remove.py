"""Removing snapshots: the machine reads the same, and what nobody needs is gone."""

from __future__ import annotations

import fcntl
import struct

import pytest
from pyVmomi import vim

from tests.lab.machines import CLUSTER, Machine, frozen_disk
from tests.lab.specs import add, disk, scsi

POWER = pytest.mark.parametrize("power", ["off", "on"])


@POWER
def test_the_only_one(machine: Machine, power: str) -> None:
    machine.write(1)
    machine.write(1, at=CLUSTER)
    snapshot = machine.snapshot("one")
    machine.write(2)
    if power == "on":
        machine.on()
    machine.remove(snapshot)
    assert machine.vm.snapshot is None
    assert machine.rootSnapshot == []
    assert machine.chain == [f"{machine.name}.vmdk"]
    assert machine.vmdks == {".vmdk"}
    assert not {name for name in machine.files if name.endswith((".vmsn", ".vmem"))}
    assert not machine.runtime.consolidationNeeded
    assert (
        f"{machine.name}.vmdk" in machine.client.file(machine.config.files.vmPathName).read_text()
    )
    assert machine.read() == 2
    assert machine.read(at=CLUSTER) == 1


def test_one_in_the_middle(machine: Machine) -> None:
    machine.write(1)
    one = machine.snapshot("one")
    machine.write(2, at=CLUSTER)
    two = machine.snapshot("two")
    machine.write(3, at=2 * CLUSTER)
    three = machine.snapshot("three")
    machine.write(4)
    machine.remove(two)
    assert machine.tree() == ["one", ["three"]]
    assert machine.chain == [
        f"{machine.name}{ending}.vmdk" for ending in ("-000003", "-000001", "")
    ]
    assert machine.vmdks == {".vmdk", "-000001.vmdk", "-000003.vmdk"}
    assert frozen_disk(three).endswith("-000001.vmdk")
    machine.revert(three)
    assert [machine.read(at=at * CLUSTER) for at in range(3)] == [1, 2, 3]
    machine.revert(one)
    assert [machine.read(at=at * CLUSTER) for at in range(3)] == [1, 0, 0]


@POWER
def test_the_current_one_of_two(machine: Machine, power: str) -> None:
    one = machine.snapshot("one")
    two = machine.snapshot("two")
    if power == "on":
        machine.on()
    machine.remove(two)
    assert machine.tree() == ["one"]
    assert machine.current == one
    assert machine.chain == [f"{machine.name}-000001.vmdk", f"{machine.name}.vmdk"]


def test_the_first_of_two(machine: Machine) -> None:
    machine.write(1)
    one = machine.snapshot("one")
    machine.write(2)
    two = machine.snapshot("two")
    machine.write(3)
    machine.remove(one)
    assert machine.tree() == ["two"]
    assert machine.read() == 3
    assert frozen_disk(two).endswith(f"/{machine.name}.vmdk")
    machine.revert(two)
    assert machine.read() == 2


def test_with_those_that_stand_on_it(machine: Machine) -> None:
    one = machine.snapshot("one")
    two = machine.snapshot("two")
    machine.write(2)
    machine.snapshot("three")
    machine.write(3)
    machine.remove(two, children=True)
    assert machine.tree() == ["one"]
    assert machine.current == one
    assert machine.read() == 3
    assert machine.vmdks == {".vmdk", "-000001.vmdk"}


def test_one_where_the_tree_branches(machine: Machine) -> None:
    """Its disk stands under two others, so it stays until one of them goes."""
    one = machine.snapshot("one")
    machine.write(2)
    two = machine.snapshot("two")
    machine.revert(one)
    machine.write(3)
    three = machine.snapshot("three")
    machine.remove(one)
    assert machine.tree() == ["two", "three"]
    assert machine.read() == 3
    assert machine.read(disk=frozen_disk(two)) == 2
    assert not machine.runtime.consolidationNeeded
    machine.remove(two)
    assert machine.tree() == ["three"]
    assert machine.read() == 3
    assert len(machine.vmdks) == 2
    assert machine.current == three


def test_a_branch_that_nobody_stands_on(machine: Machine) -> None:
    one = machine.snapshot("one")
    machine.write(2)
    two = machine.snapshot("two", memory=False)
    machine.revert(one)
    before = machine.vmdks
    machine.remove(two)
    assert machine.vmdks < before
    assert machine.chain[1:] == [f"{machine.name}.vmdk"]


@POWER
def test_all(machine: Machine, power: str) -> None:
    machine.write(1)
    machine.snapshot("one")
    machine.write(2, at=CLUSTER)
    two = machine.snapshot("two")
    machine.revert(two)
    machine.snapshot("three")
    if power == "on":
        machine.on()
        machine.snapshot("four", memory=True)
    machine.result(machine.RemoveAllSnapshots_Task())
    assert machine.vm.snapshot is None
    assert machine.vmdks == {".vmdk"}
    assert machine.chain == [f"{machine.name}.vmdk"]
    if power == "off":
        assert (machine.read(), machine.read(at=CLUSTER)) == (1, 2)
    machine.result(machine.RemoveAllSnapshots_Task())  # there are none, which is no error


def test_without_consolidation(machine: Machine) -> None:
    machine.write(1)
    snapshot = machine.snapshot("one")
    machine.write(2)
    machine.remove(snapshot, consolidate=False)
    assert machine.vm.snapshot is None
    assert machine.runtime.consolidationNeeded
    assert machine.vmdks == {".vmdk", "-000001.vmdk"}
    machine.result(machine.ConsolidateVMDisks_Task())
    assert not machine.runtime.consolidationNeeded
    assert machine.vmdks == {".vmdk"}
    assert machine.read() == 2
    machine.result(machine.ConsolidateVMDisks_Task())


def test_a_merge_that_fails_leaves_the_content(machine: Machine) -> None:
    """Somebody has the disk open: the snapshot goes, and consolidation is still needed."""
    machine.write(1)
    snapshot = machine.snapshot("one")
    machine.write(2)
    base = machine.client.file(frozen_disk(snapshot).replace(".vmdk", "-flat.vmdk"))
    with base.open("rb") as held:
        fcntl.fcntl(held, fcntl.F_OFD_SETLK, struct.pack("hhqqi0q", fcntl.F_RDLCK, 0, 100, 1, 0))
        with pytest.raises(vim.fault.FileLocked):
            machine.remove(snapshot)
        assert machine.vm.snapshot is None
        assert machine.runtime.consolidationNeeded
        assert machine.chain == [f"{machine.name}-000001.vmdk", f"{machine.name}.vmdk"]
    assert machine.read() == 2
    machine.result(machine.ConsolidateVMDisks_Task())
    assert machine.read() == 2
    assert machine.chain == [f"{machine.name}.vmdk"]


def test_what_others_stand_on_is_not_touched(machine: Machine) -> None:
    client = machine.client
    machine.write(1)
    snapshot = machine.snapshot("one")
    base = frozen_disk(snapshot)
    other = client.create(f"{machine.name}-b", scsi(), add(disk(parent=base), "create"))
    machine.write(2)
    machine.remove(snapshot)
    [theirs] = [each for each in other.config.hardware.device if hasattr(each, "capacityInKB")]
    assert machine.read(disk=theirs.backing.fileName) == 1
    assert machine.read() == 2
    assert not machine.runtime.consolidationNeeded  # it could do nothing
    client.result(other.Destroy_Task())
    machine.result(machine.ConsolidateVMDisks_Task())
    assert machine.chain == [f"{machine.name}.vmdk"]
    assert machine.read() == 2


def test_destroying_the_machine_takes_all(machine: Machine) -> None:
    one = machine.snapshot("one")
    machine.snapshot("two")
    machine.revert(one)
    machine.on()
    machine.snapshot("three", memory=True)
    folder = machine.folder
    machine.destroy()
    assert not folder.exists()
