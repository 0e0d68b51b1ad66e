"""Operations on different machines at the same time: neither sees the other come and go."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any
from uuid import uuid4

import pytest
from pyVmomi import vim

from tests.lab.client import Client, connect
from tests.lab.machines import Machine
from tests.lab.operations.relocation.places import datastore
from tests.lab.specs import add, change, device, disk, new_disk, of_type, scsi
from vmops.lab import Lab, LabSettings

SECONDS = 0.5


@pytest.fixture(scope="module")
def pairs_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    settings = LabSettings(state_dir=tmp_path_factory.mktemp("pairs"), hypervisor="none")
    with Lab.run(settings) as running:
        yield running


@pytest.fixture(scope="module")
def base(pairs_lab: Lab) -> Iterator[Machine]:
    """A machine that is all actors': they clone it, and read its disk."""
    client = connect(pairs_lab)
    machine = Machine(client, client.create("base", scsi(), new_disk()))
    machine.write(1)
    machine.snapshot("one")
    machine.write(2)
    yield machine
    client.close()


def own(client: Client, *changes: Any) -> Machine:
    name = f"own-{uuid4().hex[:8]}"
    return Machine(client, client.create(name, scsi(), *(changes or (new_disk(1),))))


def create_and_destroy(client: Client, base: Machine) -> None:
    own(client).destroy()


def snapshot(client: Client, base: Machine) -> None:
    machine = own(client)
    snapshot = machine.snapshot("one")
    machine.on()
    machine.snapshot("two", memory=True)
    machine.remove(snapshot)
    machine.result(machine.RemoveAllSnapshots_Task())
    assert not machine.runtime.consolidationNeeded
    assert machine.vmdks == {".vmdk"}
    machine.destroy()


def linked_clone(client: Client, base: Machine) -> None:
    where = vim.vm.RelocateSpec(diskMoveType="createNewChildDiskBacking")
    snapshot = base.vm.snapshot.currentSnapshot
    spec = vim.vm.CloneSpec(location=where, snapshot=snapshot, powerOn=False, template=False)
    task = base.vm.CloneVM_Task(client.folder, f"linked-{uuid4().hex[:8]}", spec)
    clone = Machine(client, client.result(task))
    clone.remove(clone.result(clone.CreateSnapshot_Task("x", "", False, False)))
    clone.destroy()


def full_clone(client: Client, base: Machine) -> None:
    spec = vim.vm.CloneSpec(location=vim.vm.RelocateSpec(), powerOn=True, template=False)
    task = base.vm.CloneVM_Task(client.folder, f"full-{uuid4().hex[:8]}", spec)
    Machine(client, client.result(task)).destroy()


def relocate(client: Client, base: Machine) -> None:
    machine = own(client)
    machine.on()
    for name in ("datastore2", "datastore1"):
        where = vim.vm.RelocateSpec(datastore=datastore(client, name))
        client.result(machine.RelocateVM_Task(where))
    machine.destroy()


def disks(client: Client, base: Machine) -> None:
    machine = own(client, new_disk(1), new_disk(1, key=-5))
    second = of_type(machine.vm, device.VirtualDisk)[1]
    client.reconfigure(machine.vm, change("remove", second))
    manager = client.content.virtualDiskManager
    path = second.backing.fileName
    copied = path.replace(".vmdk", "-copied.vmdk")
    client.result(manager.CopyVirtualDisk_Task(path, client.datacenter, copied, client.datacenter))
    client.result(manager.DeleteVirtualDisk_Task(path, client.datacenter))
    client.reconfigure(machine.vm, add(disk(1, name=copied, key=-6, controller=1000)))
    machine.destroy()


def files(client: Client, base: Machine) -> None:
    manager, center = client.content.fileManager, client.datacenter
    name = f"[datastore1] files-{uuid4().hex[:8]}"
    manager.MakeDirectory(f"{name}/a/b", center, True)
    client.result(manager.CopyDatastoreFile_Task(name, center, f"{name}-b", center, False))
    client.result(manager.MoveDatastoreFile_Task(f"{name}-b", center, f"{name}-c", center, False))
    for each in (name, f"{name}-c"):
        client.result(manager.DeleteDatastoreFile_Task(each, center))


def search(client: Client, base: Machine) -> None:
    browser = datastore(client, "datastore1").browser
    details = vim.host.DatastoreBrowser.FileInfo.Details(
        fileSize=True, fileType=True, fileOwner=True, modification=True
    )
    spec = vim.host.DatastoreBrowser.SearchSpec(details=details, matchPattern=["*"])
    found = client.result(browser.SearchDatastoreSubFolders_Task("[datastore1]", spec))
    assert any(each.folderPath.rstrip("/") == "[datastore1] base" for each in found)
    status, _, page = client.request("GET", client.url(""))
    assert status == 200
    assert b"base" in page
    for datastore_ in client.datacenter.datastore:
        datastore_.RefreshDatastore()


ACTORS: list[Callable[[Client, Machine], None]] = [
    create_and_destroy, snapshot, linked_clone, full_clone, relocate, disks, files, search,
]  # fmt: skip


@pytest.mark.parametrize(
    ("one", "other"),
    list(itertools.combinations_with_replacement(ACTORS, 2)),
    ids=lambda actor: actor.__name__,
)
def test_two_at_once(
    pairs_lab: Lab,
    base: Machine,
    one: Callable[[Client, Machine], None],
    other: Callable[[Client, Machine], None],
) -> None:
    over = threading.Event()

    def again_and_again(act: Callable[[Client, Machine], None]) -> int:
        client = connect(pairs_lab)
        theirs = Machine(client, vim.VirtualMachine(base.vm._moId, client.stub))
        rounds = 0
        try:
            while not rounds or not over.is_set():
                act(client, theirs)
                rounds += 1
        finally:
            over.set()
            with suppress(Exception):
                client.close()
        return rounds

    with ThreadPoolExecutor(2) as threads:
        running = [threads.submit(again_and_again, act) for act in (one, other)]
        end = time.monotonic() + SECONDS
        while time.monotonic() < end and not over.wait(0.02):
            pass
        over.set()
    assert all(each.result() for each in running)
    client = base.client
    assert [vm.name for vm in client.folder.childEntity] == ["base"]
    for name in ("datastore1", "datastore2"):
        root = client.root(name)
        left = {each.name for each in root.iterdir()} - {"base"}
        assert not left, left
    assert base.read() == 2


def test_a_disk_that_somebody_is_about_to_stand_on_does_not_move_away(own: Client) -> None:
    """Either the new machine has its parent, or it is not made."""
    base = Machine(own, own.create("base", scsi(), new_disk()))
    base.write(7)
    over = threading.Event()

    def move() -> int:
        client = connect(own.lab)
        try:
            return move_with(client)
        finally:
            client.close()

    def move_with(client: Client) -> int:
        rounds = 0
        while not over.is_set():
            name = ("datastore2", "datastore1")[rounds % 2]
            where = vim.vm.RelocateSpec(datastore=datastore(client, name))
            theirs = Machine(client, vim.VirtualMachine(base.vm._moId, client.stub))
            try:
                theirs.result(theirs.RelocateVM_Task(where))
            except vim.fault.FileLocked:
                continue  # somebody is just about to stand on its disk
            rounds += 1
        return rounds

    made = 0
    with ThreadPoolExecutor(1) as threads:
        moving = threads.submit(move)
        try:
            end = time.monotonic() + 4 * SECONDS
            while time.monotonic() < end and not moving.done():
                parent = add(disk(parent=base.disk), "create")
                try:
                    child = Machine(own, own.create(f"child-{made}", scsi(), parent))
                except vim.fault.FileFault:
                    continue
                made += 1
                assert child.read() == 7
                child.destroy()
        finally:
            over.set()
        assert moving.result()
    assert made
    assert base.read() == 7
