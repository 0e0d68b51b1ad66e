"""First class disks: made, attached and kept, whatever machine has them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pyVmomi import vim, vmodl

from tests.lab.client import Client, connect
from tests.lab.operations.relocation.places import datastore
from tests.lab.operations.views import machine
from tests.lab.specs import device, new_disk, of_type, scsi
from vmops.lab import Lab, LabSettings

MIB = 1024**2


def manager(client: Client) -> Any:
    return client.content.vStorageObjectManager


def make(
    client: Client,
    name: str,
    *,
    mib: int = 4,
    store: str = "datastore1",
    provisioning: str = "thin",
    **fields: Any,
) -> Any:
    backing = vim.vslm.CreateSpec.DiskFileBackingSpec(
        datastore=datastore(client, store), provisioningType=provisioning
    )
    spec = vim.vslm.CreateSpec(name=name, capacityInMB=mib, backingSpec=backing, **fields)
    return client.result(manager(client).CreateDisk_Task(spec)).config


def retrieve(client: Client, disk: Any, store: str = "datastore1") -> Any:
    return manager(client).RetrieveVStorageObject(disk.id, datastore(client, store)).config


def test_a_disk_of_its_own(client: Client, name: str) -> None:
    disk = make(client, name, keepAfterDeleteVm=True)
    store = datastore(client, "datastore1")

    assert (disk.name, disk.capacityInMB, disk.keepAfterDeleteVm) == (name, 4, True)
    file = client.file(disk.backing.filePath.replace(".vmdk", "-flat.vmdk"))
    assert file.stat().st_size == 4 * MIB
    assert disk.id.id in [each.id for each in manager(client).ListVStorageObject(store)]
    manager(client).RenameVStorageObject(disk.id, store, "other")
    client.result(manager(client).ExtendDisk_Task(disk.id, store, 8))
    shown = retrieve(client, disk)
    assert (shown.name, shown.capacityInMB) == ("other", 8)
    client.result(manager(client).DeleteVStorageObject_Task(disk.id, store))
    assert not file.exists()
    with pytest.raises(vim.fault.NotFound):
        retrieve(client, disk)


def test_it_is_attached_while_its_machine_runs_and_by_one_id(client: Client, name: str) -> None:
    vm = client.create(name, scsi(), new_disk(4))
    client.result(vm.PowerOnVM_Task())
    disk = make(client, name)
    store = datastore(client, "datastore1")

    client.result(vm.AttachDisk_Task(disk.id, store, 1000, 5))

    attached = of_type(vm, device.VirtualDisk)[1]
    assert attached.unitNumber == 5
    assert attached.vDiskId.id == disk.id.id
    assert attached.capacityInBytes == 4 * MIB
    assert machine(client, vm).disks[1].layers[0].file == client.file(
        disk.backing.filePath.replace(".vmdk", "-flat.vmdk")
    )
    shown = retrieve(client, disk)
    assert [each.id for each in shown.consumerId] == [vm.config.instanceUuid]
    for task in (
        manager(client).DeleteVStorageObject_Task(disk.id, store),
        manager(client).ExtendDisk_Task(disk.id, store, 8),
    ):
        with pytest.raises(vim.fault.InvalidState):
            client.result(task)
    client.result(vm.DetachDisk_Task(disk.id))
    assert len(machine(client, vm).disks) == 1
    assert client.file(disk.backing.filePath).is_file()
    with pytest.raises(vim.fault.NotFound):
        client.result(vm.DetachDisk_Task(disk.id))


def test_only_one_machine_has_it_also_when_none_of_them_runs(client: Client, name: str) -> None:
    disk, store = make(client, name), datastore(client, "datastore1")
    holder, other = client.create(name, scsi()), client.create(f"{name}-2", scsi())
    client.result(holder.AttachDisk_Task(disk.id, store))

    with pytest.raises(vim.fault.ResourceInUse) as refused:
        client.result(other.AttachDisk_Task(disk.id, store))

    assert refused.value.name == name
    client.result(holder.DetachDisk_Task(disk.id))
    client.result(other.AttachDisk_Task(disk.id, store))


def test_whether_it_goes_with_its_machine(client: Client, name: str) -> None:
    stays, goes = make(client, f"{name}-1", keepAfterDeleteVm=True), make(client, f"{name}-2")
    store = datastore(client, "datastore1")
    vm = client.create(name, scsi())
    for disk in (stays, goes):
        client.result(vm.AttachDisk_Task(disk.id, store))

    client.result(vm.Destroy_Task())

    assert client.file(stays.backing.filePath).is_file()
    assert list(retrieve(client, stays).consumerId) == []
    assert not client.file(goes.backing.filePath).exists()
    with pytest.raises(vim.fault.NotFound):
        retrieve(client, goes)
    manager(client).ClearVStorageObjectControlFlags(stays.id, store, ["keepAfterDeleteVm"])
    assert not retrieve(client, stays).keepAfterDeleteVm


def test_it_follows_its_machine_to_another_datastore(client: Client, name: str) -> None:
    disk = make(client, name, keepAfterDeleteVm=True)
    vm = client.create(name, scsi())
    client.result(vm.AttachDisk_Task(disk.id, datastore(client, "datastore1")))

    spec = vim.vm.RelocateSpec(datastore=datastore(client, "datastore2"))
    client.result(vm.RelocateVM_Task(spec))

    shown = retrieve(client, disk, "datastore2")
    assert shown.backing.filePath == of_type(vm, device.VirtualDisk)[0].backing.fileName
    with pytest.raises(vim.fault.NotFound):
        retrieve(client, disk)


def test_a_disk_that_is_there_becomes_one(client: Client, name: str) -> None:
    vm = client.create(name, scsi(), new_disk(4))
    path = of_type(vm, device.VirtualDisk)[0].backing.fileName

    disk = manager(client).RegisterDisk(path, "data").config

    assert (disk.name, disk.backing.filePath, disk.keepAfterDeleteVm) == ("data", path, True)
    assert [each.id for each in disk.consumerId] == [vm.config.instanceUuid]
    with pytest.raises(vim.fault.AlreadyExists):
        manager(client).RegisterDisk(path, "again")
    with pytest.raises(vim.fault.FileNotFound):
        manager(client).RegisterDisk("[datastore1] nothing.vmdk", "x")
    client.result(vm.Destroy_Task())
    assert client.file(path).is_file()


def test_what_cannot_be(client: Client, name: str) -> None:
    store = datastore(client, "datastore1")
    for fields in ({"mib": 0}, {"provisioning": "sponge"}):
        with pytest.raises(vmodl.fault.InvalidArgument):
            make(client, name, **fields)
    for text in ("../../etc/passwd", "x", "00000000-0000-0000-0000-000000000000"):
        with pytest.raises(vim.fault.NotFound):
            manager(client).RetrieveVStorageObject(vim.vslm.ID(id=text), store)
    with pytest.raises(vmodl.fault.NotSupported):
        manager(client).VStorageObjectCreateSnapshot_Task(vim.vslm.ID(id="x"), store, "d")


def test_on_a_single_host_and_over_a_restart(tmp_path: Path, name: str) -> None:
    settings = LabSettings(state_dir=tmp_path / "lab", hypervisor="none", esx=True)
    with Lab.run(settings) as lab:
        client = connect(lab)
        backing = vim.vslm.CreateSpec.DiskFileBackingSpec(datastore=datastore(client, "datastore1"))
        spec = vim.vslm.CreateSpec(name=name, capacityInMB=4, backingSpec=backing)
        disk = client.result(manager(client).HostCreateDisk_Task(spec)).config
        vm = client.create(name, scsi())
        client.result(vm.AttachDisk_Task(disk.id, datastore(client, "datastore1")))
        client.close()
    with Lab.run(settings) as lab:
        client = connect(lab)
        [vm] = client.folder.childEntity
        assert of_type(vm, device.VirtualDisk)[0].vDiskId.id == disk.id.id
        store = datastore(client, "datastore1")
        assert manager(client).HostRetrieveVStorageObject(disk.id, store).config.name == name
        client.result(vm.DetachDisk_Task(disk.id))
        client.close()
