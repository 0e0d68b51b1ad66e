"""Spawn with a port group, folders and an extension of its own, failing at each of its calls."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from pyVmomi import vim

from tests.backends import second_view
from tests.builders import MEMORY_MIB, a_uuid
from tests.contract.engine import Bench
from tests.faults import matrix
from vmops import VMwareVMOps
from vmops.errors import VMOpsError
from vmops.lab.wire.failures import Failure, How

EXTENSION = "org.vmops.test.faults"
VLAN = 31
CALLS = [
    "FindAllByUuid",
    "RetrievePropertiesEx",
    "QueryConfigOptionDescriptor",
    "RetrievePropertiesEx",
    "RetrievePropertiesEx",
    "AddPortGroup",
    "AddPortGroup",
    "HEAD /folder",
    "CreateFolder",
    "CreateFolder",
    "FindExtension",
    "RegisterExtension",
    "CreateVM_Task",
    "HEAD /folder",
    "ReconfigVM_Task",
    "PowerOnVM_Task",
]
READS = {"FindAllByUuid", "RetrievePropertiesEx", "QueryConfigOptionDescriptor", "FindExtension"}


@pytest.fixture
def name() -> str:
    """That of a folder and of a port group which no other test makes."""
    return f"vmops-test-{a_uuid()[:13]}"


@pytest.fixture(autouse=True)
def _nothing_left(bench: Bench, name: str) -> Iterator[None]:
    bench.spawn(power_on=False)  # the image is cached
    yield
    bench.backend.clean()
    for folder, found in second_view.every(bench.content, vim.Folder, "name").items():
        if found["name"] == name:
            second_view.finished(folder.Destroy_Task())
    for system in systems(bench):
        with suppress(vim.fault.NotFound):
            system.RemovePortGroup(name)
    with suppress(vim.fault.NotFound):
        bench.content.extensionManager.UnregisterExtension(EXTENSION)


def systems(bench: Bench) -> list[Any]:
    hosts = second_view.every(bench.content, vim.HostSystem, "configManager.networkSystem")
    return [found["configManager.networkSystem"] for found in hosts.values()]


def hosts_with(bench: Bench, name: str) -> int:
    groups = [
        group.spec.name
        for system in systems(bench)
        for group in second_view.properties(system, "networkInfo")["networkInfo"].portgroup
    ]
    return groups.count(name)


def engine(bench: Bench, name: str) -> VMwareVMOps:
    return bench.engine(vm_folder=f"{name}/below", managed_by=EXTENSION)


def spawn(bench: Bench, ops: VMwareVMOps, name: str) -> str:
    flavor = {"vcpus": 1, "memory_mb": MEMORY_MIB, "extra_specs": {"vmware:hw_version": "vmx-19"}}
    instance = {"uuid": a_uuid(), "name": name, "flavor": flavor}
    vif = {"network": {"bridge": name, "meta": {"should_create_vlan": True, "vlan": VLAN}}}
    ops.spawn(None, instance, "flat", [vif])
    return str(instance["uuid"])


def test_the_table_is_that_of_a_good_run(bench: Bench, name: str) -> None:
    lab = matrix.lab_of(bench)
    lab.failures.plan()
    spawn(bench, engine(bench, name), name)
    assert [call for call in lab.failures.calls() if call not in matrix.STREAM] == CALLS
    lab.failures.clear()


@pytest.mark.parametrize("failure", matrix.parameters(CALLS))
def test_all_or_nothing_and_a_second_try_works(bench: Bench, name: str, failure: Failure) -> None:
    lab = matrix.lab_of(bench)
    before, ops = bench.world(), engine(bench, name)
    lab.failures.plan(failure)
    try:
        uuid = spawn(bench, ops, name)
    except VMOpsError as error:
        matrix.check_error(error, failure)
        lab.failures.clear()
        assert bench.world() == before
        assert hosts_with(bench, name) == 0
        uuid = spawn(bench, ops, name)
    else:
        assert failure.call in {*READS, "HEAD /folder"}, "a failure went unnoticed"
        assert failure.how in (How.LOST_BEFORE, How.LOST_AFTER)
    lab.failures.clear()
    vm = bench.vm(uuid)
    found = second_view.properties(vm, "runtime.powerState", "config.managedBy", "parent")
    assert found["runtime.powerState"] == "poweredOn"
    assert found["config.managedBy"].extensionKey == EXTENSION
    assert second_view.properties(found["parent"], "name")["name"] == "below"
    assert hosts_with(bench, name) == len(systems(bench))
    assert bench.content.extensionManager.FindExtension(EXTENSION) is not None
