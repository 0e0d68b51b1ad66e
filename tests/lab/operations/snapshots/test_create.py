"""Taking snapshots: the tree, the files, the disks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from pyVmomi import vim, vmodl

from tests.lab.machines import MIB, Machine, frozen_disk, only_node
from tests.lab.operations.views import guests
from tests.lab.specs import add, change, disk, extra, new_disk, scsi
from vmops.lab.kernel.kernel import Kernel
from vmops.lab.operations.snapshots import create


@pytest.mark.parametrize("power", ["off", "on", "suspended"])
def test_a_snapshot_freezes_the_disk(machine: Machine, power: str) -> None:
    machine.write(1)
    if power != "off":
        machine.on()
    if power == "suspended":
        machine.result(machine.SuspendVM_Task())
    before = datetime.now(UTC)
    snapshot = machine.snapshot("one", "first")
    node = only_node(machine.vm)
    assert (node.name, node.description, node.id) == ("one", "first", 1)
    assert (node.snapshot, node.vm, node.quiesced) == (snapshot, machine.vm, False)
    assert node.state == "poweredOff"
    assert abs(node.createTime - before) < timedelta(seconds=20)
    assert machine.current == snapshot
    assert machine.rootSnapshot == [snapshot]
    assert (snapshot.vm, snapshot.childSnapshot) == (machine.vm, [])
    name = machine.name
    assert machine.chain == [f"{name}-000001.vmdk", f"{name}.vmdk"]
    assert frozen_disk(snapshot) == f"[datastore1] {name}/{name}.vmdk"
    assert machine.vmdks == {".vmdk", "-000001.vmdk"}
    assert {f"{name}.vmsd", f"{name}-Snapshot1.vmsn", f"{name}-000001-delta.vmdk"} <= machine.files
    assert machine.read() == 1
    machine.write(2)
    assert machine.read() == 2
    assert machine.read(disk=frozen_disk(snapshot)) == 1
    assert not machine.runtime.consolidationNeeded


def test_snapshots_stand_on_each_other(machine: Machine) -> None:
    one = machine.snapshot("one")
    two = machine.snapshot("two")
    assert machine.tree() == ["one", ["two"]]
    assert machine.current == two
    assert one.childSnapshot == [two]
    name = machine.name
    assert machine.chain == [f"{name}-000002.vmdk", f"{name}-000001.vmdk", f"{name}.vmdk"]
    assert frozen_disk(two).endswith(f"{name}-000001.vmdk")


def test_the_configuration_is_the_one_of_that_moment(machine: Machine) -> None:
    client = machine.client
    client.reconfigure(machine.vm, memoryMB=64, extraConfig=extra(colour="red"))
    snapshot = machine.snapshot("one")
    client.reconfigure(machine.vm, memoryMB=128, extraConfig=extra(colour="blue"))
    assert snapshot.config.hardware.memoryMB == 64
    assert {each.key: each.value for each in snapshot.config.extraConfig}["colour"] == "red"


def test_files_are_listed(machine: Machine) -> None:
    machine.on()
    snapshot = machine.snapshot("one", memory=True)
    layout = machine.layoutEx
    files = {file.key: file for file in layout.file}
    [shown] = layout.snapshot
    assert shown.key == snapshot
    assert files[shown.dataKey].name.endswith("-Snapshot1.vmsn")
    assert files[shown.dataKey].type == "snapshotData"
    assert files[shown.memoryKey].type == "snapshotMemory"
    assert "snapshotList" in {file.type for file in layout.file}
    [layer] = shown.disk[0].chain
    assert [files[key].name.rpartition(machine.name)[2] for key in layer.fileKey] == [
        ".vmdk",
        "-flat.vmdk",
    ]
    [now] = layout.disk
    assert len(now.chain) == 2


def test_memory_counts_only_while_the_machine_runs(machine: Machine) -> None:
    off = machine.snapshot("off", memory=True)
    machine.on()
    machine.snapshot("on", memory=True)
    machine.result(machine.SuspendVM_Task())
    machine.snapshot("suspended", memory=True)
    node = only_node(machine.vm)
    states = []
    while node is not None:
        states.append(str(node.state))
        node = node.childSnapshotList[0] if node.childSnapshotList else None
    assert states == ["poweredOff", "poweredOn", "suspended"]
    assert only_node(machine.vm).snapshot == off
    memories = {name for name in machine.files if name.endswith(".vmem")}
    assert memories == {f"{machine.name}-Snapshot{number}.vmem" for number in (2, 3)}


def test_quiescing_without_tools_is_not_asked_for(machine: Machine) -> None:
    machine.on()
    machine.snapshot("one", quiesce=True)
    assert only_node(machine.vm).quiesced is False
    quiesced = vim.vm.GuestQuiesceSpec(timeout=1)
    machine.result(machine.CreateSnapshotEx_Task("two", None, False, quiesced))
    assert machine.tree() == ["one", ["two"]]


def test_a_guest_with_tools_is_quiesced(machine: Machine) -> None:
    """But not where its memory is kept: it would wake up quiesced."""
    machine.client.reconfigure(machine.vm, extraConfig=extra(**{"vmops.lab.tools": "running"}))
    machine.on()
    machine.snapshot("one", quiesce=True)
    machine.snapshot("two", memory=True, quiesce=True)
    node = only_node(machine.vm)
    assert (node.quiesced, node.childSnapshotList[0].quiesced) == (True, False)


def test_a_guest_that_cannot_be_quiesced_gets_no_snapshot(machine: Machine) -> None:
    machine.client.reconfigure(machine.vm, extraConfig=extra(**{"vmops.lab.tools": "refusing"}))
    machine.on()
    before, chain = machine.files, machine.chain
    with pytest.raises(vim.fault.SnapshotFault):
        machine.snapshot("one", quiesce=True)
    assert (machine.files, machine.chain, machine.tree()) == (before, chain, [])
    machine.snapshot("two")


def test_independent_disks_are_left_alone(machine: Machine) -> None:
    client = machine.client
    client.reconfigure(
        machine.vm, new_disk(controller=1000, diskMode="independent_persistent", key=-5)
    )
    machine.snapshot("one")
    names = [each.backing.fileName.rpartition("/")[2] for each in machine.disks]
    assert names == [f"{machine.name}-000001.vmdk", f"{machine.name}_1.vmdk"]
    machine.on()
    with pytest.raises(vim.fault.MemorySnapshotOnIndependentDisk):
        machine.snapshot("two", memory=True)
    assert machine.tree() == ["one"]


@pytest.mark.parametrize("name", ["", " ", "x" * 81])
def test_a_name_that_cannot_be(machine: Machine, name: str) -> None:
    with pytest.raises(vim.fault.InvalidName):
        machine.snapshot(name)
    assert machine.tree() == []


def test_a_chain_has_an_end(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(create, "DEEPEST", 3)  # 32 take a while
    for number in range(3):
        machine.snapshot(f"s{number}")
    before = machine.files
    with pytest.raises(vim.fault.TooManySnapshotLevels):
        machine.snapshot("one too many")
    assert machine.files == before


def test_a_failure_leaves_nothing(machine: Machine) -> None:
    """The second disk's file is gone, so it cannot have a layer."""
    client = machine.client
    client.reconfigure(machine.vm, new_disk(controller=1000, key=-5))
    second = client.file(machine.disks[1].backing.fileName)
    aside = second.rename(second.with_suffix(".aside"))
    before, config = machine.files, client.file(machine.config.files.vmPathName).read_text()
    with pytest.raises(vim.fault.FileNotFound):
        machine.snapshot("one")
    assert machine.files == before
    assert client.file(machine.config.files.vmPathName).read_text() == config
    assert machine.vm.snapshot is None
    aside.rename(second)


def test_a_failure_of_the_hypervisor_leaves_nothing(machine: Machine) -> None:
    """Its guest's process is gone, and nobody has noticed yet."""
    machine.on()

    async def forget_guest(kernel: Kernel) -> None:
        guests(kernel).clear()

    machine.client.lab.on_loop(forget_guest)
    before, chain = machine.files, machine.chain
    with pytest.raises(vim.fault.GenericVmConfigFault, match="does not run"):
        machine.snapshot("one")
    assert machine.files == before
    assert machine.chain == chain
    assert machine.tree() == []


def test_a_disk_with_a_snapshot_does_not_grow(machine: Machine) -> None:
    machine.snapshot("one")
    [grown] = machine.disks
    grown.capacityInKB *= 2
    grown.capacityInBytes = grown.capacityInKB * 1024
    with pytest.raises(vim.fault.InvalidDeviceOperation):
        machine.client.reconfigure(machine.vm, change("edit", grown))


def test_the_disk_under_a_snapshot_is_not_extended(machine: Machine) -> None:
    disk = frozen_disk(machine.snapshot("one"))
    disks = machine.client.content.virtualDiskManager
    with pytest.raises(vim.fault.FileFault, match="stands on it"):
        machine.result(disks.ExtendVirtualDisk_Task(disk, machine.client.datacenter, 8192, False))
    assert machine.client.file(disk.replace(".vmdk", "-flat.vmdk")).stat().st_size == 4 * MIB


def test_a_template_has_none(machine: Machine) -> None:
    machine.MarkAsTemplate()
    with pytest.raises(vim.fault.InvalidState):
        machine.snapshot("one")


def test_renaming(machine: Machine) -> None:
    snapshot = machine.snapshot("one", "first")
    snapshot.RenameSnapshot("uno", None)
    assert (only_node(machine.vm).name, only_node(machine.vm).description) == ("uno", "first")
    snapshot.RenameSnapshot(None, "primo")
    assert (only_node(machine.vm).name, only_node(machine.vm).description) == ("uno", "primo")
    with pytest.raises(vim.fault.InvalidName):
        snapshot.RenameSnapshot("", None)
    machine.remove(snapshot)
    with pytest.raises(vmodl.fault.ManagedObjectNotFound):
        snapshot.RenameSnapshot("x", None)


def test_an_updated_filter_sees_the_tree(machine: Machine) -> None:
    collector = machine.client.content.propertyCollector
    spec = vmodl.query.PropertyCollector.FilterSpec(
        objectSet=[vmodl.query.PropertyCollector.ObjectSpec(obj=machine.vm)],
        propSet=[
            vmodl.query.PropertyCollector.PropertySpec(
                type=vim.VirtualMachine, pathSet=["snapshot", "rootSnapshot"]
            )
        ],
    )
    watched = collector.CreateFilter(spec, False)
    version = collector.WaitForUpdatesEx("", None).version
    machine.snapshot("one")
    updates = collector.WaitForUpdatesEx(version, None)
    changes = {each.name: each.val for each in updates.filterSet[0].objectSet[0].changeSet}
    assert changes["snapshot"].rootSnapshotList[0].name == "one"
    watched.Destroy()


def test_disks_are_numbered_on(machine: Machine) -> None:
    """A name that is taken, by whatever, is not used."""
    (machine.folder / f"{machine.name}-000001-delta.vmdk").write_bytes(b"somebody's")
    machine.snapshot("one")
    assert machine.chain[0] == f"{machine.name}-000002.vmdk"
    assert (machine.folder / f"{machine.name}-000001-delta.vmdk").read_bytes() == b"somebody's"


def test_attaching_the_disk_of_a_snapshot_elsewhere_keeps_it(machine: Machine) -> None:
    """Another machine's disk is based on it, so it stays when the snapshot's machine goes."""
    client = machine.client
    machine.write(7)
    base = frozen_disk(machine.snapshot("one"))
    other = client.create(f"{machine.name}-b", scsi(), add(disk(parent=base), "create"))
    machine.destroy()
    assert client.file(base).exists()
    assert not client.file(base.replace(".vmdk", "-000001.vmdk")).exists()
    client.result(other.PowerOnVM_Task())
    client.result(other.PowerOffVM_Task())
    client.result(other.Destroy_Task())
