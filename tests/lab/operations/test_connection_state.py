"""Machines whose host or files cannot be reached."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from pyVmomi import vim, vmodl

from tests.lab.client import Client, connect
from tests.lab.specs import new_disk, scsi
from vmops.lab import Lab, LabSettings
from vmops.lab.kernel.kernel import Kernel
from vmops.lab.objects.virtual_machine import VirtualMachine
from vmops.lab.operations.connection_state import orphan


def connection(vm: Any) -> str:
    assert vm.runtime.connectionState == vm.summary.runtime.connectionState
    return str(vm.runtime.connectionState)


def on_loop(client: Client, work: Callable[[Kernel], Awaitable[Any]]) -> Any:
    async def call(kernel: Kernel) -> Any:
        return await work(kernel)

    return client.lab.on_loop(call)


def orphaned(client: Client, vm: Any) -> None:
    async def work(kernel: Kernel) -> None:
        orphan(kernel.registry.find(vm._moId, VirtualMachine))

    on_loop(client, work)


def datastore(client: Client, name: str = "datastore1") -> Any:
    return next(each for each in client.datacenter.datastore if each.name == name)


def test_nothing_can_be_asked_of_a_machine_whose_host_is_disconnected(
    own: Client, name: str
) -> None:
    vm = own.create(name)
    host = vm.runtime.host
    own.result(vm.PowerOnVM_Task())
    own.result(host.DisconnectHost_Task())

    assert (connection(vm), vm.runtime.powerState) == ("disconnected", "poweredOn")
    assert host.runtime.powerState == "unknown"
    assert vm.config.name == name
    for ask in (
        vm.ShutdownGuest,
        vm.RebootGuest,
        vm.StandbyGuest,
        vm.MarkAsTemplate,
        vm.UnregisterVM,
        vm.ExportVm,
        vm.Reload,
    ):
        with pytest.raises(vmodl.fault.HostNotConnected):
            ask()
    for task in (
        vm.PowerOffVM_Task(),
        vm.ReconfigVM_Task(vim.vm.ConfigSpec(annotation="x")),
        vm.CreateSnapshot_Task("s", memory=False, quiesce=False),
        vm.Destroy_Task(),
        vm.Rename_Task("other"),
    ):
        with pytest.raises(vmodl.fault.HostNotConnected):
            own.result(task)
    assert (vm.name, vm.snapshot, vm.config.annotation) == (name, None, "")
    running = on_loop(own, lambda kernel: kernel.hypervisor.running())
    assert running == {vm._moId}


def test_a_guest_that_ends_unseen_is_off_after_the_reconnection(own: Client, name: str) -> None:
    vm, stays = own.create(name), own.create(f"{name}-2")
    for each in (vm, stays):
        own.result(each.PowerOnVM_Task())
    hosts = own.compute.host
    for host in hosts:
        own.result(host.DisconnectHost_Task())
    on_loop(own, lambda kernel: kernel.hypervisor.press_power_button(vm._moId))

    assert vm.runtime.powerState == "poweredOn"
    for host in hosts:
        own.result(host.ReconnectHost_Task())
    assert (connection(vm), vm.runtime.powerState) == ("connected", "poweredOff")
    assert stays.runtime.powerState == "poweredOn"
    assert hosts[0].runtime.powerState == "poweredOn"


def test_a_machine_whose_vmx_goes_is_inaccessible_until_it_is_back(own: Client, name: str) -> None:
    vm = own.create(name, scsi(), new_disk())
    vmx = own.file(f"[datastore1] {name}/{name}.vmx")
    vmx.rename(vmx.with_suffix(".away"))

    with pytest.raises(vim.fault.InvalidState):
        own.result(vm.PowerOnVM_Task())

    assert (connection(vm), vm.config) == ("inaccessible", None)
    assert vm.summary.config.vmPathName == f"[datastore1] {name}/{name}.vmx"
    vmx.with_suffix(".away").rename(vmx)
    own.result(vm.PowerOnVM_Task())
    assert connection(vm) == "connected"
    assert len(vm.layoutEx.disk) == 1


def test_an_inaccessible_machine_is_found_by_its_last_uuids(own: Client, name: str) -> None:
    vm = own.create(name, instanceUuid=str(uuid4()))
    config, index = vm.config, own.content.searchIndex
    own.file(f"[datastore1] {name}/{name}.vmx").unlink()
    vm.RefreshStorageInfo()

    assert (connection(vm), vm.config) == ("inaccessible", None)
    assert index.FindAllByUuid(None, config.instanceUuid, True, True) == [vm]
    assert index.FindByUuid(None, config.instanceUuid, True, True) == vm
    assert index.FindAllByUuid(None, config.uuid, True, False) == [vm]
    assert index.FindAllByUuid(None, config.uuid, True, True) == []
    own.result(vm.Destroy_Task())
    assert list(index.FindAllByUuid(None, config.instanceUuid, True, True)) == []


def test_snapshots_of_a_template_come_back_too(own: Client, name: str) -> None:
    vm, template = own.create(name), own.create(f"{name}-t")
    own.result(vm.CreateSnapshot_Task("s", memory=False, quiesce=False))
    template.MarkAsTemplate()
    folder = own.file("[datastore1] ")
    away = folder.with_name("away")
    folder.rename(away)

    datastore(own).RefreshDatastore()
    assert not datastore(own).summary.accessible
    assert not datastore(own).host[0].mountInfo.accessible
    assert [connection(each) for each in (vm, template)] == ["inaccessible"] * 2
    away.rename(folder)
    own.compute.host[0].configManager.storageSystem.RescanVmfs()

    assert datastore(own).summary.accessible
    assert [connection(each) for each in (vm, template)] == ["connected"] * 2
    assert template.config.template
    assert [each.name for each in vm.snapshot.rootSnapshotList] == ["s"]


def test_a_guest_runs_on_without_its_datastore(own: Client, name: str) -> None:
    vm = own.create(name)
    own.result(vm.PowerOnVM_Task())
    folder = own.file(f"[datastore1] {name}")
    folder.rename(folder.with_name("away"))

    vm.RefreshStorageInfo()

    assert (connection(vm), vm.runtime.powerState) == ("inaccessible", "poweredOn")
    assert vm.config.name == name
    folder.with_name("away").rename(folder)
    own.result(vm.PowerOffVM_Task())
    assert connection(vm) == "connected"


def test_of_an_orphaned_machine_only_the_entry_can_be_removed(tmp_path: Path, name: str) -> None:
    settings = LabSettings(state_dir=tmp_path / "lab", hypervisor="none")
    with Lab.run(settings) as lab:
        client = connect(lab)
        vm = client.create(name)
        orphaned(client, vm)
        assert connection(vm) == "orphaned"
        for task in (vm.PowerOnVM_Task(), vm.Destroy_Task()):
            with pytest.raises(vim.fault.InvalidState):
                client.result(task)
        client.close()
    with Lab.run(settings) as lab:
        client = connect(lab)
        [vm] = client.folder.childEntity
        assert connection(vm) == "orphaned"
        vm.UnregisterVM()
        vm = client.register(f"[datastore1] {name}/{name}.vmx")
        assert connection(vm) == "connected"
        client.close()
