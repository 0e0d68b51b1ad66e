"""Power states, and what may happen in which."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from pyVmomi import vim

from tests.lab.client import Client, connect
from tests.lab.specs import add, device, disk, new_disk, of_type, scsi, standard_nic
from vmops.lab import Lab, LabSettings

ON, OFF, SUSPENDED = "poweredOn", "poweredOff", "suspended"


def state(vm: Any) -> str:
    assert vm.runtime.powerState == vm.summary.runtime.powerState
    return str(vm.runtime.powerState)


def refused(client: Client, task: Any) -> tuple[str, str]:
    with pytest.raises(vim.fault.InvalidPowerState) as caught:
        client.result(task)
    return str(caught.value.requestedState), str(caught.value.existingState)


def test_on_and_off(client: Client, name: str) -> None:
    vm = client.create(name, standard_nic())

    client.result(vm.PowerOnVM_Task())

    assert state(vm) == ON
    assert vm.runtime.bootTime is not None
    assert vm.runtime.maxMemoryUsage == 64
    assert vm.guest.guestState == "running"
    assert of_type(vm, device.VirtualEthernetCard)[0].connectable.connected
    client.result(vm.PowerOffVM_Task())
    assert state(vm) == OFF
    assert vm.runtime.bootTime is None
    assert not of_type(vm, device.VirtualEthernetCard)[0].connectable.connected


def test_each_operation_is_refused_in_the_wrong_state(client: Client, name: str) -> None:
    vm = client.create(name)

    assert refused(client, vm.PowerOffVM_Task()) == (OFF, OFF)
    assert refused(client, vm.SuspendVM_Task()) == (ON, OFF)
    assert refused(client, vm.ResetVM_Task()) == (ON, OFF)
    assert refused(client, vm.CreateScreenshot_Task()) == (ON, OFF)
    client.result(vm.PowerOnVM_Task())
    assert refused(client, vm.PowerOnVM_Task()) == (ON, ON)
    assert refused(client, vm.Destroy_Task()) == (OFF, ON)
    with pytest.raises(vim.fault.InvalidPowerState):
        vm.UnregisterVM()
    with pytest.raises(vim.fault.InvalidPowerState):
        vm.MarkAsTemplate()
    client.result(vm.SuspendVM_Task())
    assert refused(client, vm.SuspendVM_Task()) == (SUSPENDED, SUSPENDED)
    assert refused(client, vm.ResetVM_Task()) == (ON, SUSPENDED)
    assert state(vm) == SUSPENDED


def test_suspended_memory_is_a_file_until_it_is_resumed(client: Client, name: str) -> None:
    vm = client.create(name)
    memory = client.file(f"[datastore1] {name}/{name}.vmss")
    client.result(vm.PowerOnVM_Task())

    client.result(vm.SuspendVM_Task())

    assert memory.is_file()
    assert "suspend" in {each.type for each in vm.layoutEx.file}
    assert vm.runtime.suspendTime is not None
    client.result(vm.PowerOnVM_Task())
    assert state(vm) == ON
    assert not memory.exists()


def test_power_off_drops_suspended_memory(client: Client, name: str) -> None:
    vm = client.create(name)
    client.result(vm.PowerOnVM_Task())
    client.result(vm.SuspendVM_Task())

    client.result(vm.PowerOffVM_Task())

    assert state(vm) == OFF
    assert not client.file(f"[datastore1] {name}/{name}.vmss").exists()


def test_reset_starts_the_clock_again(client: Client, name: str) -> None:
    vm = client.create(name)
    client.result(vm.PowerOnVM_Task())
    before = vm.runtime.bootTime

    client.result(vm.ResetVM_Task())

    assert vm.runtime.bootTime > before


def test_a_guest_that_ends_by_itself_is_off_at_once(lab: Lab, client: Client, name: str) -> None:
    vm = client.create(name)
    client.result(vm.PowerOnVM_Task())

    lab.on_loop(lambda kernel: kernel.hypervisor.press_power_button(vm._moId))

    assert state(vm) == OFF
    client.result(vm.PowerOnVM_Task())


def test_the_guest_has_no_tools(client: Client, name: str) -> None:
    vm = client.create(name)
    with pytest.raises(vim.fault.InvalidPowerState):
        vm.ShutdownGuest()
    client.result(vm.PowerOnVM_Task())

    for method in (vm.ShutdownGuest, vm.RebootGuest, vm.StandbyGuest):
        with pytest.raises(vim.fault.ToolsUnavailable):
            method()

    assert vm.guest.toolsRunningStatus == "guestToolsNotRunning"
    assert vm.summary.guest.toolsStatus == "toolsNotInstalled"


def test_a_missing_disk_keeps_it_off_and_is_named(client: Client, name: str) -> None:
    vm = client.create(name, scsi(), new_disk())
    path = of_type(vm, device.VirtualDisk)[0].backing.fileName
    client.file(path).rename(client.file(path).with_suffix(".away"))

    with pytest.raises(vim.fault.FileNotFound) as caught:
        client.result(vm.PowerOnVM_Task())

    assert caught.value.file == path
    assert state(vm) == OFF


def test_a_disk_runs_in_one_machine_at_a_time(client: Client, name: str) -> None:
    first = client.create(f"{name}-1", scsi(), new_disk())
    path = of_type(first, device.VirtualDisk)[0].backing.fileName
    second = client.create(f"{name}-2", scsi(), add(disk(0, name=path)))
    client.result(first.PowerOnVM_Task())

    with pytest.raises(vim.fault.FileLocked) as caught:
        client.result(second.PowerOnVM_Task())

    assert caught.value.file == path
    client.result(first.PowerOffVM_Task())
    client.result(second.PowerOnVM_Task())


def test_children_of_one_parent_run_together_and_keep_the_parent_from_running(
    client: Client, name: str
) -> None:
    parent = client.create(f"{name}-p", scsi(), new_disk())
    path = of_type(parent, device.VirtualDisk)[0].backing.fileName
    children = [
        client.create(f"{name}-{number}", scsi(), add(disk(0, parent=path), "create"))
        for number in range(2)
    ]
    for child in children:
        client.result(child.PowerOnVM_Task())

    with pytest.raises(vim.fault.FileLocked):
        client.result(parent.PowerOnVM_Task())


def test_a_template_and_a_machine_on_a_host_in_maintenance_stay_off(own: Client, name: str) -> None:
    client = own
    vm = client.create(name, host=client.compute.host[1])
    client.result(client.compute.host[1].EnterMaintenanceMode_Task(0))
    try:
        with pytest.raises(vim.fault.InvalidState):
            client.result(vm.PowerOnVM_Task())
    finally:
        client.result(client.compute.host[1].ExitMaintenanceMode_Task(0))
    vm.MarkAsTemplate()
    with pytest.raises(vim.fault.InvalidState):
        client.result(vm.PowerOnVM_Task())
    assert vm.resourcePool is None
    assert vm not in client.pool.vm
    vm.MarkAsVirtualMachine(client.pool)
    client.result(vm.PowerOnVM_Task())
    assert vm in client.pool.vm


def test_it_can_be_started_on_another_host_of_the_cluster(client: Client, name: str) -> None:
    first, second = client.compute.host
    vm = client.create(name, host=first)

    client.result(vm.PowerOnVM_Task(second))

    assert vm.runtime.host == second
    assert vm in second.vm
    assert vm not in first.vm


def test_a_host_enters_maintenance_when_its_last_machine_is_off(own: Client, name: str) -> None:
    client = own
    host = client.compute.host[1]
    vm = client.create(name, host=host)
    client.result(vm.PowerOnVM_Task())
    with pytest.raises(vim.fault.Timedout):
        client.result(host.EnterMaintenanceMode_Task(1))
    for each in host.vm:
        if each.runtime.powerState == ON:
            client.result(each.PowerOffVM_Task())
    client.result(host.EnterMaintenanceMode_Task(20))
    client.result(host.ExitMaintenanceMode_Task(0))


def test_a_screenshot_is_a_picture_on_the_datastore(client: Client, name: str) -> None:
    vm = client.create(name)
    client.result(vm.PowerOnVM_Task())

    paths = [client.result(vm.CreateScreenshot_Task()) for _ in range(2)]

    assert len(set(paths)) == 2
    for path in paths:
        assert re.fullmatch(rf"\[datastore1\] {name}/{name}-\d+\.png", path)
        assert client.file(path).read_bytes().startswith(b"\x89PNG\r\n")


def test_memory_without_room_stays_in_the_guest(tmp_path: Path) -> None:
    settings = LabSettings(
        state_dir=tmp_path / "lab", hypervisor="none", datastore_capacity_bytes=32 * 1024**2
    )
    with Lab.run(settings) as small:
        client = connect(small)
        vm = client.create("m", memoryMB=64)
        client.result(vm.PowerOnVM_Task())
        with pytest.raises(vim.fault.NoDiskSpace):
            client.result(vm.SuspendVM_Task())
        assert state(vm) == ON
        client.close()
