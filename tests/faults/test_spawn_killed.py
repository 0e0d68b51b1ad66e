"""A spawn that dies at any of its calls, of both kinds of clones: what it made goes with it."""

from __future__ import annotations

import pytest

from tests.builders import an_instance
from tests.contract.engine import Bench
from tests.faults import changing, matrix
from vmops import VMwareVMOps
from vmops.ops.instances.destroy import remove
from vmops.vsphere.objects.virtual_machine import VirtualMachine

LINKED = ["FindAllByUuid", "CreateVM_Task", "ReconfigVM_Task", "PowerOnVM_Task"]
FULL = [*LINKED[:2], "CopyVirtualDisk_Task", "ExtendVirtualDisk_Task", *LINKED[2:]]
DEATHS = [("linked", at) for at in range(2, len(LINKED) + 1)]
DEATHS += [("full", at) for at in range(2, len(FULL) + 1)]


@pytest.mark.parametrize("by", ["destroy", "audit"])
@pytest.mark.parametrize(("kind", "at"), DEATHS)
def test_it_can_be_removed(bench: Bench, kind: str, at: int, by: str) -> None:
    bench.ops.destroy(bench.spawn(instance=an_instance(root_gib=1)), None)  # the image is cached
    before, instance = bench.world(), an_instance(root_gib=1)

    def spawn(ops: VMwareVMOps) -> None:
        bench.spawn(instance=instance, ops=ops, linked_clone=kind == "linked")

    assert changing.die(bench, at, spawn)
    vm = bench.vm(instance)
    if by == "destroy":
        bench.ops.destroy(instance, None)
    elif vm is not None:
        remove(bench.session, VirtualMachine(bench.session, vm), destroy_disks=True)
    assert bench.world() == before
    spawn(bench.ops)
    assert bench.power(instance) == "poweredOn"


def test_so_it_can_where_the_first_removal_dies(bench: Bench) -> None:
    """The machine is there as long as files are that only its mark tells of."""
    bench.ops.destroy(bench.spawn(instance=an_instance(root_gib=1)), None)
    before = bench.world()
    for at in range(1, 9):
        instance = an_instance(root_gib=1)

        def spawn(ops: VMwareVMOps) -> None:
            bench.spawn(instance=instance, ops=ops, linked_clone=False)  # noqa: B023

        assert changing.die(bench, 5, spawn)
        is_over = not changing.die(bench, at, lambda ops: ops.destroy(instance, None))  # noqa: B023
        bench.ops.destroy(instance, None)
        assert bench.world() == before
        if is_over:
            return
    raise AssertionError("a destroy has no so many calls")


def test_the_tables_are_those_of_good_runs(bench: Bench) -> None:
    bench.ops.destroy(bench.spawn(instance=an_instance(root_gib=1)), None)
    for linked, wanted in ((True, LINKED), (False, FULL)):
        calls = changing.calls_of(
            bench,
            lambda: bench.spawn(instance=an_instance(root_gib=1), linked_clone=linked),  # noqa: B023
        )
        made = [call for call in calls if "/" not in call and call not in matrix.STREAM]
        assert changing.without_looks(made) == wanted
