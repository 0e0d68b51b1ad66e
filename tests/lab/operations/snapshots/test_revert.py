"""Going back: configuration, bytes and power state are those of the snapshot."""

from __future__ import annotations

import pytest
from pyVmomi import vim, vmodl

from tests.lab.machines import Machine, frozen_disk
from tests.lab.specs import change, extra, new_disk, standard_nic


def test_bytes_and_configuration_come_back(machine: Machine) -> None:
    client = machine.client
    machine.write(1)
    client.reconfigure(machine.vm, memoryMB=64, extraConfig=extra(colour="red"))
    snapshot = machine.snapshot("one")
    machine.write(2)
    client.reconfigure(
        machine.vm, standard_nic(), memoryMB=128, extraConfig=extra(colour="blue", more="1")
    )
    version = machine.config.changeVersion
    machine.revert(snapshot)
    assert machine.read() == 1
    assert machine.config.hardware.memoryMB == 64
    options = {each.key: each.value for each in machine.config.extraConfig}
    assert options["colour"] == "red"
    assert "more" not in options
    assert not machine.network
    assert machine.config.changeVersion != version
    assert machine.summary.config.memorySizeMB == 64
    # What was written since is gone, also as a file, and the snapshot is as it was.
    assert machine.vmdks == {".vmdk", "-000002.vmdk"}
    assert machine.current == snapshot
    assert machine.read(disk=frozen_disk(snapshot)) == 1
    machine.write(3)
    machine.revert(snapshot)
    assert machine.read() == 1


def test_a_tree_grows_where_it_was_gone_back_to(machine: Machine) -> None:
    one = machine.snapshot("one")
    machine.write(2)
    two = machine.snapshot("two")
    machine.revert(one)
    assert machine.current == one
    machine.write(3)
    three = machine.snapshot("three")
    assert machine.tree() == ["one", ["two", "three"]]
    machine.revert(two)
    assert machine.read() == 2
    machine.revert(three)
    assert machine.read() == 3
    machine.revert(one)
    assert machine.read() == 0


def test_a_running_machine_is_off_after_a_snapshot_without_memory(machine: Machine) -> None:
    machine.on()
    snapshot = machine.snapshot("one")
    machine.revert(snapshot)
    assert machine.runtime.powerState == "poweredOff"
    machine.on()


@pytest.mark.parametrize("now", ["poweredOn", "poweredOff", "suspended"])
def test_memory_brings_the_machine_back_on(machine: Machine, now: str) -> None:
    machine.on()
    snapshot = machine.snapshot("one", memory=True)
    if now == "poweredOff":
        machine.off()
    elif now == "suspended":
        machine.result(machine.SuspendVM_Task())
    machine.revert(snapshot)
    assert machine.runtime.powerState == "poweredOn"
    assert machine.runtime.bootTime is not None
    left = {name for name in machine.files if name.endswith((".vmss", ".partial"))}
    assert not left
    assert f"{machine.name}-Snapshot1.vmem" in machine.files
    machine.revert(snapshot)  # its memory is still there
    assert machine.runtime.powerState == "poweredOn"


def test_a_machine_may_stay_off(machine: Machine) -> None:
    machine.on()
    snapshot = machine.snapshot("one", memory=True)
    machine.revert(snapshot, stay_off=True)
    assert machine.runtime.powerState == "poweredOff"


def test_a_suspended_machine_comes_back_suspended(machine: Machine) -> None:
    machine.on()
    machine.result(machine.SuspendVM_Task())
    snapshot = machine.snapshot("one", memory=True)
    machine.on()
    machine.revert(snapshot)
    assert machine.runtime.powerState == "suspended"
    machine.on()
    assert machine.runtime.powerState == "poweredOn"


def test_back_to_the_current_one(machine: Machine) -> None:
    with pytest.raises(vim.fault.NotFound):
        machine.result(machine.RevertToCurrentSnapshot_Task())
    machine.write(1)
    machine.snapshot("one")
    machine.write(2)
    machine.result(machine.RevertToCurrentSnapshot_Task())
    assert machine.read() == 1


def test_a_disk_added_since_goes_and_one_removed_comes_back(machine: Machine) -> None:
    client = machine.client
    client.reconfigure(machine.vm, new_disk(controller=1000, key=-5))
    both = [each.backing.fileName for each in machine.disks]
    machine.write(5, disk=both[1])
    snapshot = machine.snapshot("two disks")
    client.reconfigure(machine.vm, change("remove", machine.disks[1], "destroy"))
    client.reconfigure(machine.vm, new_disk(controller=1000, key=-5))
    added = machine.disks[1].backing.fileName
    machine.revert(snapshot)
    assert [each.backing.parent.fileName for each in machine.disks] == both
    assert machine.read(disk=machine.disks[1].backing.fileName) == 5
    assert not client.file(added).exists()


def test_a_volume_of_another_folder_is_never_deleted(machine: Machine) -> None:
    client = machine.client
    folder = f"[datastore1] volumes-{machine.name}"
    client.content.fileManager.MakeDirectory(folder, client.datacenter, True)
    snapshot = machine.snapshot("before")
    client.reconfigure(machine.vm, new_disk(controller=1000, key=-5, name=f"{folder}/v.vmdk"))
    machine.revert(snapshot)
    assert len(machine.disks) == 1
    assert client.file(f"{folder}/v-flat.vmdk").exists()


def test_what_the_machine_is_called_stays(machine: Machine) -> None:
    snapshot = machine.snapshot("one")
    uuid = "11111111-2222-3333-4444-555555555555"
    machine.client.reconfigure(machine.vm, name=f"{machine.name}-new", instanceUuid=uuid)
    machine.revert(snapshot)
    assert machine.name.endswith("-new")
    assert machine.config.name.endswith("-new")
    assert machine.config.instanceUuid == uuid


@pytest.mark.parametrize("now", ["poweredOn", "suspended", "poweredOff"])
def test_a_revert_that_fails_changes_nothing(machine: Machine, now: str) -> None:
    """The snapshot's memory is no memory, which shows late: when the guest is to be started."""
    machine.on()
    snapshot = machine.snapshot("one", memory=True)
    memory = machine.folder / f"{machine.name}-Snapshot1.vmem"
    memory.write_bytes(b"broken")
    if now == "suspended":
        machine.result(machine.SuspendVM_Task())
    elif now == "poweredOff":
        machine.off()
    if now != "suspended":
        machine.client.reconfigure(machine.vm, extraConfig=extra(since="1"))
    chain, files = machine.chain, machine.files
    options = {each.key: each.value for each in machine.config.extraConfig}
    with pytest.raises(vim.fault.GenericVmConfigFault):
        machine.revert(snapshot)
    assert machine.runtime.powerState == now
    assert (machine.chain, machine.files) == (chain, files)
    assert {each.key: each.value for each in machine.config.extraConfig} == options
    text = machine.client.file(machine.config.files.vmPathName).read_text()
    assert chain[0] in text
    assert ("since" in text) == (now != "suspended")
    if now != "poweredOn":
        machine.on()


def test_a_missing_disk_changes_nothing(machine: Machine) -> None:
    machine.on()
    snapshot = machine.snapshot("one")
    base = machine.client.file(frozen_disk(snapshot))
    aside = base.rename(base.with_suffix(".aside"))
    files = machine.files
    with pytest.raises(vim.fault.FileNotFound):
        machine.revert(snapshot)
    assert machine.runtime.powerState == "poweredOn"
    assert machine.files == files
    aside.rename(base)


def test_on_another_host(machine: Machine) -> None:
    snapshot = machine.snapshot("one")
    hosts = machine.client.compute.host
    other = next(host for host in hosts if host != machine.runtime.host)
    machine.revert(snapshot, other)
    assert machine.runtime.host == other
    assert machine.vm in other.vm


def test_a_snapshot_that_is_gone(machine: Machine) -> None:
    snapshot = machine.snapshot("one")
    machine.remove(snapshot)
    with pytest.raises(vmodl.fault.ManagedObjectNotFound):
        snapshot.RevertToSnapshot_Task(None, None)
