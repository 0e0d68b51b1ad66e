"""What lies on datastores without a machine: told from what a person keeps, and from what lives."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import copy_context
from pathlib import Path

import pytest
from pyVmomi import vim

from tests.backends import second_view
from tests.builders import an_instance
from tests.contract.engine import Bench
from tests.contract.volumes import a_first_class_disk
from tests.faults import changing
from vmops import Instance, VMwareVMOps, in_flight
from vmops.errors import Busy
from vmops.ops.instances.leftovers import Leftover, remove_leftover
from vmops.ops.instances.orphans import OrphanWatch
from vmops.ops.instances.recovery import watch_work

LEASE_S = 0.6


def audit(bench: Bench) -> list[Leftover]:
    """All that is found, watched for as long as a lease lasts."""
    watch = OrphanWatch(bench.session)
    with short_leases():
        return watch_work(watch.look, LEASE_S * 2, all_of=False)


@contextmanager
def short_leases() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(in_flight.TIMING, "lease_s", LEASE_S)
        yield


def fix(bench: Bench) -> list[str]:
    """Remove what is left, and say of which kinds it was."""
    left = [one for one in audit(bench) if one.is_left]
    for one in left:
        remove_leftover(bench.session, one)
    return [one.kind for one in left]


def folder_of(bench: Bench, instance: Instance) -> Path:
    return bench.root() / instance.uuid


def forget(bench: Bench, instance: Instance) -> None:
    """Let the server forget the machine, as one does that died before it was known."""
    bench.vm(instance).UnregisterVM()


@pytest.mark.parametrize("at", [3, 4])
@pytest.mark.parametrize("linked", [True, False], ids=["linked", "full"])
def test_a_machine_of_an_unfinished_spawn(bench: Bench, linked: bool, at: int) -> None:
    bench.ops.destroy(bench.spawn(instance=an_instance(root_gib=1)), None)
    before, instance = bench.world(), an_instance(root_gib=1)

    def spawn(ops: VMwareVMOps) -> None:
        bench.spawn(instance=instance, ops=ops, linked_clone=linked, config_drive=True)

    assert copy_context().run(changing.die, bench, at, spawn)  # what it holds it holds on to
    if bench.vm(instance) is None or "vmops.operation" not in notes(bench, instance):
        bench.ops.destroy(instance, None)
        pytest.skip("at this call the spawn is whole")
    forget(bench, instance)
    (found,) = OrphanWatch(bench.session).look()
    assert not found.is_left  # it is watched first
    (found,) = audit(bench)
    assert (found.kind, found.is_left) == ("unregistered machine", True)
    assert str(folder_of(bench, instance).name) in found.name
    assert fix(bench) == ["unregistered machine"]
    assert bench.world() == before
    spawn(bench.ops)
    assert bench.power(instance) == "poweredOn"


def notes(bench: Bench, instance: Instance) -> set[str]:
    config = second_view.properties(bench.vm(instance), "config")["config"]
    return {option.key for option in config.extraConfig if option.value}


@pytest.mark.parametrize("names", [[], ["serial.log", "configdrive.iso"], ["{uuid}.vmx"]])
def test_a_folder_without_disks_is_nobodys(bench: Bench, names: list[str]) -> None:
    instance = an_instance()
    folder = folder_of(bench, instance)
    folder.mkdir()
    for name in names:
        (folder / name.format(uuid=instance.uuid)).write_text("x")
    assert len(fix(bench)) == 1
    assert not folder.exists()


def test_one_that_changes_is_somebodys(bench: Bench) -> None:
    folder = folder_of(bench, an_instance())
    folder.mkdir()
    log = folder / "serial.log"
    seen: list[list[Leftover]] = []

    def look() -> list[Leftover]:
        log.write_text("x" * len(seen))
        seen.append(watch.look())
        return seen[-1]

    watch = OrphanWatch(bench.session)
    with short_leases():
        found = watch_work(look, LEASE_S * 2, all_of=False)
    assert not any(one.is_left for one in found)
    assert len(seen) > 1
    (left,) = audit(bench)
    log.write_text("once more")
    with pytest.raises(Busy):
        remove_leftover(bench.session, left)
    assert log.read_text() == "once more"
    shutil.rmtree(folder)


@pytest.mark.parametrize("what", ["folder", "layer"])
def test_one_that_goes_by_itself_is_not_told_of(bench: Bench, what: str) -> None:
    """What was at work when it was first seen has ended since."""
    instance = bench.spawn(power_on=False)
    folder = folder_of(bench, instance if what == "layer" else an_instance())
    folder.mkdir(exist_ok=True)
    layer = folder / f"{instance.uuid}-000001.vmdk"
    if what == "layer":
        layer.write_text("x")
    watch = OrphanWatch(bench.session)
    assert len(watch.look()) == 1
    if what == "layer":
        layer.unlink()
    else:
        folder.rmdir()
    assert watch.look() == []


def test_what_was_kept_is_left_alone(bench: Bench) -> None:
    instance = bench.spawn()
    bench.ops.destroy(instance, None, destroy_disks=False)
    before = bench.world()
    assert audit(bench) == []
    assert bench.world() == before
    (folder_of(bench, instance) / "vmops-kept.txt").unlink()
    shown = audit(bench)
    assert [one.is_left for one in shown] == [False]  # whole: a person may want it back
    assert "keep" in shown[0].judgment.why
    shutil.rmtree(folder_of(bench, instance))


@pytest.mark.parametrize("name", ["notes.txt", "thesis.vmdk", "other.iso"])
def test_so_is_what_has_a_file_of_another_kind(bench: Bench, name: str) -> None:
    instance = an_instance()
    folder = folder_of(bench, instance)
    folder.mkdir()
    (folder / f"{instance.uuid}.vmx").write_text('vmops.operation = "spawn x 1"\n')
    (folder / name).write_text("mine")
    assert audit(bench) == []
    shutil.rmtree(folder)


def test_so_are_the_folders_of_living_machines_and_volumes(bench: Bench) -> None:
    one, other = bench.spawn(), bench.spawn(power_on=False)
    a_first_class_disk(bench)
    vm = bench.vm(other)  # it lies in the folder of another UUID's name
    second_view.finished(vm.ReconfigVM_Task(vim.vm.ConfigSpec(instanceUuid=an_instance().uuid)))
    before = bench.world()
    assert audit(bench) == []
    assert bench.world() == before
    assert bench.power(one) == "poweredOn"
    second_view.finished(vm.Destroy_Task())


def test_a_layer_of_no_snapshot(bench: Bench) -> None:
    """As a server leaves that dies in CreateSnapshot; that of a snapshot is not touched."""
    instance = bench.spawn(power_on=False)
    before = bench.world()
    folder, vm = folder_of(bench, instance), bench.vm(instance)
    made = second_view.finished(vm.CreateSnapshot_Task("one", "", False, False))
    assert audit(bench) == []
    layers = sorted(folder.glob("*-000001*"))
    copies = {each: each.read_bytes() for each in layers}
    second_view.finished(made.RemoveSnapshot_Task(False))
    for each, content in copies.items():
        each.write_bytes(content)
    assert fix(bench) == ["layer of no snapshot"]
    left = bench.world()[1]
    assert {path for path in left if not path.endswith(".vmsd")} == set(before[1])
    bench.ops.power_on(None, instance)
    assert bench.power(instance) == "poweredOn"


def test_the_folder_of_an_import_whose_machine_is_gone(bench: Bench) -> None:
    """Of one whose process is dead that is known at once; of another one after a lease's time."""
    dead = "vmops-import-0123456789ab-0123456789ab-4711-99-1"
    folder = bench.root() / dead
    folder.mkdir()
    (folder / f"{dead}.vmdk").write_text("half of it")
    (found,) = OrphanWatch(bench.session).look()
    assert not found.is_left
    assert fix(bench) == ["folder of an unfinished image import"]
    assert not folder.exists()
