"""A resize that exchanges ephemeral and swap disks, failing or dying at each of its calls."""

from __future__ import annotations

import pytest

from tests.builders import MEMORY_MIB, a_uuid
from tests.contract.engine import Bench
from tests.faults import changing, matrix
from tests.faults.resize_calls import confirm, finish, revert, reverting
from vmops import Flavor, Instance, VMwareVMOps
from vmops.lab.wire.failures import Failure
from vmops.model.datastore_path import DatastorePath

GIB_IN_KIB = 1024**2
SMALL = Flavor(memory_mib=MEMORY_MIB, ephemeral_gib=1, swap_mib=64)
BIG = Flavor(memory_mib=MEMORY_MIB, vcpus=2, ephemeral_gib=2, swap_mib=128)

FINISH = ["RetrievePropertiesEx", "ReconfigVM_Task", "PowerOnVM_Task"]
CONFIRM = ["ReconfigVM_Task", *["HEAD /folder", "DeleteVirtualDisk_Task"] * 2]
REVERT = reverting(2)


def spawn(bench: Bench) -> Instance:
    uuid = a_uuid()
    instance = Instance(uuid=uuid, name=f"vmops-test-{uuid[:13]}", flavor=SMALL)
    return bench.spawn(instance=instance)


def migrate(ops: VMwareVMOps, instance: Instance) -> None:
    ops.migrate_disk_and_power_off(None, instance, "", BIG)


def check_resized(bench: Bench, instance: Instance, *, files: int = 5) -> None:
    """``files``: how many disks are in its folder."""
    found = changing.facts(bench, instance)
    assert found["power"] == "poweredOn"
    assert [disk[3] for disk in found["disks"]][1:] == [2 * GIB_IN_KIB, 128 * 1024]
    data = ("-flat.vmdk", "-delta.vmdk")
    there = [p for p in found["files"] if p.endswith(".vmdk") and not p.endswith(data)]
    assert len(there) == files


@pytest.mark.parametrize("failure", matrix.parameters(FINISH))
def test_a_finish_that_fails_is_done_when_it_is_done_again(bench: Bench, failure: Failure) -> None:
    instance = spawn(bench)
    before = changing.facts(bench, instance)
    migrate(bench.ops, instance)
    changing.failing(bench, failure, lambda: finish(bench.ops, instance))
    finish(bench.ops, instance)
    check_resized(bench, instance)
    revert(bench.ops, instance)
    assert changing.facts(bench, instance) == before


@pytest.mark.parametrize("failure", matrix.parameters(FINISH))
def test_a_finish_that_fails_is_reverted(bench: Bench, failure: Failure) -> None:
    instance = spawn(bench)
    before = changing.facts(bench, instance)
    migrate(bench.ops, instance)
    changing.failing(bench, failure, lambda: finish(bench.ops, instance))
    revert(bench.ops, instance)
    assert changing.facts(bench, instance) == before


@pytest.mark.parametrize("failure", matrix.parameters(CONFIRM))
def test_a_confirm_that_fails_is_done_when_it_is_done_again(bench: Bench, failure: Failure) -> None:
    instance = spawn(bench)
    migrate(bench.ops, instance)
    finish(bench.ops, instance)
    changing.failing(bench, failure, lambda: confirm(bench.ops, instance))
    confirm(bench.ops, instance)
    check_resized(bench, instance, files=3)


@pytest.mark.parametrize("failure", matrix.parameters(REVERT))
def test_a_revert_that_fails_is_done_when_it_is_done_again(bench: Bench, failure: Failure) -> None:
    instance = spawn(bench)
    before = changing.facts(bench, instance)
    migrate(bench.ops, instance)
    finish(bench.ops, instance)
    changing.failing(bench, failure, lambda: revert(bench.ops, instance))
    if changing.facts(bench, instance)["notes"]:
        revert(bench.ops, instance)
    assert changing.facts(bench, instance) == before


def test_the_tables_are_those_of_good_runs(bench: Bench) -> None:
    instance = spawn(bench)
    migrate(bench.ops, instance)
    found = changing.calls_of(bench, lambda: finish(bench.ops, instance))
    assert changing.without_looks(found) == changing.without_looks(FINISH)
    found = changing.calls_of(bench, lambda: confirm(bench.ops, instance))
    assert changing.without_looks(found) == changing.without_looks(CONFIRM)
    instance = spawn(bench)
    migrate(bench.ops, instance)
    finish(bench.ops, instance)
    found = changing.calls_of(bench, lambda: revert(bench.ops, instance))
    assert changing.without_looks(found) == changing.without_looks(REVERT)


@pytest.mark.parametrize("at", range(1, len(FINISH) + 1))
@pytest.mark.parametrize("then", ["finish", "revert", "destroy"])
def test_a_finish_that_died(bench: Bench, at: int, then: str) -> None:
    instance = spawn(bench)
    before = changing.facts(bench, instance)
    migrate(bench.ops, instance)
    assert changing.die(bench, at, lambda ops: finish(ops, instance))
    if then == "finish":
        finish(bench.ops, instance)
        check_resized(bench, instance)
    elif then == "revert":
        revert(bench.ops, instance)
        assert changing.facts(bench, instance) == before
    else:
        bench.ops.destroy(instance, None)
        assert not [path for path in bench.tree() if instance.uuid in path]


def test_a_new_disk_that_a_death_left_is_in_nobodys_way(bench: Bench) -> None:
    """The server had created a file when it was told no more."""
    instance = spawn(bench)
    migrate(bench.ops, instance)
    left = f"[{bench.backend.datastore}] {instance.uuid}/ephemeral_0-resized.vmdk"
    bench.session.virtual_disk_manager.create(DatastorePath.parse(left), 1024)
    finish(bench.ops, instance)
    check_resized(bench, instance)
