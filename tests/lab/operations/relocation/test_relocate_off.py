"""Relocation of machines that are off: the files go, and everything that lists the machine."""

from __future__ import annotations

import pytest
from pyVmomi import vim, vmodl

from tests.lab.client import Client
from tests.lab.operations.relocation.places import datastore, hosts, names
from tests.lab.specs import add, device, disk, new_disk, of_type, scsi, standard_nic
from vmops.lab.storage.volumes import Volumes

ALL = vim.vm.RelocateSpec


def test_files_go_with_the_machine(client: Client, name: str) -> None:
    vm = client.create(name, scsi(), new_disk(4), new_disk(4, key=-3), standard_nic())
    second = datastore(client, "datastore2")
    disks = [each.backing.uuid for each in of_type(vm, device.VirtualDisk)]
    source = client.file(f"[datastore1] {name}/x").parent
    (source / f"{name}-flat.vmdk").write_bytes(b"content" + bytes(4 * 1024**2 - 7))

    client.result(vm.RelocateVM_Task(ALL(datastore=second)))

    target = client.file(f"[datastore2] {name}/x").parent
    assert names(source) is None
    assert {f"{name}.vmx", f"{name}-flat.vmdk", f"{name}_1.vmdk"} <= set(names(target) or ())
    assert (target / f"{name}-flat.vmdk").read_bytes().startswith(b"content")
    assert vm.config.files.vmPathName == f"[datastore2] {name}/{name}.vmx"
    assert [each.backing.fileName for each in of_type(vm, device.VirtualDisk)] == [
        f"[datastore2] {name}/{name}.vmdk",
        f"[datastore2] {name}/{name}_1.vmdk",
    ]
    assert [each.backing.uuid for each in of_type(vm, device.VirtualDisk)] == disks
    assert list(vm.datastore) == [second]
    assert vm in second.vm
    assert vm not in datastore(client, "datastore1").vm
    assert {each.name.split("]")[0] for each in vm.layoutEx.file} == {"[datastore2"}
    client.result(vm.PowerOnVM_Task())


def test_a_single_disk_goes_by_its_locator(client: Client, name: str) -> None:
    vm = client.create(name, scsi(), new_disk(4), new_disk(4, key=-3))
    second = datastore(client, "datastore2")
    key = of_type(vm, device.VirtualDisk)[1].key
    locator = ALL.DiskLocator(diskId=key, datastore=second)

    client.result(vm.RelocateVM_Task(ALL(disk=[locator])))

    assert [each.backing.fileName for each in of_type(vm, device.VirtualDisk)] == [
        f"[datastore1] {name}/{name}.vmdk",
        f"[datastore2] {name}/{name}_1.vmdk",
    ]
    assert {each.name for each in vm.datastore} == {"datastore1", "datastore2"}
    assert f"{name}_1-flat.vmdk" not in (names(client.file(f"[datastore1] {name}/x").parent) or ())


def test_a_locator_keeps_a_disk_where_it_is(client: Client, name: str) -> None:
    vm = client.create(name, scsi(), new_disk(4), new_disk(4, key=-3))
    key = of_type(vm, device.VirtualDisk)[1].key
    stay = ALL.DiskLocator(diskId=key, datastore=datastore(client, "datastore1"))

    client.result(vm.RelocateVM_Task(ALL(datastore=datastore(client, "datastore2"), disk=[stay])))

    assert [each.backing.fileName.split()[0] for each in of_type(vm, device.VirtualDisk)] == [
        "[datastore2]",
        "[datastore1]",
    ]
    assert vm.config.files.vmPathName.startswith("[datastore2]")


def test_host_folder_and_name_of_a_taken_place(client: Client, name: str) -> None:
    first, second = hosts(client)
    folder = client.folder.CreateFolder(f"f-{name}")
    client.file(f"[datastore2] {name}").mkdir()
    vm = client.create(name, scsi(), new_disk(), host=first)

    spec = ALL(host=second, folder=folder, datastore=datastore(client, "datastore2"))
    client.result(vm.RelocateVM_Task(spec))

    assert vm.runtime.host == second
    assert vm in second.vm
    assert vm not in first.vm
    assert vm.parent == folder
    assert vm in folder.childEntity
    assert vm not in client.folder.childEntity
    assert vm.config.files.vmPathName == f"[datastore2] {name}_1/{name}.vmx"


def test_a_linked_disk_leaves_the_base_that_others_stand_on(client: Client, name: str) -> None:
    base = client.create(f"{name}-base", scsi(), new_disk(4))
    path = of_type(base, device.VirtualDisk)[0].backing.fileName
    vm = client.create(name, scsi(), add(disk(4, parent=path), "create"))

    client.result(vm.RelocateVM_Task(ALL(datastore=datastore(client, "datastore2"))))

    [moved] = of_type(vm, device.VirtualDisk)
    assert moved.backing.fileName.startswith("[datastore2]")
    assert moved.backing.parent.fileName.startswith("[datastore2]")
    assert client.file(path).is_file()
    client.result(vm.PowerOnVM_Task())
    client.result(base.PowerOnVM_Task())


def test_a_base_that_is_nobodys_stays_for_the_next_clone(client: Client, name: str) -> None:
    base = client.create(f"{name}-base", scsi(), new_disk(4))
    path = of_type(base, device.VirtualDisk)[0].backing.fileName
    base.UnregisterVM()
    vm = client.create(name, scsi(), add(disk(4, parent=path), "create"))

    client.result(vm.RelocateVM_Task(ALL(datastore=datastore(client, "datastore2"))))

    [moved] = of_type(vm, device.VirtualDisk)
    assert moved.backing.parent.fileName.startswith("[datastore2]")
    assert client.file(path).is_file()


@pytest.mark.parametrize("move_type", ["moveChildMostDiskBacking", "consolidate"])
def test_chains_may_stay_or_be_flattened(client: Client, name: str, move_type: str) -> None:
    base = client.create(f"{name}-base", scsi(), new_disk(4))
    path = of_type(base, device.VirtualDisk)[0].backing.fileName
    vm = client.create(name, scsi(), add(disk(4, parent=path), "create"))
    if move_type == "consolidate":
        move_type = "moveAllDiskBackingsAndConsolidate"

    spec = ALL(datastore=datastore(client, "datastore2"), diskMoveType=move_type)
    client.result(vm.RelocateVM_Task(spec))

    [moved] = of_type(vm, device.VirtualDisk)
    assert moved.backing.fileName.startswith("[datastore2]")
    if move_type == "moveChildMostDiskBacking":
        assert moved.backing.parent.fileName == path
    else:
        assert moved.backing.parent is None
    assert client.file(path).is_file()
    client.result(vm.PowerOnVM_Task())


def test_thin_becomes_thick_on_the_way(client: Client, name: str) -> None:
    vm = client.create(name, scsi(), new_disk(4))
    second = datastore(client, "datastore2")
    thick = device.VirtualDisk.FlatVer2BackingInfo(
        fileName="", diskMode="persistent", thinProvisioned=False, eagerlyScrub=True
    )
    key = of_type(vm, device.VirtualDisk)[0].key
    locator = ALL.DiskLocator(diskId=key, datastore=second, diskBackingInfo=thick)

    client.result(vm.RelocateVM_Task(ALL(datastore=second, disk=[locator])))

    [moved] = of_type(vm, device.VirtualDisk)
    assert not moved.backing.thinProvisioned
    file = client.file(moved.backing.fileName.replace(".vmdk", "-flat.vmdk"))
    assert file.stat().st_blocks * 512 >= 4 * 1024**2


def test_a_template_moves(client: Client, name: str) -> None:
    vm = client.create(name, scsi(), new_disk())
    vm.MarkAsTemplate()

    client.result(vm.RelocateVM_Task(ALL(datastore=datastore(client, "datastore2"))))

    assert vm.config.template
    assert vm.config.files.vmPathName.startswith("[datastore2]")
    assert vm.resourcePool is None


def test_suspended_memory_goes_along(client: Client, name: str) -> None:
    vm = client.create(name, scsi(), new_disk())
    client.result(vm.PowerOnVM_Task())
    client.result(vm.SuspendVM_Task())

    client.result(vm.RelocateVM_Task(ALL(datastore=datastore(client, "datastore2"))))

    assert client.file(f"[datastore2] {name}/{name}.vmss").is_file()
    client.result(vm.PowerOnVM_Task())


def test_a_full_datastore_changes_nothing(
    client: Client, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    vm = client.create(name, scsi(), new_disk(4))
    flat = client.file(f"[datastore1] {name}/{name}-flat.vmdk")
    flat.write_bytes(b"\1" * 4 * 1024**2)
    volumes = client.lab.kernel.service(Volumes)
    monkeypatch.setattr(volumes, "_quota", 1024**2)

    with pytest.raises(vim.fault.NoDiskSpace):
        client.result(vm.RelocateVM_Task(ALL(datastore=datastore(client, "datastore2"))))

    assert vm.config.files.vmPathName.startswith("[datastore1]")
    assert flat.is_file()
    assert names(client.file(f"[datastore2] {name}/x").parent) is None


def test_what_cannot_be(client: Client, esx: Client, name: str) -> None:
    first, _ = hosts(client)
    vm = client.create(name, scsi(), new_disk(), host=first)
    one = esx.create(name)

    for spec, fault in (
        (ALL(disk=[ALL.DiskLocator(diskId=77, datastore=vm.datastore[0])]), "InvalidArgument"),
        (ALL(diskMoveType="createNewChildDiskBacking"), "InvalidArgument"),
        (ALL(folder=client.datacenter.hostFolder), "InvalidArgument"),
        (
            ALL(
                service=vim.ServiceLocator(
                    instanceUuid="x",
                    url="https://elsewhere",
                    credential=vim.ServiceLocator.NamePassword(username="a", password="b"),
                )
            ),
            "NotSupported",
        ),
    ):
        with pytest.raises(vmodl.MethodFault) as caught:
            client.result(vm.RelocateVM_Task(spec))
        assert type(caught.value).__name__.endswith(fault)
    with pytest.raises(vmodl.fault.NotSupported):
        esx.result(one.RelocateVM_Task(ALL(datastore=one.datastore[0])))
    assert vm.runtime.host == first
