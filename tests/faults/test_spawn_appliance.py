"""Spawn of an OVA with several disks, on two buses, failing at each call that its disks make."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.builders import an_instance
from tests.contract.appliances import DATA_ON_IDE, an_appliance
from tests.contract.engine import Bench
from tests.faults import matrix
from vmops import Instance
from vmops.errors import VMOpsError
from vmops.lab.wire.failures import Failure, How

OF_FULL = [
    "FindAllByUuid",
    "HEAD /folder",
    "CreateVM_Task",
    "HEAD /folder",
    "CopyVirtualDisk_Task",
    "HEAD /folder",
    "CopyVirtualDisk_Task",
    "ReconfigVM_Task",
    "RetrievePropertiesEx",
    "ReconfigVM_Task",
    "PowerOnVM_Task",
]
OF_LINKED = [call for call in OF_FULL if call != "CopyVirtualDisk_Task"]


@pytest.fixture
def image(bench: Bench, tmp_path: Path) -> str:
    """The image, which is in the cache already."""
    name = "appliance-two-buses"
    if name not in {each.name for each in bench.images.store.list()}:
        file = an_appliance(tmp_path / "ova", bench.images.disk, DATA_ON_IDE, data_parent=4)
        bench.images.store.add(file, name)
    bench.ops.destroy(bench.spawn(name), None)
    return name


def spawn(bench: Bench, image: str, instance: Instance, *, linked: bool) -> None:
    bench.spawn(image, instance=instance, linked_clone=linked)


@pytest.mark.parametrize("failure", matrix.parameters(OF_FULL))
def test_nothing_is_left_of_its_copies(bench: Bench, image: str, failure: Failure) -> None:
    check(bench, image, failure, linked=False)


@pytest.mark.parametrize("failure", matrix.parameters(OF_LINKED))
def test_nothing_is_left_of_its_linked_clones(bench: Bench, image: str, failure: Failure) -> None:
    check(bench, image, failure, linked=True)


def check(bench: Bench, image: str, failure: Failure, *, linked: bool) -> None:
    """All or nothing, and what the first error tells is the failure."""
    lab = matrix.lab_of(bench)
    before = bench.world()
    instance = an_instance()
    lab.failures.plan(failure)
    error: VMOpsError | None = None
    try:
        spawn(bench, image, instance, linked=linked)
    except VMOpsError as raised:
        error = raised
    assert lab.failures.calls().count(failure.call) >= failure.nth, "the call was not made"
    lab.failures.clear()
    if error is None:
        assert failure.call in matrix.REPEATED, "a failure went unnoticed"
        bench.ops.destroy(instance, None)
    else:
        matrix.check_error(error, failure)
        if failure.how is How.LOST_AFTER:
            bench.ops.destroy(instance, None)
    assert bench.vms() == before[0]
    matrix.check_files(bench, before[1])


@pytest.mark.parametrize("linked", [True, False])
def test_the_table_is_that_of_a_good_run(bench: Bench, image: str, linked: bool) -> None:
    matrix.lab_of(bench).failures.plan()
    spawn(bench, image, an_instance(), linked=linked)
    made = [c for c in matrix.lab_of(bench).failures.calls() if c not in matrix.STREAM]
    assert made == (OF_LINKED if linked else OF_FULL)
