"""Destroy_Task and UnregisterVM: what goes, and what stays."""

from __future__ import annotations

import pytest
from pyVmomi import vim, vmodl

from tests.lab.client import Client
from tests.lab.specs import add, device, disk, new_disk, of_type, scsi, standard_nic


def test_a_destroyed_machine_is_gone_from_everywhere(client: Client, name: str) -> None:
    vm = client.create(name, scsi(), new_disk(), standard_nic())
    client.result(vm.PowerOnVM_Task())
    client.result(vm.CreateScreenshot_Task())
    client.result(vm.SuspendVM_Task())
    host, datastore = vm.runtime.host, vm.datastore[0]

    client.result(vm.Destroy_Task())

    assert not client.file(f"[datastore1] {name}").exists()
    for holders in (host.vm, datastore.vm, client.pool.vm, client.network("VM Network").vm):
        assert vm not in holders
    assert vm not in client.folder.childEntity
    with pytest.raises(vmodl.fault.ManagedObjectNotFound):
        assert vm.name


def test_files_of_others_stay_and_so_does_their_folder(client: Client, name: str) -> None:
    vm = client.create(name, scsi(), new_disk())
    foreign = client.file(f"[datastore1] {name}/notes.txt")
    foreign.write_text("mine")

    client.result(vm.Destroy_Task())

    assert [each.name for each in foreign.parent.iterdir()] == ["notes.txt"]


def test_the_parent_of_a_linked_clone_survives_both_its_child_and_its_machine(
    client: Client, name: str
) -> None:
    parent = client.create(f"{name}-p", scsi(), new_disk())
    path = of_type(parent, device.VirtualDisk)[0].backing.fileName
    child = client.create(name, scsi(), add(disk(0, parent=path), "create"))

    client.result(parent.Destroy_Task())

    assert client.file(path).is_file()
    client.result(child.PowerOnVM_Task())
    client.result(child.PowerOffVM_Task())
    client.result(child.Destroy_Task())
    assert client.file(path).is_file()
    assert not client.file(f"[datastore1] {name}").exists()


def test_an_image_in_a_drive_stays(client: Client, name: str) -> None:
    iso = client.file(f"[datastore1] {name}.iso")
    iso.write_bytes(bytes(2048))
    drive = device.VirtualCdrom(
        key=-1,
        controllerKey=200,
        backing=device.VirtualCdrom.IsoBackingInfo(fileName=f"[datastore1] {name}.iso"),
    )
    vm = client.create(name, add(drive))

    client.result(vm.Destroy_Task())

    assert iso.is_file()


def test_an_unregistered_machine_keeps_its_files(client: Client, name: str) -> None:
    vm = client.create(name, scsi(), new_disk())
    before = sorted(client.file(f"[datastore1] {name}").iterdir())

    vm.UnregisterVM()

    assert sorted(client.file(f"[datastore1] {name}").iterdir()) == before
    assert vm not in client.folder.childEntity
    with pytest.raises(vmodl.fault.ManagedObjectNotFound):
        vm.UnregisterVM()


def test_a_second_destroy_finds_nothing(client: Client, name: str) -> None:
    vm = client.create(name)

    client.result(vm.Destroy_Task())
    with pytest.raises(vmodl.fault.ManagedObjectNotFound):
        client.result(vm.Destroy_Task())


def test_a_folder_is_destroyed_with_what_is_in_it_unless_something_runs(
    client: Client, name: str
) -> None:
    outer = client.folder.CreateFolder(name)
    inner = outer.CreateFolder("inner")
    vm = client.create(name, scsi(), new_disk(), folder=inner)
    client.result(vm.PowerOnVM_Task())

    with pytest.raises(vim.fault.InvalidState):
        client.result(outer.Destroy_Task())
    client.result(vm.PowerOffVM_Task())
    client.result(outer.Destroy_Task())

    assert not client.file(f"[datastore1] {name}").exists()
    assert all(each.name != name for each in client.folder.childEntity)
    with pytest.raises(vmodl.fault.NotSupported):
        client.result(client.folder.Destroy_Task())
