"""Rescue and unrescue, failing or dying at each of their calls."""

from __future__ import annotations

import pytest

from tests.contract.engine import Bench
from tests.faults import changing, matrix
from vmops import Instance, VMwareVMOps
from vmops.errors import NotRescued
from vmops.lab.wire.failures import Failure

# The image is in the cache: how it gets there is spawn's matter.
RESCUE = [
    "RetrievePropertiesEx",
    "HEAD /folder",
    "HEAD /folder",
    "ReconfigVM_Task",
    "PowerOffVM_Task",
    "CopyVirtualDisk_Task",
    "ReconfigVM_Task",
    "RetrievePropertiesEx",
    "ReconfigVM_Task",
    "PowerOnVM_Task",
]
UNRESCUE = ["RetrievePropertiesEx", "PowerOffVM_Task", "ReconfigVM_Task", "PowerOnVM_Task"]
DYING_RESCUE = [call for call in RESCUE if "/" not in call]


def rescue(ops: VMwareVMOps, instance: Instance) -> None:
    ops.rescue(None, instance, None, "flat")


def unrescue(ops: VMwareVMOps, instance: Instance) -> None:
    ops.unrescue(instance)


def end_unrescue(bench: Bench, ops: VMwareVMOps, instance: Instance) -> None:
    """Do it again; once it is not rescued any more, what may be left is to power it on."""
    if "vmops.rescue" in changing.facts(bench, instance)["notes"]:
        ops.unrescue(instance)
        return
    with pytest.raises(NotRescued):
        ops.unrescue(instance)
    ops.power_on(None, instance)


def check_rescued(bench: Bench, instance: Instance) -> None:
    found = changing.facts(bench, instance)
    assert found["power"] == "poweredOn"
    assert len(found["disks"]) == 2
    assert found["disks"][1][2].endswith("-rescue.vmdk")
    assert len(found["boot"]) == 1
    assert set(found["notes"]) == {"vmops.rescue", "efi.quickBoot.enabled"}


# Failing


@pytest.mark.parametrize("failure", matrix.parameters(RESCUE))
def test_a_rescue_that_fails_leaves_all_as_it_was(bench: Bench, failure: Failure) -> None:
    instance = bench.spawn()
    before = changing.facts(bench, instance)
    error = changing.failing(bench, failure, lambda: rescue(bench.ops, instance))
    if error is not None:
        assert changing.facts(bench, instance) == before
        rescue(bench.ops, instance)
    check_rescued(bench, instance)
    unrescue(bench.ops, instance)
    assert changing.facts(bench, instance) == before


@pytest.mark.parametrize("failure", matrix.parameters(UNRESCUE))
def test_an_unrescue_that_fails_is_done_when_it_is_done_again(
    bench: Bench, failure: Failure
) -> None:
    instance = bench.spawn()
    before = changing.facts(bench, instance)
    rescue(bench.ops, instance)
    changing.failing(bench, failure, lambda: unrescue(bench.ops, instance))
    end_unrescue(bench, bench.ops, instance)
    assert changing.facts(bench, instance) == before


def test_the_tables_are_those_of_good_runs(bench: Bench) -> None:
    instance = bench.spawn()
    found = changing.calls_of(bench, lambda: rescue(bench.ops, instance))
    assert changing.without_looks(found) == changing.without_looks(RESCUE)
    found = changing.calls_of(bench, lambda: unrescue(bench.ops, instance))
    assert changing.without_looks(found) == changing.without_looks(UNRESCUE)


# Dying


@pytest.mark.parametrize("at", range(1, len(DYING_RESCUE) + 1))
def test_a_rescue_that_died_is_unrescued(bench: Bench, at: int) -> None:
    instance = bench.spawn()
    before = changing.facts(bench, instance)
    assert changing.die(bench, at, lambda ops: rescue(ops, instance))
    if at <= 2:  # nothing was changed, not even the note written
        with pytest.raises(NotRescued):
            unrescue(bench.ops, instance)
    else:
        unrescue(bench.ops, instance)
    assert changing.facts(bench, instance) == before


@pytest.mark.parametrize("at", range(1, len(DYING_RESCUE) + 1))
def test_an_instance_whose_rescue_died_is_destroyed_whole(bench: Bench, at: int) -> None:
    instance = bench.spawn()
    assert changing.die(bench, at, lambda ops: rescue(ops, instance))
    bench.ops.destroy(instance, None)
    assert not [path for path in bench.tree() if instance.uuid in path]


@pytest.mark.parametrize("at", range(1, len(UNRESCUE) + 1))
def test_an_unrescue_that_died_is_done_when_it_is_done_again(bench: Bench, at: int) -> None:
    instance = bench.spawn()
    before = changing.facts(bench, instance)
    rescue(bench.ops, instance)
    assert changing.die(bench, at, lambda ops: unrescue(ops, instance))
    end_unrescue(bench, bench.ops, instance)
    assert changing.facts(bench, instance) == before
