"""Machines with snapshots move as a whole: every layer, every configuration, the memory."""

from __future__ import annotations

from typing import Any

import pytest
from pyVmomi import vim, vmodl

from tests.lab.client import Client
from tests.lab.operations.relocation.places import datastore, names
from tests.lab.operations.views import broken
from tests.lab.specs import device, file_of, new_disk, of_type, scsi

Spec = vim.vm.RelocateSpec


@pytest.fixture
def vm(client: Client, name: str) -> Any:
    """On snapshot b, beside c, both on a; a disk was removed after a; b has memory."""
    made = client.create(name, scsi(), new_disk(4), new_disk(4, key=-3))
    snapshot(client, made, "a")
    second = of_type(made, device.VirtualDisk)[1]
    removal = device.VirtualDeviceSpec(operation="remove", fileOperation="destroy", device=second)
    client.reconfigure(made, removal)
    client.result(made.PowerOnVM_Task())
    snapshot(client, made, "b", memory=True)
    client.result(made.PowerOffVM_Task())
    client.result(made.snapshot.rootSnapshotList[0].snapshot.RevertToSnapshot_Task())
    snapshot(client, made, "c")
    client.result(find(made, "b").RevertToSnapshot_Task(suppressPowerOn=True))
    return made


def snapshot(client: Client, vm: Any, name: str, *, memory: bool = False) -> None:
    client.result(vm.CreateSnapshot_Task(name, "", memory, False))


def find(vm: Any, name: str) -> Any:
    left = list(vm.snapshot.rootSnapshotList)
    while left:
        node = left.pop()
        if node.name == name:
            return node.snapshot
        left += node.childSnapshotList
    raise LookupError(name)


def disks(snapshot: Any) -> list[str]:
    return [file_of(each) for each in of_type(snapshot, device.VirtualDisk)]


@pytest.mark.parametrize("power", ["off", "on"])
def test_all_of_it_moves(client: Client, vm: Any, name: str, power: str) -> None:
    if power == "on":
        client.result(vm.PowerOnVM_Task())
    before = names(client.file(f"[datastore1] {name}/x").parent)

    client.result(vm.RelocateVM_Task(Spec(datastore=datastore(client, "datastore2"))))

    after = names(client.file(f"[datastore2] {name}/x").parent)
    assert after == before
    assert names(client.file(f"[datastore1] {name}/x").parent) is None
    for each in ("a", "b", "c"):
        assert all(path.startswith("[datastore2]") for path in disks(find(vm, each)))
        assert find(vm, each).config.files.vmPathName == f"[datastore2] {name}/{name}.vmx"
    if power == "on":
        client.result(vm.PowerOffVM_Task())
    for each in ("a", "c", "b"):
        client.result(find(vm, each).RevertToSnapshot_Task())
    assert vm.runtime.powerState == "poweredOn"
    client.result(vm.PowerOffVM_Task())
    client.result(vm.RemoveAllSnapshots_Task())
    assert vm.snapshot is None
    assert of_type(vm, device.VirtualDisk)[0].backing.parent is None


def test_a_failure_leaves_the_snapshots_as_they_were(
    client: Client, vm: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.result(vm.PowerOnVM_Task())
    before = {each: disks(find(vm, each)) for each in ("a", "b", "c")}
    broken(client, monkeypatch, "mirror_disk")

    with pytest.raises(vim.fault.GenericVmConfigFault):
        client.result(vm.RelocateVM_Task(Spec(datastore=datastore(client, "datastore2"))))

    assert {each: disks(find(vm, each)) for each in ("a", "b", "c")} == before
    assert names(client.file(f"[datastore2] {name}/x").parent) is None
    client.result(vm.PowerOffVM_Task())
    for each in ("a", "c", "b"):
        client.result(find(vm, each).RevertToSnapshot_Task(suppressPowerOn=True))


def test_chains_that_snapshots_need_are_not_flattened(client: Client, vm: Any) -> None:
    spec = Spec(
        datastore=datastore(client, "datastore2"), diskMoveType="moveAllDiskBackingsAndConsolidate"
    )
    with pytest.raises(vmodl.fault.NotSupported):
        client.result(vm.RelocateVM_Task(spec))


def test_one_disk_of_a_machine_with_snapshots(client: Client, name: str) -> None:
    vm = client.create(name, scsi(), new_disk(4), new_disk(4, key=-3))
    snapshot(client, vm, "a")
    key = of_type(vm, device.VirtualDisk)[1].key
    locator = Spec.DiskLocator(diskId=key, datastore=datastore(client, "datastore2"))

    client.result(vm.RelocateVM_Task(Spec(disk=[locator])))

    assert [path.split()[0] for path in disks(find(vm, "a"))] == ["[datastore1]", "[datastore2]"]
    client.result(find(vm, "a").RevertToSnapshot_Task())
    client.result(vm.PowerOnVM_Task())
