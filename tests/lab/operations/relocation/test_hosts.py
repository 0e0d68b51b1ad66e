"""Hosts that go out of service, and checks of moves that are not made."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from pyVmomi import vim, vmodl

from tests.lab.client import Client, connect, message
from tests.lab.operations.relocation.places import datastore, hosts
from tests.lab.specs import new_disk, scsi
from vmops.lab import Lab, LabSettings

Spec = vim.vm.RelocateSpec


def test_no_machine_comes_to_a_host_in_maintenance(own: Client, name: str) -> None:
    first, second = hosts(own)
    vm = own.create(name, host=first)
    own.result(vm.PowerOnVM_Task())
    own.result(second.EnterMaintenanceMode_Task(0))

    for spec in (Spec(host=second), Spec(host=second, datastore=datastore(own, "datastore2"))):
        with pytest.raises(vim.fault.InvalidHostState) as caught:
            own.result(vm.RelocateVM_Task(spec))
        assert caught.value.host == second
    with pytest.raises(vim.fault.InvalidHostState):
        own.result(vm.MigrateVM_Task(None, second, "defaultPriority"))
    assert vm.runtime.host == first
    own.result(second.ExitMaintenanceMode_Task(0))
    own.result(vm.MigrateVM_Task(None, second, "defaultPriority"))


def test_on_its_way_a_host_starts_nothing_and_waits(own: Client, name: str) -> None:
    first, second = hosts(own)
    runs, waits = own.create(f"{name}-1", host=first), own.create(f"{name}-2", host=first)
    own.result(runs.PowerOnVM_Task())
    task = first.EnterMaintenanceMode_Task(0)
    while task.info.state == "queued":
        time.sleep(0.01)

    with pytest.raises(vim.fault.InvalidState):
        own.result(waits.PowerOnVM_Task())
    assert task.info.state == "running"
    assert not first.runtime.inMaintenanceMode
    own.result(runs.MigrateVM_Task(None, second, "defaultPriority"))
    own.result(task)
    assert first.runtime.inMaintenanceMode
    own.result(first.ExitMaintenanceMode_Task(0))
    task = second.EnterMaintenanceMode_Task(1)
    with pytest.raises(vim.fault.Timedout):
        own.result(task)
    own.result(runs.PowerOffVM_Task())
    own.result(runs.PowerOnVM_Task())


def test_drs_empties_a_host(own: Client, name: str) -> None:
    first, second = hosts(own)
    spec = vim.cluster.ConfigSpecEx(
        drsConfig=vim.cluster.DrsConfigInfo(enabled=True, defaultVmBehavior="fullyAutomated")
    )
    own.result(own.compute.ReconfigureComputeResource_Task(spec, True))
    runs, off = own.create(f"{name}-1", host=first), own.create(f"{name}-2", host=first)
    own.result(runs.PowerOnVM_Task())

    own.result(first.EnterMaintenanceMode_Task(0))
    assert (runs.runtime.host, off.runtime.host) == (second, first)
    assert runs.runtime.powerState == "poweredOn"
    own.result(first.ExitMaintenanceMode_Task(0))
    own.result(off.RelocateVM_Task(Spec(host=second)))
    own.result(second.EnterMaintenanceMode_Task(0, True))

    assert list(second.vm) == []
    with pytest.raises(vim.fault.NoCompatibleHost):
        own.result(first.EnterMaintenanceMode_Task(0))


def test_a_disconnected_host_takes_its_machines_along(own: Client, name: str) -> None:
    first, second = hosts(own)
    vm, other = own.create(f"{name}-1", host=first), own.create(f"{name}-2", host=second)
    own.result(vm.PowerOnVM_Task())

    own.result(first.DisconnectHost_Task())

    assert first.runtime.connectionState == "disconnected"
    assert vm.runtime.connectionState == vm.summary.runtime.connectionState == "disconnected"
    assert vm.runtime.powerState == "poweredOn"
    for task in (vm.PowerOffVM_Task(), vm.RelocateVM_Task(Spec(host=second))):
        with pytest.raises(vmodl.fault.HostNotConnected):
            own.result(task)
    with pytest.raises(vmodl.fault.HostNotConnected):
        vm.AcquireTicket("webmks")
    with pytest.raises(vim.fault.InvalidHostConnectionState):
        own.result(other.MigrateVM_Task(None, first, "defaultPriority"))
    with pytest.raises(vim.fault.InvalidHostState):
        own.create(f"{name}-3", host=first)
    with pytest.raises(vim.fault.InvalidState):
        own.result(first.DisconnectHost_Task())
    own.result(first.ReconnectHost_Task())
    assert vm.runtime.connectionState == "connected"
    own.result(vm.PowerOffVM_Task())


def test_a_disconnected_host_stays_so_over_a_restart(tmp_path: Path, name: str) -> None:
    settings = LabSettings(state_dir=tmp_path / "lab", hypervisor="none")
    with Lab.run(settings) as lab:
        client = connect(lab)
        client.create(name, host=hosts(client)[0])
        client.result(hosts(client)[0].DisconnectHost_Task())
        client.close()
    with Lab.run(settings) as lab:
        client = connect(lab)
        [vm] = client.folder.childEntity
        assert vm.runtime.connectionState == "disconnected"
        client.result(hosts(client)[0].ReconnectHost_Task())
        client.result(vm.PowerOnVM_Task())
        client.close()


def test_a_check_says_what_would_stop_a_move(own: Client, name: str) -> None:
    first, second = hosts(own)
    vm = own.create(name, scsi(), new_disk(), host=first)
    checker = own.content.vmProvisioningChecker
    good = Spec(host=second, datastore=datastore(own, "datastore2"))

    [result] = own.result(checker.CheckRelocate_Task(vm, good))
    assert (result.vm, result.host, list(result.error)) == (vm, second, [])
    assert vm.config.files.vmPathName.startswith("[datastore1]")
    own.result(second.EnterMaintenanceMode_Task(0))
    [result] = own.result(checker.CheckRelocate_Task(vm, good))
    assert isinstance(result.error[0], vim.fault.InvalidHostState)
    [result] = own.result(checker.CheckMigrate_Task(vm, second))
    assert isinstance(result.error[0], vim.fault.InvalidHostState)
    [result] = own.result(checker.CheckMigrate_Task(vm, first, None, "poweredOn"))
    assert isinstance(result.error[0], vim.fault.InvalidPowerState)
    with pytest.raises(vmodl.fault.NotSupported):
        checker.QueryVMotionCompatibilityEx_Task([vm], [second])


def test_a_host_has_no_storage_adapters(own: Client) -> None:
    first, _ = hosts(own)
    storage = first.configManager.storageSystem

    storage.RescanAllHba()
    assert list(storage.storageDeviceInfo.hostBusAdapter) == []
    assert list(storage.storageDeviceInfo.scsiTopology.adapter) == []
    storage.UpdateSoftwareInternetScsiEnabled(False)
    target = vim.host.InternetScsiHba.SendTarget(address="192.0.2.1")
    static = vim.host.InternetScsiHba.StaticTarget(address="192.0.2.1", iScsiName="iqn.x")
    refused: list[Callable[[], object]] = [
        lambda: storage.UpdateSoftwareInternetScsiEnabled(True),
        lambda: storage.AddInternetScsiSendTargets("vmhba64", [target]),
        lambda: storage.RemoveInternetScsiSendTargets("vmhba64", [target]),
        lambda: storage.AddInternetScsiStaticTargets("vmhba64", [static]),
        lambda: storage.RemoveInternetScsiStaticTargets("vmhba64", [static]),
    ]
    for ask in refused:
        with pytest.raises(vmodl.fault.NotSupported) as caught:
            ask()
        assert "no iSCSI adapter" in message(caught.value)
    with pytest.raises(vim.fault.NotFound):
        storage.RescanHba("vmhba64")
