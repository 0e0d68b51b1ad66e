"""Spawn with ephemeral disks, swap and config drive, of an ISO image too, failing at each call."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.builders import an_instance
from tests.contract.engine import Bench
from tests.faults import matrix
from tests.faults.test_destroy import failing
from tests.image_files import a_bootable_iso
from vmops import Instance
from vmops.errors import VMOpsError
from vmops.lab.guest import boot_sector_disk
from vmops.lab.wire.failures import Failure, How
from vmops.model.block_devices import BlockDevices, EphemeralDisk

DEVICES = BlockDevices(
    ephemerals=(EphemeralDisk(size_gib=1), EphemeralDisk(size_gib=2)), swap_mib=8
)
OF_DISKS = [
    "FindAllByUuid",
    "HEAD /folder",
    "CreateVM_Task",
    "HEAD /folder",
    "PUT /folder",
    "ReconfigVM_Task",
    "PowerOnVM_Task",
]
OF_ISO = [
    "FindAllByUuid",
    "HEAD /folder",
    "CreateVM_Task",
    "HEAD /folder",
    "MakeDirectory",
    "PUT /folder",
    "MoveDatastoreFile_Task",
    "PUT /folder",
    "ReconfigVM_Task",
    "PowerOnVM_Task",
]

OF_DESTROY = [
    "RetrievePropertiesEx",
    "PowerOffVM_Task",
    "DELETE /folder",
    "DELETE /folder",
    "Destroy_Task",
    "HEAD /folder",
]


@pytest.fixture
def iso(bench: Bench, tmp_path: Path) -> str:
    if "boots" not in {image.name for image in bench.images.store.list()}:
        bench.images.store.add(a_bootable_iso(tmp_path / "boots.iso", boot_sector_disk()), "boots")
    return "boots"


def spawn(bench: Bench, image: str, instance: Instance) -> None:
    bench.spawn(
        image,
        instance=instance,
        block_device_info=DEVICES,
        user_data=b"#!/bin/sh",
        admin_password="of the admin",
    )


def check(bench: Bench, image: str, failure: Failure) -> None:
    """All or nothing, and what the first error tells is the failure."""
    lab = matrix.lab_of(bench)
    before = bench.world()
    instance = an_instance(root_gib=1)
    lab.failures.plan(failure)
    error: VMOpsError | None = None
    try:
        spawn(bench, image, instance)
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


@pytest.mark.parametrize("failure", matrix.parameters(OF_DISKS))
def test_nothing_is_left_of_disks_and_config_drive(bench: Bench, failure: Failure) -> None:
    bench.ops.destroy(bench.spawn("flat", instance=an_instance(root_gib=1)), None)
    check(bench, "flat", failure)


@pytest.mark.parametrize("failure", matrix.parameters(OF_ISO))
def test_nothing_is_left_of_an_iso_images_instance(
    bench: Bench, iso: str, failure: Failure
) -> None:
    check(bench, iso, failure)


def test_the_tables_are_those_of_a_good_run(bench: Bench, iso: str) -> None:
    bench.ops.destroy(bench.spawn("flat", instance=an_instance(root_gib=1)), None)
    for image, calls in (("flat", OF_DISKS), (iso, OF_ISO)):
        matrix.lab_of(bench).failures.plan()
        spawn(bench, image, an_instance(root_gib=1))
        made = [c for c in matrix.lab_of(bench).failures.calls() if c not in matrix.STREAM]
        assert made == calls


@pytest.mark.parametrize("failure", matrix.parameters(OF_DESTROY))
def test_a_second_destroy_leaves_nothing_of_them(bench: Bench, failure: Failure) -> None:
    instance = an_instance(root_gib=1)
    spawn(bench, "flat", instance)
    failing(bench, instance, failure)
    bench.ops.destroy(instance, None)
    assert bench.vm(instance) is None
    assert not [path for path in bench.tree() if instance.uuid in path]


def test_the_table_of_a_destroy_is_that_of_a_good_run(bench: Bench) -> None:
    instance = an_instance(root_gib=1)
    spawn(bench, "flat", instance)
    matrix.lab_of(bench).failures.plan()
    bench.ops.destroy(instance, None)
    made = [c for c in matrix.lab_of(bench).failures.calls() if c not in matrix.STREAM]
    assert made == OF_DESTROY
