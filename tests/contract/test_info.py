"""What there is: get_info and list_instances."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from pyVmomi import vim

from tests.backends import second_view
from tests.backends.capabilities import Capability
from tests.builders import a_uuid, an_instance
from tests.contract.engine import Bench
from tests.contract.needs import needs
from vmops import Instance
from vmops.errors import InstanceNotFound
from vmops.model.power import InstanceState


def a_foreign_vm(bench: Bench, name: str, **more: Any) -> Any:
    """A VM that somebody else made."""
    content = bench.content
    pool = more.pop("pool", None)
    if pool is None:
        compute = second_view.named(content, vim.ComputeResource, bench.backend.cluster)
        pool = second_view.properties(compute, "resourcePool")["resourcePool"]
    folder = second_view.properties(second_view.only(content, vim.Datacenter), "vmFolder")
    spec = vim.vm.ConfigSpec(
        name=name,
        guestId="otherGuest",
        memoryMB=16,
        numCPUs=1,
        files=vim.vm.FileInfo(vmPathName=f"[{bench.backend.datastore}]"),
        **more,
    )
    return second_view.finished(folder["vmFolder"].CreateVM_Task(config=spec, pool=pool))


def shows(bench: Bench, instance: Instance, state: InstanceState | None) -> None:
    """The engine tells of the state, None for no instance, soon after somebody else changed it."""
    deadline = time.monotonic() + 5.0
    while True:
        try:
            told = bench.ops.get_info(instance).state
        except InstanceNotFound:
            told = None
        if told is state:
            return
        assert time.monotonic() < deadline, f"it is said to be {told}"
        time.sleep(0.01)


def test_info_of_a_running_instance(bench: Bench) -> None:
    instance = bench.spawn(instance=an_instance(vcpus=2))
    info = bench.ops.get_info(instance)
    assert info.as_dict() | {"cpu_time": 0} == {
        "state": 1,
        "max_mem": 16 * 1024,
        "mem": 16 * 1024,
        "num_cpu": 2,
        "cpu_time": 0,
    }
    assert info.cpu_time_ns >= 0


def test_info_of_instances_that_do_not_run(bench: Bench) -> None:
    instance = bench.spawn(power_on=False)
    vm = bench.vm(instance)
    assert bench.ops.get_info(instance).state is InstanceState.SHUTDOWN
    second_view.finished(vm.PowerOnVM_Task())
    second_view.finished(vm.SuspendVM_Task())
    shows(bench, instance, InstanceState.SUSPENDED)


def test_an_instance_that_is_not_there_is_named(bench: Bench) -> None:
    uuid = a_uuid()
    with pytest.raises(InstanceNotFound) as refused:
        bench.ops.get_info(uuid)
    assert refused.value.instance_uuid == uuid


def test_an_instance_that_somebody_removed_is_not_there(bench: Bench) -> None:
    instance = bench.spawn(power_on=False)
    second_view.finished(bench.vm(instance).Destroy_Task())
    shows(bench, instance, None)


@needs(Capability.CASE_BLIND_UUIDS)
def test_a_uuid_in_capitals_is_the_same(bench: Bench) -> None:
    instance = bench.spawn(power_on=False)
    assert bench.ops.get_info(instance.uuid.upper()).state is InstanceState.SHUTDOWN


@needs(Capability.REGISTERED_CONFIG)
def test_a_vm_that_was_registered_anew_is_found_by_its_uuid(bench: Bench) -> None:
    instance = bench.spawn(power_on=False)
    vm = bench.vm(instance)
    path = second_view.properties(vm, "config.files.vmPathName").popitem()[1]
    where = second_view.properties(vm, "parent", "resourcePool")
    vm.UnregisterVM()
    again = second_view.finished(
        where["parent"].RegisterVM_Task(path=path, asTemplate=False, pool=where["resourcePool"])
    )
    assert again._GetMoId() != vm._GetMoId()
    assert bench.ops.get_info(instance).state is InstanceState.SHUTDOWN
    bench.ops.power_on(None, instance)
    assert bench.power(instance) == "poweredOn"
    bench.ops.destroy(instance, None)
    assert bench.vm(instance) is None


def test_no_instances_is_an_empty_list(bench: Bench) -> None:
    assert bench.ops.list_instances() == []


def test_instances_are_listed_and_vms_of_others_are_not(bench: Bench) -> None:
    mine = {bench.spawn(power_on=False).uuid for _ in range(3)}
    a_foreign_vm(bench, "vmops-test-foreign-1")
    a_foreign_vm(bench, "vmops-test-foreign-2", instanceUuid=a_uuid())
    assert set(bench.ops.list_instances()) == mine


@needs(Capability.CONTROL)
def test_those_that_go_while_it_is_listed_are_passed_over(bench: Bench) -> None:
    """Whatever moment they go at: no error, and those that stay are in every list."""
    stay = {bench.spawn(power_on=False).uuid for _ in range(2)}
    go = [bench.spawn(power_on=False) for _ in range(8)]
    lists: list[set[str]] = []

    def remove() -> None:
        for each in go:
            second_view.finished(bench.vm(each).Destroy_Task())

    with ThreadPoolExecutor(1) as pool:
        removing = pool.submit(remove)
        while not removing.done():
            lists.append(set(bench.ops.list_instances()))
        removing.result()
    lists.append(set(bench.ops.list_instances()))
    assert all(stay <= found <= stay | {each.uuid for each in go} for found in lists)
    assert lists[-1] == stay


@needs(Capability.CONTROL)
def test_one_that_the_server_tells_nothing_of_is_passed_over(bench: Bench) -> None:
    """As a VM that is being deleted: it is in the view, and has no properties any more."""
    here, going = (bench.spawn(power_on=False) for _ in range(2))
    vm = bench.vm(going)
    bench.control.change(vm, {"config": None})
    assert bench.ops.list_instances() == [here.uuid]
    bench.ops.get_info(here)


@needs(Capability.VCENTER)
def test_a_template_is_no_instance(bench: Bench) -> None:
    instance = bench.spawn(power_on=False)
    template = bench.spawn(power_on=False)
    bench.vm(template).MarkAsTemplate()
    assert bench.ops.list_instances() == [instance.uuid]


@needs(Capability.CONTROL)
@pytest.mark.parametrize("state", ["orphaned", "inaccessible"])
def test_a_vm_that_cannot_be_reached_is_not_listed(bench: Bench, state: str) -> None:
    here, gone = (bench.spawn(power_on=False) for _ in range(2))
    bench.control.change(bench.vm(gone), {"runtime.connectionState": state})
    assert bench.ops.list_instances() == [here.uuid]


@needs(Capability.CONTROL)
@pytest.mark.parametrize("state", ["disconnected", "invalid"])
def test_a_vm_that_may_come_back_is_listed(bench: Bench, state: str) -> None:
    instance = bench.spawn(power_on=False)
    bench.control.change(bench.vm(instance), {"runtime.connectionState": state})
    assert bench.ops.list_instances() == [instance.uuid]


@needs(Capability.NESTED_POOLS)
def test_an_instance_in_a_nested_pool_is_listed(bench: Bench) -> None:
    compute = second_view.named(bench.content, vim.ComputeResource, bench.backend.cluster)
    root = second_view.properties(compute, "resourcePool")["resourcePool"]
    share = vim.ResourceAllocationInfo(
        reservation=0,
        limit=-1,
        expandableReservation=True,
        shares=vim.SharesInfo(level="normal", shares=0),
    )
    spec = vim.ResourceConfigSpec(cpuAllocation=share, memoryAllocation=share)
    outer = root.CreateResourcePool("vmops-test-outer", spec)
    inner = outer.CreateResourcePool("vmops-test-inner", spec)
    uuid = a_uuid()
    key = vim.option.OptionValue(key="nvp.vm-uuid", value=uuid)
    a_foreign_vm(bench, "vmops-test-nested", pool=inner, instanceUuid=uuid, extraConfig=[key])
    assert bench.ops.list_instances() == [uuid]


def test_a_change_of_power_shows_at_once(bench: Bench) -> None:
    instance = bench.spawn()
    for _ in range(3):
        bench.ops.power_off(instance)
        assert bench.ops.get_info(instance).state is InstanceState.SHUTDOWN
        bench.ops.power_on(None, instance)
        assert bench.ops.get_info(instance).state is InstanceState.RUNNING


def test_a_change_of_power_that_somebody_else_made_shows_with_the_next_update(bench: Bench) -> None:
    instance = bench.spawn()
    vm = bench.vm(instance)
    for _ in range(3):
        second_view.finished(vm.PowerOffVM_Task())
        shows(bench, instance, InstanceState.SHUTDOWN)
        second_view.finished(vm.PowerOnVM_Task())
        shows(bench, instance, InstanceState.RUNNING)


@needs(Capability.COUNTED_CALLS)
def test_many_instances_are_read_in_bulk(bench: Bench) -> None:
    for number in range(30):
        uuid = a_uuid()
        key = vim.option.OptionValue(key="nvp.vm-uuid", value=uuid)
        a_foreign_vm(bench, f"vmops-test-{number}", instanceUuid=uuid, extraConfig=[key])
    bench.backend.forget_calls()
    assert len(bench.ops.list_instances()) == 30
    assert sum(bench.backend.calls().values()) <= 6
    bench.backend.forget_calls()
    assert len(bench.ops.list_instances()) == 30
    assert bench.backend.calls()["RetrievePropertiesEx"] == 1
    assert "CreateContainerView" not in bench.backend.calls()
