"""ReconfigVM_Task and Rename_Task: what changes, when it may, and who is told."""

from __future__ import annotations

from typing import Any

import pytest
from pyVmomi import vim, vmodl

from tests.lab.client import Client, connect
from tests.lab.operations.views import machine
from tests.lab.specs import device, extra, new_disk, of_type, scsi, standard_nic
from vmops.lab import Lab


def options(vm: Any) -> dict[str, Any]:
    return {each.key: each.value for each in vm.config.extraConfig}


def test_hardware_and_annotation(client: Client, name: str) -> None:
    vm = client.create(name)
    version = vm.config.changeVersion

    client.reconfigure(vm, numCPUs=2, memoryMB=128, annotation="new", guestId="ubuntu64Guest")

    assert (vm.config.hardware.numCPU, vm.summary.config.memorySizeMB) == (2, 128)
    assert vm.summary.config.annotation == "new"
    assert vm.config.guestFullName == "Ubuntu Linux (64-bit)"
    assert vm.config.changeVersion != version


def test_extra_configuration_is_merged_and_empty_values_remove(client: Client, name: str) -> None:
    vm = client.create(name, extraConfig=extra(a="1", b="2"))

    client.reconfigure(vm, extraConfig=extra(b="", c="3", A="4"))

    assert {key.lower(): value for key, value in options(vm).items()} == {"a": "4", "c": "3"}
    text = client.file(vm.config.files.vmPathName).read_text()
    assert 'A = "4"' in text.splitlines()
    assert not [line for line in text.splitlines() if line.startswith("b ")]


def test_extra_configuration_cannot_inject_lines_or_hide_hardware(
    client: Client, name: str
) -> None:
    vm = client.create(name)

    client.reconfigure(vm, extraConfig=extra(note='x"\nmemSize = "8', memSize="8"))
    assert set(options(vm)) == {"note"}
    vm.UnregisterVM()
    vm = client.register(f"[datastore1] {name}/{name}.vmx")

    assert vm.config.hardware.memoryMB == 64
    assert options(vm)["note"] == 'x"\nmemSize = "8'
    with pytest.raises(vmodl.fault.InvalidArgument):
        client.reconfigure(vm, extraConfig=extra(**{'bad"key': "x"}))


def test_a_stale_change_version_is_refused(client: Client, name: str) -> None:
    vm = client.create(name)
    version = vm.config.changeVersion
    client.reconfigure(vm, annotation="first", changeVersion=version)

    with pytest.raises(vim.fault.ConcurrentAccess):
        client.reconfigure(vm, annotation="second", changeVersion=version)

    assert vm.config.annotation == "first"


def test_what_stays_as_it_is_may_be_said_while_it_is_on(client: Client, name: str) -> None:
    vm = client.create(name)
    client.result(vm.PowerOnVM_Task())

    client.reconfigure(vm, annotation="may", extraConfig=extra(a="b"), memoryMB=64)

    assert (vm.config.annotation, vm.config.hardware.memoryMB) == ("may", 64)


def test_devices_do_not_change_while_it_is_suspended(client: Client, name: str) -> None:
    vm = client.create(name, scsi())
    client.result(vm.PowerOnVM_Task())

    client.result(vm.SuspendVM_Task())
    with pytest.raises(vim.fault.InvalidPowerState):
        client.reconfigure(vm, new_disk(controller=1000))

    assert of_type(vm, device.VirtualDisk) == []
    assert not client.file(f"[datastore1] {name}/{name}.vmdk").exists()


def test_processors_and_memory_are_added_where_that_is_enabled(
    lab: Lab, client: Client, name: str
) -> None:
    vm = client.create(
        name, memoryHotAddEnabled=True, cpuHotAddEnabled=True, numCoresPerSocket=2, numCPUs=2
    )
    assert not vm.config.hotPlugMemoryLimit
    client.result(vm.PowerOnVM_Task())
    assert (vm.config.hotPlugMemoryLimit, vm.config.hotPlugMemoryIncrementSize) == (1024, 128)
    usage = vm.runtime.maxCpuUsage

    client.reconfigure(vm, memoryMB=192, numCPUs=4)

    hardware = vm.config.hardware
    assert (hardware.numCPU, hardware.numCoresPerSocket, hardware.memoryMB) == (4, 2, 192)
    assert (vm.runtime.maxCpuUsage, vm.runtime.maxMemoryUsage) == (2 * usage, 192)
    running = machine(client, vm)
    assert (running.cpus, running.memory_mib) == (4, 192)
    client.result(vm.PowerOffVM_Task())
    assert vm.config.hotPlugMemoryLimit is None


@pytest.mark.parametrize(
    ("enabled", "wanted", "fault"),
    [
        (False, {"numCPUs": 4}, vim.fault.CpuHotPlugNotSupported),
        (False, {"memoryMB": 192}, vim.fault.MemoryHotPlugNotSupported),
        (True, {"numCPUs": 1}, vim.fault.CpuHotPlugNotSupported),
        (True, {"numCPUs": 3}, vim.fault.CpuHotPlugNotSupported),
        (True, {"numCPUs": 10}, vim.fault.CpuHotPlugNotSupported),
        (True, {"memoryMB": 32}, vim.fault.MemoryHotPlugNotSupported),
        (True, {"memoryMB": 1088}, vim.fault.MemoryHotPlugNotSupported),
        (True, {"memoryMB": 128}, vmodl.fault.InvalidArgument),
        (True, {"cpuHotAddEnabled": False}, vim.fault.InvalidPowerState),
        (True, {"memoryHotAddEnabled": False}, vim.fault.InvalidPowerState),
    ],
)
def test_other_changes_of_them_wait_until_it_is_off(
    client: Client, name: str, enabled: bool, wanted: dict[str, Any], fault: type[Exception]
) -> None:
    flags: dict[str, Any] = {"memoryHotAddEnabled": enabled, "cpuHotAddEnabled": enabled}
    vm = client.create(name, numCPUs=2, numCoresPerSocket=2, **flags)
    client.result(vm.PowerOnVM_Task())

    with pytest.raises(fault):
        client.reconfigure(vm, annotation="not written", **wanted)

    assert vm.config.annotation == ""
    client.result(vm.PowerOffVM_Task())
    if "numCPUs" not in wanted or wanted["numCPUs"] % 2 == 0:
        client.reconfigure(vm, **wanted)


def test_nothing_of_it_changes_while_it_is_suspended(client: Client, name: str) -> None:
    vm = client.create(name, memoryHotAddEnabled=True, cpuHotAddEnabled=True)
    client.result(vm.PowerOnVM_Task())
    client.result(vm.SuspendVM_Task())

    for wanted in ({"numCPUs": 2}, {"memoryMB": 192}):
        with pytest.raises(vim.fault.InvalidPowerState):
            client.reconfigure(vm, **wanted)


def test_renaming_shows_everywhere_and_moves_no_file(client: Client, name: str) -> None:
    vm = client.create(name)
    other = client.create(f"{name}-other")

    client.result(vm.Rename_Task("to / from %"))

    assert vm.name == vm.config.name == vm.summary.config.name == "to %2f from %25"
    assert client.file(f"[datastore1] {name}/{name}.vmx").is_file()
    with pytest.raises(vim.fault.DuplicateName):
        client.result(vm.Rename_Task(other.name))
    with pytest.raises(vim.fault.DuplicateName):
        client.reconfigure(vm, name=other.name)
    client.reconfigure(vm, name=f"{name}-third")
    assert vm.name == f"{name}-third"


def test_boot_order(client: Client, name: str) -> None:
    vm = client.create(name, scsi(), new_disk(key=-2), new_disk(key=-3), standard_nic())
    boot = vim.vm.BootOptions
    order = [boot.BootableEthernetDevice(deviceKey=4000), boot.BootableDiskDevice(deviceKey=2001)]

    client.reconfigure(vm, bootOptions=boot(bootOrder=order, bootDelay=7))

    assert [each.deviceKey for each in vm.config.bootOptions.bootOrder] == [4000, 2001]
    client.reconfigure(vm, bootOptions=boot(enterBIOSSetup=True))
    assert len(vm.config.bootOptions.bootOrder) == 2
    client.reconfigure(vm, bootOptions=boot(bootOrder=[boot.BootableDevice()]))
    assert list(vm.config.bootOptions.bootOrder) == []
    assert vm.config.bootOptions.bootDelay == 7


def test_a_template_is_not_reconfigured(client: Client, name: str) -> None:
    vm = client.create(name)
    vm.MarkAsTemplate()

    with pytest.raises(vmodl.fault.NotSupported):
        client.reconfigure(vm, memoryMB=128)


def updates(collector: Any, version: str = "") -> tuple[str, dict[str, Any]]:
    found = collector.WaitForUpdatesEx(
        version, vmodl.query.PropertyCollector.WaitOptions(maxWaitSeconds=5)
    )
    changes = {
        entry.name: entry.val
        for filter_set in found.filterSet
        for obj in filter_set.objectSet
        for entry in obj.changeSet
    }
    return found.version, changes


def test_waiting_clients_hear_of_each_change(client: Client, name: str) -> None:
    vm = client.create(name)
    paths = [
        "config.hardware.memoryMB",
        "summary.config.memorySizeMB",
        'config.extraConfig["a"]',
        "name",
        "runtime.powerState",
        "summary.runtime.powerState",
        "config.template",
    ]
    collector = client.content.propertyCollector.CreatePropertyCollector()
    query = vmodl.query.PropertyCollector
    collector.CreateFilter(
        query.FilterSpec(
            propSet=[query.PropertySpec(type=vim.VirtualMachine, pathSet=paths)],
            objectSet=[query.ObjectSpec(obj=vm)],
        ),
        True,
    )
    version, first = updates(collector)
    assert first["config.hardware.memoryMB"] == 64

    client.reconfigure(vm, memoryMB=128, name=f"{name}-2", extraConfig=extra(a="b"))
    version, second = updates(collector, version)
    assert second["config.hardware.memoryMB"] == 128
    assert second["summary.config.memorySizeMB"] == 128
    assert second["name"] == f"{name}-2"
    assert second['config.extraConfig["a"]'].value == "b"
    assert "runtime.powerState" not in second

    client.result(vm.PowerOnVM_Task())
    version, third = updates(collector, version)
    assert third["runtime.powerState"] == "poweredOn"
    assert third["summary.runtime.powerState"] == "poweredOn"
    client.result(vm.PowerOffVM_Task())
    version, _ = updates(collector, version)
    vm.MarkAsTemplate()
    _, last = updates(collector, version)
    assert last["config.template"] is True
    collector.DestroyPropertyCollector()


def test_changes_that_come_at_once_are_all_made(lab: Lab, client: Client, name: str) -> None:
    vm = client.create(name)
    tasks = [
        vm.ReconfigVM_Task(vim.vm.ConfigSpec(extraConfig=extra(**{f"key{number}": "x"})))
        for number in range(20)
    ]

    for task in tasks:
        client.result(task)

    assert len(options(vm)) == 20
    other = connect(lab)
    try:
        assert other.content.searchIndex.FindByUuid(None, vm.config.uuid, True, False) == vm
    finally:
        other.close()
