"""Destroy, failing at each of its calls: a second destroy finishes what the first began."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from pyVmomi import vim

from tests.backends import second_view
from tests.contract.engine import Bench
from tests.contract.volumes import WRITTEN, a_shadow_vm, move_storage, read, write
from tests.faults import matrix
from tests.marks import mark_of, neighbour
from vmops import Instance
from vmops.errors import ConnectionLost, LeftBehind, TransferFailed, VMOpsError
from vmops.lab.wire.failures import Failure, How
from vmops.progress import Event, StepStarted, Warned

CALLS = [
    "RetrievePropertiesEx",
    "PowerOffVM_Task",
    "DELETE /folder",
    "Destroy_Task",
    "HEAD /folder",
]
KEEPING = ["RetrievePropertiesEx", "PowerOffVM_Task", "PUT /folder", "UnregisterVM"]
REMOVING = ("Remove the VM and its files", "Unregister the VM")
DETACHING = ["RetrievePropertiesEx", "PowerOffVM_Task", "RetrievePropertiesEx", "ReconfigVM_Task"]


def failing(bench: Bench, instance: Instance, failure: Failure, **options: Any) -> None:
    """Destroy with one call failing: success, or an error that names what is left."""
    lab = matrix.lab_of(bench)
    lab.failures.plan(failure)
    try:
        bench.ops.destroy(instance, None, **options)
    except (LeftBehind, ConnectionLost, TransferFailed, VMOpsError) as error:
        check_error(bench, instance, error)
    finally:
        calls = lab.failures.calls()
        lab.failures.clear()
    assert calls.count(failure.call) >= failure.nth, "the call was not made"


def check_error(bench: Bench, instance: Instance, error: VMOpsError) -> None:
    shown = f"{error} {error.__cause__}"
    assert any(word in shown for word in ("on purpose", "500", "lost")), shown
    if isinstance(error, LeftBehind):
        assert error.leftovers


@pytest.mark.parametrize("failure", matrix.parameters(CALLS))
def test_a_second_destroy_leaves_nothing(bench: Bench, failure: Failure) -> None:
    instance = bench.spawn()
    failing(bench, instance, failure)
    bench.ops.destroy(instance, None)
    assert bench.vm(instance) is None
    assert not [path for path in bench.tree() if instance.uuid in path]
    assert [path for path in bench.tree() if path.endswith("-flat.vmdk")], "the parent is gone"


@pytest.mark.parametrize("keeps", [False, True], ids=["destroyed", "unregistered"])
def test_one_that_is_powered_on_meanwhile_goes(bench: Bench, keeps: bool) -> None:
    """What a process had asked for before it died is done between the look and the removal."""
    instance = bench.spawn(power_on=False)
    vm = bench.vm(instance)

    def observe(event: Event) -> None:
        if isinstance(event, StepStarted) and event.title in REMOVING:
            second_view.finished(vm.PowerOnVM_Task())

    bench.engine(observe=observe).destroy(instance, None, destroy_disks=not keeps)
    assert bench.vm(instance) is None
    assert any(instance.uuid in path for path in bench.tree()) is keeps


def test_one_that_is_being_moved_goes_with_its_disks(bench: Bench) -> None:
    """In the middle of a move a disk is elsewhere already: it is not taken for somebody else's."""
    instance = bench.spawn()
    vm = bench.vm(instance)
    here = second_view.properties(vm, "config.hardware.device")["config.hardware.device"]
    between = copy.deepcopy(here)
    for device in between:
        backing: Any = device.backing
        if isinstance(device, vim.vm.device.VirtualDisk):
            backing.fileName = f"[datastore2] {instance.uuid}/{instance.uuid}.vmdk"
    bench.control.change(vm, {"config.hardware.device": between})

    def observe(event: Event) -> None:
        if isinstance(event, StepStarted) and event.title == "Power off":
            bench.control.change(vm, {"config.hardware.device": here})
            move_storage(bench, instance, "datastore2")

    bench.engine(observe=observe).destroy(instance, None)
    assert bench.vm(instance) is None
    assert not [path for path in bench.tree() if path.startswith(f"[datastore2] {instance.uuid}")]


def test_a_volume_that_is_detached_meanwhile_is_no_hindrance(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By somebody else, between the look at it and the change that takes it off."""
    instance, made = bench.spawn(), a_shadow_vm(bench)
    write(bench, made.path)
    bench.ops.attach_volume(None, made.connection, instance)
    vm = bench.vm(instance)
    volume = second_view.devices(vm, vim.vm.device.VirtualDisk)[1]
    take_off = vim.vm.device.VirtualDeviceSpec(operation="remove", device=volume)
    call = bench.session.client.call
    taken: list[str] = []

    def call_late(moref: Any, method: str, **arguments: Any) -> Any:
        if method == "ReconfigVM_Task" and not taken:
            taken.append(method)
            second_view.finished(vm.ReconfigVM_Task(vim.vm.ConfigSpec(deviceChange=[take_off])))
        return call(moref, method, **arguments)

    monkeypatch.setattr(bench.session.client, "call", call_late)
    bench.ops.destroy(instance, None)
    assert taken
    assert bench.vm(instance) is None
    assert read(bench, made.path) == WRITTEN


def test_one_that_the_inventory_still_has_is_gone_all_the_same(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Marked when the stream last told of it; no error comes of asking who works on it."""
    instance = bench.spawn(power_on=False)
    vm = bench.vm(instance)
    note = vim.option.OptionValue(key="vmops.worker", value=mark_of("resize", neighbour(1)))
    second_view.finished(vm.ReconfigVM_Task(vim.vm.ConfigSpec(extraConfig=[note])))
    inventory = bench.session.inventory
    inventory.wait_fresh()
    known = inventory.vm_by_uuid(instance.uuid)
    assert known is not None
    second_view.finished(vm.Destroy_Task())
    monkeypatch.setattr(inventory, "vm_by_uuid", lambda _: known)
    bench.ops.destroy(instance, None)


@pytest.mark.parametrize("failure", matrix.parameters(KEEPING))
def test_without_destroy_disks_the_files_stay_all_the_same(bench: Bench, failure: Failure) -> None:
    instance = bench.spawn()
    before = {path for path in bench.tree() if instance.uuid in path}
    failing(bench, instance, failure, destroy_disks=False)
    bench.ops.destroy(instance, None, destroy_disks=False)
    assert bench.vm(instance) is None
    left = {path for path in bench.tree() if instance.uuid in path}
    assert before <= left
    if failure.call == "PUT /folder" and left == before:
        assert [event for event in bench.events if isinstance(event, Warned)]
        return
    assert left - before == {f"[{bench.backend.datastore}] {instance.uuid}/vmops-kept.txt"}
    note = (bench.root() / instance.uuid / "vmops-kept.txt").read_text()
    assert instance.uuid in note
    assert "kept on purpose" in note


@pytest.mark.parametrize("failure", matrix.parameters(DETACHING))
def test_a_volume_survives_whatever_fails(bench: Bench, failure: Failure) -> None:
    instance = bench.spawn(power_on=False)
    volume = attach_volume(bench, instance)
    second_view.finished(bench.vm(instance).PowerOnVM_Task())
    failing(bench, instance, failure)
    bench.ops.destroy(instance, None)
    assert bench.vm(instance) is None
    assert {path for path in bench.tree() if "7e57-volumes/" in path} == volume


def attach_volume(bench: Bench, instance: Instance) -> set[str]:
    """Attach a disk of another folder, and say which its files are."""
    content, path = bench.content, f"[{bench.backend.datastore}] 7e57-volumes/v.vmdk"
    datacenter = second_view.only(content, vim.Datacenter)
    (bench.root() / "7e57-volumes").mkdir()
    spec = vim.VirtualDiskManager.FileBackedVirtualDiskSpec(
        diskType="thin", adapterType="lsiLogic", capacityKb=1024
    )
    second_view.finished(
        content.virtualDiskManager.CreateVirtualDisk_Task(
            name=path, datacenter=datacenter, spec=spec
        )
    )
    disk = vim.vm.device.VirtualDisk(
        key=-1,
        controllerKey=bench.root_disk(instance).controllerKey,
        unitNumber=1,
        backing=vim.vm.device.VirtualDisk.FlatVer2BackingInfo(fileName=path, diskMode="persistent"),
    )
    change = vim.vm.device.VirtualDeviceSpec(operation="add", device=disk)
    second_view.finished(
        bench.vm(instance).ReconfigVM_Task(vim.vm.ConfigSpec(deviceChange=[change]))
    )
    return {name for name in bench.tree() if "7e57-volumes/" in name}


def test_the_table_is_that_of_a_good_run(bench: Bench) -> None:
    instance = bench.spawn()
    matrix.lab_of(bench).failures.plan()
    bench.ops.destroy(instance, None)
    calls = [c for c in matrix.lab_of(bench).failures.calls() if c not in matrix.STREAM]
    assert calls == CALLS


def test_a_lost_power_off_is_not_the_end(bench: Bench) -> None:
    """The VM is off, but the answer did not come: the error says that something is left."""
    instance = bench.spawn()
    lab = matrix.lab_of(bench)
    lab.failures.plan(Failure(call="PowerOffVM_Task", how=How.LOST_AFTER))
    with pytest.raises(LeftBehind) as left:
        bench.ops.destroy(instance, None)
    assert isinstance(left.value.__cause__, ConnectionLost)
