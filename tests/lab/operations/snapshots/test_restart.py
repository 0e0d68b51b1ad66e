"""What a lab still knows of snapshots after it was stopped, killed, or the machine taken out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.lab.client import Client, connect
from tests.lab.machines import Machine, frozen_disk
from tests.lab.specs import extra, new_disk, scsi
from vmops.lab import Lab, LabSettings


@contextmanager
def session(settings: LabSettings, *, kill: bool = False) -> Iterator[Client]:
    with Lab.run(settings) as lab:
        client = connect(lab)
        try:
            yield client
        finally:
            if kill:
                client.stub.DropConnections()
                lab.kill()
            else:
                client.close()


def found(client: Client) -> Machine:
    [vm] = client.folder.childEntity
    return Machine(client, vm)


@pytest.mark.parametrize("kill", [False, True])
def test_a_tree_is_found_again(tmp_path: Path, kill: bool) -> None:
    settings = LabSettings(state_dir=tmp_path / "lab", hypervisor="none")
    with session(settings, kill=kill) as client:
        machine = Machine(client, client.create("web", scsi(), new_disk()))
        client.reconfigure(machine.vm, extraConfig=extra(colour="red"))
        machine.write(1)
        machine.on()
        one = machine.snapshot("one", 'a "quoted" | text', memory=True)
        machine.off()
        machine.write(2)
        machine.snapshot("two")
        machine.revert(one, stay_off=True)
        machine.snapshot("three")
        tree = str(machine.vm.snapshot)
        chain = machine.chain
    with session(settings) as client:
        machine = found(client)
        assert str(machine.vm.snapshot) == tree
        assert machine.chain == chain
        one = machine.rootSnapshot[0]
        assert {each.key: each.value for each in one.config.extraConfig}["colour"] == "red"
        two = one.childSnapshot[0]
        machine.revert(two)
        assert machine.read() == 2
        machine.revert(one)
        assert machine.runtime.powerState == "poweredOn"
        assert machine.read() == 1
        machine.off()
        machine.remove(machine.vm.snapshot.rootSnapshotList[0].childSnapshotList[1].snapshot)
        four = machine.snapshot("four")
        assert four._moId.endswith("-4")  # no id is used again
        machine.result(machine.RemoveAllSnapshots_Task())
        assert machine.vmdks == {".vmdk"}


def test_unregistered_and_registered(tmp_path: Path) -> None:
    settings = LabSettings(state_dir=tmp_path / "lab", hypervisor="none")
    with session(settings) as client:
        machine = Machine(client, client.create("web", scsi(), new_disk()))
        machine.write(1)
        old = machine.snapshot("one")
        machine.write(2)
        vmx = machine.config.files.vmPathName
        machine.UnregisterVM()
        machine = Machine(client, client.register(vmx))
        assert machine.tree() == ["one"]
        assert machine.current != old
        machine.revert(machine.current)
        assert machine.read() == 1


def test_a_consolidation_that_was_needed_still_is(tmp_path: Path) -> None:
    settings = LabSettings(state_dir=tmp_path / "lab", hypervisor="none")
    with session(settings) as client:
        machine = Machine(client, client.create("web", scsi(), new_disk()))
        machine.remove(machine.snapshot("one"), consolidate=False)
    with session(settings) as client:
        assert found(client).runtime.consolidationNeeded


def test_what_cannot_be_read_is_left_out(tmp_path: Path) -> None:
    settings = LabSettings(state_dir=tmp_path / "lab", hypervisor="none")
    with session(settings) as client:
        machine = Machine(client, client.create("web", scsi(), new_disk()))
        machine.snapshot("one")
        machine.snapshot("two")
        machine.snapshot("three")
        (machine.folder / "web-Snapshot2.vmsn").write_text("nonsense")
    with session(settings) as client:
        machine = found(client)
        assert machine.tree() == ["one", ["three"]]
        assert frozen_disk(machine.current).endswith("-000002.vmdk")


def test_a_list_that_names_foreign_files(tmp_path: Path) -> None:
    """The names in a list of snapshots lead nowhere else, and its numbers not in circles."""
    settings = LabSettings(state_dir=tmp_path / "lab", hypervisor="none")
    with session(settings) as client:
        machine = Machine(client, client.create("web", scsi(), new_disk()))
        machine.snapshot("one")
        machine.snapshot("two")
        listed = machine.folder / "web.vmsd"
    text = listed.read_text()
    text = text.replace("web-Snapshot1.vmsn", "../../password")
    listed.write_text(text + 'snapshot0.parent = "2"\n')
    with session(settings) as client:
        machine = found(client)
        assert machine.tree() == ["one", ["two"]]
        machine.result(machine.RemoveAllSnapshots_Task())
        assert client.lab.settings.password_file.exists()
