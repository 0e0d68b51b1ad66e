"""The machine is removed in the middle of an operation: what was to be taken back went with it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.backends import second_view
from tests.contract.engine import Bench
from tests.faults import matrix
from tests.faults.test_resize import FLAVOR
from vmops import Instance, VMwareVMOps
from vmops.errors import InstanceNotFound, LeaseLost, VMOpsError
from vmops.progress import Event, StepStarted

Deed = Callable[[VMwareVMOps, Instance], object]


def snapshot(ops: VMwareVMOps, instance: Instance) -> object:
    return ops.snapshot(None, instance, "made", lambda **_: None)


def rescue(ops: VMwareVMOps, instance: Instance) -> None:
    ops.rescue(None, instance, None, "flat")


def resize(ops: VMwareVMOps, instance: Instance) -> None:
    ops.migrate_disk_and_power_off(None, instance, "", FLAVOR)


@pytest.mark.parametrize(
    ("do", "moment"),
    [
        (snapshot, "Upload the disk to the image store"),
        (rescue, "Power off"),
        (rescue, "Copy the image to the rescue disk"),
        (rescue, "Attach the rescue disk"),
        (resize, "Power off"),
        (resize, "Copy the root disk, and let the copy grow"),
        (resize, "Change the size, and exchange the root disk"),
    ],
)
def test_a_machine_that_goes_needs_nothing_taken_back(bench: Bench, do: Deed, moment: str) -> None:
    instance = bench.spawn()
    vm = bench.vm(instance)
    gone: list[str] = []

    def observe(event: Event) -> None:
        if isinstance(event, StepStarted) and event.title == moment and not gone:
            gone.append(moment)
            if bench.power(instance) == "poweredOn":
                second_view.finished(vm.PowerOffVM_Task())
            second_view.finished(vm.Destroy_Task())

    with pytest.raises(VMOpsError) as raised:
        do(bench.engine(observe=observe), instance)
    assert gone == [moment]
    matrix.check_undone(raised.value)
    assert bench.vm(instance) is None
    assert isinstance(raised.value, (InstanceNotFound, LeaseLost)) or "no file" in str(raised.value)
