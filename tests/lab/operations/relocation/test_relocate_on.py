"""Relocation of running machines, and what is refused, without guests."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from pyVmomi import vim, vmodl

from tests.lab.client import Client, connect
from tests.lab.operations.relocation.places import datastore, hosts, names
from tests.lab.operations.views import broken, machine
from tests.lab.specs import (
    add,
    change,
    device,
    disk,
    distributed_nic,
    new_disk,
    of_type,
    scsi,
    standard_nic,
)
from vmops.lab import Lab, LabSettings
from vmops.lab.kernel.kernel import Kernel

Spec = vim.vm.RelocateSpec


def running(client: Client, name: str, *changes: Any, host: Any = None) -> Any:
    vm = client.create(name, scsi(), new_disk(4), *changes, host=host)
    client.result(vm.PowerOnVM_Task())
    return vm


def test_host_and_files_at_once(client: Client, name: str) -> None:
    first, second = hosts(client)
    vm = running(client, name, new_disk(4, key=-3), standard_nic(), host=first)
    boot = vm.runtime.bootTime

    spec = Spec(host=second, datastore=datastore(client, "datastore2"))
    client.result(vm.RelocateVM_Task(spec))

    assert vm.runtime.powerState == "poweredOn"
    assert vm.runtime.bootTime == boot
    assert vm.runtime.host == second
    assert vm in second.vm
    assert vm not in first.vm
    root = client.lab.datastore_root("datastore2")
    files = [each.layers[0].file for each in machine(client, vm).disks]
    assert files == [root / name / f"{name}-flat.vmdk", root / name / f"{name}_1-flat.vmdk"]
    assert names(client.file(f"[datastore1] {name}/x").parent) is None
    assert of_type(vm, device.VirtualEthernetCard)[0].connectable.connected
    client.result(vm.PowerOffVM_Task())
    client.result(vm.PowerOnVM_Task())


def test_a_chain_moves_with_its_base(client: Client, name: str) -> None:
    base = client.create(f"{name}-base", scsi(), new_disk(4))
    path = of_type(base, device.VirtualDisk)[0].backing.fileName
    vm = client.create(name, scsi(), add(disk(4, parent=path), "create"))
    client.result(vm.PowerOnVM_Task())

    client.result(vm.RelocateVM_Task(Spec(datastore=datastore(client, "datastore2"))))

    [top] = of_type(vm, device.VirtualDisk)
    root = client.lab.datastore_root("datastore2")
    [held] = machine(client, vm).disks
    assert [each.file.is_relative_to(root) for each in held.layers] == [True, True]
    assert top.backing.parent.fileName.startswith("[datastore2]")
    assert client.file(path).is_file()


def test_migrate_changes_the_host_alone(client: Client, name: str) -> None:
    first, second = hosts(client)
    vm = running(client, name, host=first)

    client.result(vm.MigrateVM_Task(None, second, "defaultPriority"))

    assert vm.runtime.host == second
    assert vm.config.files.vmPathName.startswith("[datastore1]")
    with pytest.raises(vim.fault.InvalidPowerState):
        client.result(vm.MigrateVM_Task(None, first, "defaultPriority", "poweredOff"))


def test_cards_change_their_network_on_the_way(client: Client, name: str) -> None:
    first, second = hosts(client)
    vm = running(client, name, standard_nic(), host=first)
    [card] = of_type(vm, device.VirtualEthernetCard)
    group = client.network("dv-net")
    wanted = distributed_nic(group).device.backing
    edited = type(card)(key=card.key, backing=wanted)

    client.result(vm.RelocateVM_Task(Spec(host=second, deviceChange=[change("edit", edited)])))

    [card] = of_type(vm, device.VirtualEthernetCard)
    assert card.backing.port.portgroupKey == group.key
    assert card.connectable.connected
    assert [each.segment for each in machine(client, vm).nics] == [group._moId]
    assert list(vm.network) == [group]
    assert vm in group.vm


def test_a_network_the_host_has_not_is_named(own: Client, name: str) -> None:
    first, second = hosts(own)
    first.configManager.networkSystem.AddPortGroup(
        vim.host.PortGroup.Specification(
            name="only-here", vlanId=7, vswitchName="vSwitch0", policy=vim.host.NetworkPolicy()
        )
    )
    vm = running(own, name, standard_nic("only-here"), host=first)

    with pytest.raises(vim.fault.CannotAccessNetwork) as caught:
        own.result(vm.MigrateVM_Task(None, second, "defaultPriority"))

    assert caught.value.backing == "only-here"
    assert vm.runtime.host == first


def test_a_datastore_the_host_cannot_reach(own: Client, name: str) -> None:
    first, second = hosts(own)
    on_second = running(own, f"{name}-1", host=second)
    there = own.create(name, scsi(), new_disk(4), host=first, path="[datastore2]")
    store = datastore(own, "datastore2")

    async def unmount(kernel: Kernel) -> None:
        found = kernel.registry.get(store._moId)
        kernel.update(found, {"host": [m for m in found.properties["host"] if m.key != second]})

    own.lab.on_loop(unmount)

    with pytest.raises(vim.fault.CannotAccessVmConfig):
        own.result(there.MigrateVM_Task(None, second, "defaultPriority"))
    with pytest.raises(vim.fault.InvalidDatastore) as caught:
        own.result(on_second.RelocateVM_Task(Spec(datastore=store)))
    assert caught.value.datastore == store


@pytest.mark.parametrize(
    ("method", "after"), [("mirror_disk", 0), ("mirror_disk", 1), ("migrate", 0)]
)
def test_a_failure_leaves_it_where_it_was(
    client: Client, name: str, monkeypatch: pytest.MonkeyPatch, method: str, after: int
) -> None:
    first, second = hosts(client)
    vm = running(client, name, new_disk(4, key=-3), host=first)
    before = names(client.file(f"[datastore1] {name}/x").parent)
    paths = [each.backing.fileName for each in of_type(vm, device.VirtualDisk)]
    broken(client, monkeypatch, method, after)

    with pytest.raises(vim.fault.GenericVmConfigFault, match="cable"):
        client.result(
            vm.RelocateVM_Task(Spec(host=second, datastore=datastore(client, "datastore2")))
        )

    assert vm.runtime.powerState == "poweredOn"
    assert vm.runtime.host == first
    assert [each.backing.fileName for each in of_type(vm, device.VirtualDisk)] == paths
    root = client.lab.datastore_root("datastore1")
    assert all(each.layers[0].file.is_relative_to(root) for each in machine(client, vm).disks)
    assert names(client.file(f"[datastore1] {name}/x").parent) == before
    assert names(client.file(f"[datastore2] {name}/x").parent) is None
    client.result(vm.RelocateVM_Task(Spec(datastore=datastore(client, "datastore2"))))


def test_a_cancelled_move_leaves_it_where_it_was(
    client: Client, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    vm = running(client, name)
    begun = threading.Event()

    async def never(*_arguments: object) -> None:
        begun.set()
        await asyncio.sleep(60)

    monkeypatch.setattr(client.lab.kernel.hypervisor, "mirror_disk", never)
    task = vm.RelocateVM_Task(Spec(datastore=datastore(client, "datastore2")))
    assert begun.wait(30)
    task.CancelTask()

    with pytest.raises(vmodl.fault.RequestCanceled):
        client.result(task)

    assert vm.config.files.vmPathName.startswith("[datastore1]")
    assert names(client.file(f"[datastore2] {name}/x").parent) is None


def test_a_move_that_is_cancelled_too_late_is_done(
    client: Client, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    vm = running(client, name)
    begun = threading.Event()
    hypervisor = client.lab.kernel.hypervisor
    mirror_disk = hypervisor.mirror_disk

    async def switch(*arguments: Any) -> None:
        begun.set()
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(60)
        await mirror_disk(*arguments)

    monkeypatch.setattr(hypervisor, "mirror_disk", switch)
    task = vm.RelocateVM_Task(Spec(datastore=datastore(client, "datastore2")))
    assert begun.wait(30)
    task.CancelTask()

    client.result(task)

    assert vm.config.files.vmPathName.startswith("[datastore2]")
    [used] = machine(client, vm).disks
    assert used.layers[0].file.is_relative_to(client.lab.datastore_root("datastore2"))
    assert used.layers[0].file.is_file()


def test_where_it_stands_survives_a_restart(tmp_path: Path, name: str) -> None:
    settings = LabSettings(state_dir=tmp_path / "lab", hypervisor="none")
    with Lab.run(settings) as lab:
        client = connect(lab)
        vm = client.create(name, scsi(), new_disk(4), host=hosts(client)[0])
        spec = Spec(host=hosts(client)[1], datastore=datastore(client, "datastore2"))
        client.result(vm.RelocateVM_Task(spec))
        client.close()
    with Lab.run(settings) as lab:
        client = connect(lab)
        [vm] = client.folder.childEntity
        assert vm.runtime.host == hosts(client)[1]
        assert vm.config.files.vmPathName == f"[datastore2] {name}/{name}.vmx"
        assert of_type(vm, device.VirtualDisk)[0].capacityInKB == 4096
        client.close()
