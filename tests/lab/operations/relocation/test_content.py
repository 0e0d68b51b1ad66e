"""A relocation moves every byte, whatever layer it is in, and changes nobody else's disk."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from pyVmomi import vim

from tests.lab.client import Client
from tests.lab.machines import CLUSTER, Machine
from tests.lab.operations.relocation.places import datastore
from tests.lab.operations.views import broken
from tests.lab.specs import add, device, disk, new_disk, of_type, scsi
from vmops.lab.storage.chains import load_chain, opened
from vmops.lab.storage.layers import flattened
from vmops.lab.storage.paths import DatastorePath
from vmops.lab.storage.volumes import Volumes

POWER = ["off", "on", "suspended"]
MOVE_TYPES = [
    None,
    "moveAllDiskBackingsAndAllowSharing",
    "moveAllDiskBackingsAndDisallowSharing",
    "moveChildMostDiskBacking",
    "moveAllDiskBackingsAndConsolidate",
]
EVERYWHERE = pytest.mark.parametrize("power", POWER)


def checksum(client: Client, path: str) -> str:
    """Of what a guest would read, layer by layer from the files."""
    names = ("datastore1", "datastore2")
    volumes = Volumes({name: client.lab.datastore_root(name) for name in names})
    chain = load_chain(volumes, DatastorePath.parse(path))
    seen = bytearray(chain[0].capacity_bytes)
    with opened(chain, locked=False) as layers:
        for offset, data in flattened(layers):
            seen[offset : offset + len(data)] = data
    return hashlib.sha256(seen).hexdigest()


def file_of(vm: Any) -> str:
    [found] = of_type(vm, device.VirtualDisk)
    return str(found.backing.fileName)


def bring(client: Client, vm: Any, power: str) -> None:
    if power != "off":
        client.result(vm.PowerOnVM_Task())
    if power == "suspended":
        client.result(vm.SuspendVM_Task())


def base_and_clone(client: Client, name: str) -> tuple[Machine, Machine]:
    """A machine, and another whose disk stands on its disk; both hold data of their own."""
    base = Machine(client, client.create(f"{name}-base", scsi(), new_disk(4)))
    for at in range(4):
        base.write(1 + at, at=at * CLUSTER)
    clone = Machine(client, client.create(name, scsi(), add(disk(4, parent=base.disk), "create")))
    for at in range(2, 12):
        clone.write(101 + at, at=at * CLUSTER)
    return base, clone


@EVERYWHERE
@pytest.mark.parametrize("move_type", MOVE_TYPES)
def test_a_linked_clone(client: Client, name: str, power: str, move_type: str | None) -> None:
    base, clone = base_and_clone(client, name)
    before = {each.name: checksum(client, each.disk) for each in (base, clone)}
    bring(client, clone.vm, power)
    for place in ("datastore2", "datastore1"):
        spec = vim.vm.RelocateSpec(datastore=datastore(client, place), diskMoveType=move_type)
        client.result(clone.RelocateVM_Task(spec))
        assert file_of(clone.vm).startswith(f"[{place}]")
        assert {each.name: checksum(client, each.disk) for each in (base, clone)} == before
    if power == "on":
        client.result(clone.PowerOffVM_Task())
        assert checksum(client, clone.disk) == before[name]


@EVERYWHERE
@pytest.mark.parametrize("move_type", MOVE_TYPES)
def test_a_machine_that_others_stand_on(
    client: Client, name: str, power: str, move_type: str | None
) -> None:
    base, clone = base_and_clone(client, name)
    before = {each.name: checksum(client, each.disk) for each in (base, clone)}
    bring(client, base.vm, power)
    for place in ("datastore2", "datastore1"):
        spec = vim.vm.RelocateSpec(datastore=datastore(client, place), diskMoveType=move_type)
        client.result(base.RelocateVM_Task(spec))
        assert {each.name: checksum(client, each.disk) for each in (base, clone)} == before


@EVERYWHERE
@pytest.mark.parametrize("is_linked", [False, True])
def test_one_with_a_snapshot(client: Client, name: str, power: str, is_linked: bool) -> None:
    base, clone = base_and_clone(client, name)
    machine = clone if is_linked else base
    machine.snapshot("one")
    machine.write(77)
    before = {each.name: checksum(client, each.disk) for each in (base, clone)}
    bring(client, machine.vm, power)
    spec = vim.vm.RelocateSpec(datastore=datastore(client, "datastore2"))
    client.result(machine.RelocateVM_Task(spec))
    assert {each.name: checksum(client, each.disk) for each in (base, clone)} == before
    machine.remove(machine.current)
    assert {each.name: checksum(client, each.disk) for each in (base, clone)} == before


@pytest.mark.parametrize("move_type", MOVE_TYPES)
def test_one_that_is_brought_back(
    client: Client, name: str, monkeypatch: pytest.MonkeyPatch, move_type: str | None
) -> None:
    """The processor cannot move after the disks have: they come back, with their content."""
    base, clone = base_and_clone(client, name)
    before = {each.name: checksum(client, each.disk) for each in (base, clone)}
    bring(client, clone.vm, "on")
    place = clone.disk
    broken(client, monkeypatch, "migrate")
    spec = vim.vm.RelocateSpec(
        datastore=datastore(client, "datastore2"),
        diskMoveType=move_type,
        host=next(each for each in client.compute.host if each != clone.runtime.host),
    )
    with pytest.raises(vim.fault.GenericVmConfigFault, match="the cable is cut"):
        client.result(clone.RelocateVM_Task(spec))
    assert clone.disk == place
    assert {each.name: checksum(client, each.disk) for each in (base, clone)} == before


@EVERYWHERE
def test_what_was_copied_with_a_linked_clone_goes_with_it(
    client: Client, name: str, power: str
) -> None:
    base, clone = base_and_clone(client, name)
    before = checksum(client, base.disk)
    bring(client, clone.vm, power)
    for place in ("datastore2", "datastore1", "datastore2"):
        spec = vim.vm.RelocateSpec(datastore=datastore(client, place))
        client.result(clone.RelocateVM_Task(spec))
        copies = [
            each
            for root in ("datastore1", "datastore2")
            for each in client.root(root).rglob(f"{name}-base*-flat.vmdk")
            if each != client.file(base.disk.replace(".vmdk", "-flat.vmdk"))
        ]
        assert len(copies) == 1
    clone.destroy()
    for root in ("datastore1", "datastore2"):
        assert not (client.root(root) / name).exists()
    assert checksum(client, base.disk) == before
