"""Snapshot: the root disk of an instance that runs on becomes an image."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pyVmomi import vim, vmodl

from tests.backends import second_view
from tests.backends.capabilities import Capability
from tests.backends.lab import LabBackend
from tests.builders import CAPACITY, an_instance, qemu_img
from tests.contract.engine import Bench
from tests.contract.needs import needs
from tests.contract.test_power import OFF, ON, SUSPENDED, in_state
from tests.contract.volume_by_hand import add_volume, volume_data
from vmops import DirectoryImageStore, Instance
from vmops.errors import (
    AlreadyExists,
    InstanceNotFound,
    InvalidName,
    NoDiskSpace,
    NoRootDisk,
    QuiesceFailed,
)
from vmops.lab.guest import boot_count
from vmops.lab.wire.failures import Failure, How
from vmops.model.hardware import SecureBoot
from vmops.model.image import DiskType
from vmops.ops.instances.snapshot import SnapshotResult
from vmops.vsphere.live.stream import STREAM_METHODS

pytestmark = needs(Capability.DISK_BYTES)
NO_EXPORT = Failure(call="ExportSnapshot", how=How.REFUSED, nth=0, fault=vmodl.fault.NotSupported())
PENDING = (("task_state", "image_pending_upload"),)
UPLOADING = (("expected_state", "image_pending_upload"), ("task_state", "image_uploading"))


@dataclass
class Told:
    """What `update_task_state` was called with; ``then`` is done at the state of this name."""

    calls: list[tuple[tuple[str, str], ...]] = field(default_factory=list)
    then: dict[str, Callable[[], object]] = field(default_factory=dict)

    def __call__(self, *, task_state: str, expected_state: str | None = None) -> None:
        told = {"expected_state": expected_state, "task_state": task_state}
        self.calls.append(tuple((name, state) for name, state in told.items() if state))
        self.then.get(task_state, lambda: None)()


@pytest.fixture
def store(tmp_path: Path) -> DirectoryImageStore:
    """Where the test's images go; it is empty."""
    return DirectoryImageStore(tmp_path / "made")


@pytest.fixture(params=["export", "copy"])
def way(request: pytest.FixtureRequest, bench: Bench) -> str:
    """Both ways of the disk to the store: by a lease, and where that is not there by a copy."""
    if request.param == "copy":
        assert isinstance(bench.backend, LabBackend)
        bench.backend.lab.failures.plan(NO_EXPORT)
    return str(request.param)


def snapshot(
    bench: Bench, store: DirectoryImageStore, of: Any, name: str = "made", told: Told | None = None
) -> SnapshotResult:
    return bench.engine(images=store).snapshot(None, of, name, told or Told())


def snapshots(bench: Bench, instance: Instance) -> list[str]:
    """The names of the VM's snapshots in the tree's first level."""
    found = second_view.properties(bench.vm(instance), "snapshot").get("snapshot")
    return [tree.name for tree in found.rootSnapshotList] if found else []


def left_over(bench: Bench, instance: Instance) -> tuple[Any, ...]:
    """What a snapshot could leave: in the tree, in the VM's disks, on the datastores.

    The list of snapshots, which vSphere keeps once there was one, is left out.
    """
    disks = second_view.devices(bench.vm(instance), vim.vm.device.VirtualDisk)
    files = {path for path in bench.tree() if "/tmp-" in path or f"] {instance.uuid}" in path}  # noqa: S108
    kept = {path for path in files if not path.endswith(".vmsd")}
    return snapshots(bench, instance), [disk.backing.fileName for disk in disks], kept


def raw(store: DirectoryImageStore, name: str, tmp_path: Path) -> bytes:
    """The disk in an image, unpacked by qemu-img."""
    (file,) = [f for f in store.directory.iterdir() if f.stem == name and f.suffix != ".yaml"]
    kind = "vmdk" if store.get(name).properties.disk_type is DiskType.STREAM_OPTIMIZED else "raw"
    target = tmp_path / f"{name}.raw"
    qemu_img("convert", "-f", kind, "-O", "raw", file, target)
    return target.read_bytes()


def without_count(disk: bytes) -> bytes:
    """A disk's bytes without the sector where its guest counts boots."""
    return disk[:512] + disk[1024:]


def files_of(store: DirectoryImageStore) -> list[str]:
    return [f.name for f in store.directory.iterdir()] if store.directory.exists() else []


# What it makes


@pytest.mark.parametrize("linked", [True, False], ids=["linked", "full"])
@pytest.mark.every_case
def test_the_image_has_the_disks_bytes_and_boots(
    bench: Bench, store: DirectoryImageStore, way: str, linked: bool, tmp_path: Path
) -> None:
    instance = bench.spawn(linked_clone=linked, power_on=False)
    made = snapshot(bench, store, instance)
    assert raw(store, "made", tmp_path) == bench.images.disk
    kind = DiskType.STREAM_OPTIMIZED if way == "export" else DiskType.PREALLOCATED
    assert made.image.properties.disk_type is kind
    assert made.image.capacity_bytes == CAPACITY
    ops = bench.engine(images=store)
    again = bench.spawn("made", ops=ops, power_on=False)
    path = bench.root_disk(again).backing.fileName
    assert bench.disk_digest(path, CAPACITY) == bench.image_digest()
    ops.power_on(None, again, None, None)
    assert bench.power(again) == ON


def test_the_image_tells_what_spawn_must_know(bench: Bench, store: DirectoryImageStore) -> None:
    image = bench.images.named(
        "flat", vmware_adaptertype="paraVirtual", hw_firmware_type="uefi", os_secure_boot="required"
    )
    instance = bench.spawn(image, power_on=False)
    guest_id = second_view.properties(bench.vm(instance), "config.guestId")["config.guestId"]
    shape = {"uuid": instance.uuid, "name": instance.name, "project_id": "p-1"}
    found = snapshot(bench, store, shape).image.properties
    assert found.adapter_type.value == "paraVirtual"
    assert found.firmware.value == "efi"
    assert found.hardware.secure_boot is SecureBoot.REQUIRED
    assert found.guest_id == guest_id
    text = (store.directory / "made.yaml").read_text()
    assert "owner_id: p-1" in text
    assert "vmware_image_version: '1'" in text


@pytest.mark.parametrize("state", [ON, OFF, SUSPENDED])
def test_the_instance_stays_as_it_was_and_nothing_is_left(
    bench: Bench, store: DirectoryImageStore, way: str, state: str
) -> None:
    instance = in_state(bench, state)
    before = left_over(bench, instance)
    made = snapshot(bench, store, instance)
    assert bench.power(instance) == state
    assert left_over(bench, instance) == before
    assert made.quiesced is (state == OFF)
    assert len(files_of(store)) == 2


def test_only_the_root_disk_is_in_it(
    bench: Bench, store: DirectoryImageStore, way: str, tmp_path: Path
) -> None:
    instance = bench.spawn(power_on=False)
    volume = hashlib.sha512(b"a volume").digest() * (4 * CAPACITY // 64)
    add_volume(bench, instance, volume)
    snapshot(bench, store, instance)
    assert raw(store, "made", tmp_path) == bench.images.disk
    assert volume_data(bench).read_bytes() == volume


def test_a_chain_is_coalesced_and_snapshots_of_others_stay(
    bench: Bench, store: DirectoryImageStore, way: str, tmp_path: Path
) -> None:
    instance = bench.spawn(power_on=False)
    task = bench.vm(instance).CreateSnapshot_Task("of another", "", False, False)
    second_view.finished(task)
    before = left_over(bench, instance)
    snapshot(bench, store, instance)
    assert raw(store, "made", tmp_path) == bench.images.disk
    assert snapshots(bench, instance) == ["of another"]
    assert left_over(bench, instance)[2] == before[2]


# What is told


def test_the_states_are_told_once_each_in_order(
    bench: Bench, store: DirectoryImageStore, way: str
) -> None:
    instance = bench.spawn(power_on=False)
    there: dict[str, list[str]] = {}
    told = Told()

    def look(state: str) -> None:
        there[state] = snapshots(bench, instance)

    for state in ("image_pending_upload", "image_uploading"):
        told.then[state] = partial(look, state)
    snapshot(bench, store, instance, told=told)
    assert told.calls == [PENDING, UPLOADING]
    assert there["image_pending_upload"] == []
    assert len(there["image_uploading"]) == 1


def test_without_a_disk_no_state_is_told(bench: Bench, store: DirectoryImageStore) -> None:
    instance = bench.spawn(power_on=False)
    going = vim.vm.device.VirtualDeviceSpec(
        operation="remove", fileOperation="destroy", device=bench.root_disk(instance)
    )
    spec = vim.vm.ConfigSpec(deviceChange=[going])
    second_view.finished(bench.vm(instance).ReconfigVM_Task(spec))
    before, told = bench.world(), Told()
    with pytest.raises(NoRootDisk, match=instance.uuid):
        snapshot(bench, store, instance, told=told)
    assert told.calls == []
    assert bench.world() == before
    assert files_of(store) == []


def test_an_instance_that_does_not_exist(bench: Bench, store: DirectoryImageStore) -> None:
    told = Told()
    with pytest.raises(InstanceNotFound):
        snapshot(bench, store, an_instance(), told=told)
    assert told.calls == []


@pytest.mark.parametrize(("name", "error"), [("made", AlreadyExists), ("../made", InvalidName)])
def test_a_name_that_cannot_be_given_is_refused_before_anything(
    bench: Bench, store: DirectoryImageStore, name: str, error: type[Exception]
) -> None:
    """Not even a snapshot of the VM is made for it."""
    instance = bench.spawn()
    first = snapshot(bench, store, instance).image
    before, kept, told = left_over(bench, instance), sorted(files_of(store)), Told()
    bench.backend.forget_calls()
    with pytest.raises(error):
        snapshot(bench, store, instance, name, told)
    assert bench.backend.calls()["CreateSnapshot_Task"] == 0
    assert told.calls == []
    assert left_over(bench, instance) == before
    assert sorted(files_of(store)) == kept
    assert store.get("made") == first


def test_a_name_that_another_takes_meanwhile_leaves_nothing(
    bench: Bench, store: DirectoryImageStore, way: str
) -> None:
    instance = bench.spawn(power_on=False)
    before, told = left_over(bench, instance), Told()
    source = bench.images.store.directory / "streamOptimized.vmdk"
    told.then["image_uploading"] = lambda: store.add(source, "made")
    with pytest.raises(AlreadyExists, match="made"):
        snapshot(bench, store, instance, told=told)
    assert left_over(bench, instance) == before
    assert raw_names(store) == ["made"]
    assert store.get("made").size_bytes == source.stat().st_size


def raw_names(store: DirectoryImageStore) -> list[str]:
    return [image.name for image in store.list()]


@pytest.mark.parametrize("state", ["image_pending_upload", "image_uploading"])
def test_a_caller_that_refuses_a_state_gets_its_error_back(
    bench: Bench, store: DirectoryImageStore, state: str
) -> None:
    """Nova does so for an instance that is deleted meanwhile."""
    instance = bench.spawn(power_on=False)
    before, told = left_over(bench, instance), Told()

    def refuse() -> None:
        raise LookupError(state)

    told.then[state] = refuse
    with pytest.raises(LookupError, match=state):
        snapshot(bench, store, instance, told=told)
    assert left_over(bench, instance) == before
    assert files_of(store) == []


# Quiescing


@needs(Capability.CONTROL)
@pytest.mark.parametrize(
    "fault", [vim.fault.ApplicationQuiesceFault(), vim.fault.FilesystemQuiesceFault()]
)
@pytest.mark.parametrize("how", [How.TASK_FAILS, How.REFUSED])
def test_a_guest_that_cannot_hold_still_is_taken_as_it_is(
    bench: Bench, store: DirectoryImageStore, fault: Any, how: How, tmp_path: Path
) -> None:
    instance = with_tools(bench)
    assert isinstance(bench.backend, LabBackend)
    failure = Failure(call="CreateSnapshot_Task", how=how, fault=fault)
    bench.backend.lab.failures.plan(failure)
    told = Told()
    made = snapshot(bench, store, instance, told=told)
    assert bench.backend.lab.failures.calls().count("CreateSnapshot_Task") == 2
    assert made.quiesced is False
    assert told.calls == [PENDING, UPLOADING]
    assert without_count(raw(store, "made", tmp_path)) == without_count(bench.images.disk)
    assert snapshots(bench, instance) == []


@needs(Capability.CONTROL)
def test_a_quiesce_fault_where_nothing_was_quiesced_is_an_error(
    bench: Bench, store: DirectoryImageStore
) -> None:
    instance = with_tools(bench)
    assert isinstance(bench.backend, LabBackend)
    fault = vim.fault.FilesystemQuiesceFault()
    failure = Failure(call="CreateSnapshot_Task", how=How.TASK_FAILS, nth=0, fault=fault)
    bench.backend.lab.failures.plan(failure)
    with pytest.raises(QuiesceFailed):
        snapshot(bench, store, instance)
    assert snapshots(bench, instance) == []


@needs(Capability.CONTROL)
def test_a_guest_whose_tools_run_is_asked_to_hold_still(
    bench: Bench, store: DirectoryImageStore
) -> None:
    assert snapshot(bench, store, with_tools(bench)).quiesced is True
    assert snapshot(bench, store, in_state(bench, ON), "without").quiesced is False


def with_tools(bench: Bench) -> Instance:
    """A running instance that shows running Tools."""
    instance = in_state(bench, ON)
    bench.control.change(bench.vm(instance), {"guest.toolsRunningStatus": "guestToolsRunning"})
    return instance


# Failures that are not of a single call


@needs(Capability.CONTROL)
def test_a_datastore_that_is_full_in_the_middle(
    bench: Bench, store: DirectoryImageStore, way: str
) -> None:
    """A snapshot has no room for its delta, or the copy has none for the disk."""
    instance = bench.spawn(power_on=False)
    before = left_over(bench, instance)
    call = "CreateSnapshot_Task" if way == "export" else "CopyVirtualDisk_Task"
    assert isinstance(bench.backend, LabBackend)
    full = vim.fault.NoDiskSpace(datastore=bench.backend.datastore, file="delta")
    failure = Failure(call=call, how=How.TASK_FAILS, nth=0, fault=full)
    bench.backend.lab.failures.plan(failure, NO_EXPORT) if way == "copy" else (
        bench.backend.lab.failures.plan(failure)
    )
    with pytest.raises(NoDiskSpace, match=bench.backend.datastore):
        snapshot(bench, store, instance)
    assert left_over(bench, instance) == before
    assert files_of(store) == []


@needs(Capability.CONTROL)
def test_a_task_of_another_in_the_way_of_the_removal_is_waited_for(
    bench: Bench, store: DirectoryImageStore
) -> None:
    instance = bench.spawn(power_on=False)
    before = left_over(bench, instance)
    assert isinstance(bench.backend, LabBackend)
    busy = vim.fault.TaskInProgress(task=vim.Task("task-1"))
    bench.backend.lab.failures.plan(
        *(
            Failure(call="RemoveSnapshot_Task", how=How.TASK_FAILS, nth=nth, fault=busy)
            for nth in (1, 2)
        )
    )
    snapshot(bench, store, instance)
    assert bench.backend.lab.failures.calls().count("RemoveSnapshot_Task") == 3
    assert left_over(bench, instance) == before
    assert raw_names(store) == ["made"]


def test_a_store_that_is_full_in_the_middle(bench: Bench, tmp_path: Path, way: str) -> None:
    instance = bench.spawn(power_on=False)
    before = left_over(bench, instance)
    store = FullStore(tmp_path / "full")
    with pytest.raises(OSError, match="no space"):
        snapshot(bench, store, instance)
    assert left_over(bench, instance) == before
    assert files_of(store) == []


class FullStore(DirectoryImageStore):
    """Takes the first block, and then its disk is full."""

    def receive(self, name: str, blocks: Any, **facts: Any) -> Any:
        def full() -> Any:
            yield next(iter(blocks))
            raise OSError("no space")

        return super().receive(name, full(), **facts)


# What it costs


@needs(Capability.COUNTED_CALLS)
def test_it_is_few_calls(bench: Bench, store: DirectoryImageStore) -> None:
    """A task that the stream is late to tell of is looked at, which a busy machine may cause."""
    instance = bench.spawn()
    bench.session.inventory.wait_fresh()
    runs = []
    for name in ("one", "two", "three"):
        bench.backend.forget_calls()
        snapshot(bench, store, instance, name)
        calls = bench.backend.calls()
        runs.append({n: c for n, c in calls.items() if n not in STREAM_METHODS})
    assert min(sum(calls.values()) for calls in runs) <= 10, runs


# A guest


@needs(Capability.GUEST)
def test_the_image_has_what_the_guest_wrote_before_and_not_what_it_wrote_after(
    bench: Bench, store: DirectoryImageStore, way: str, tmp_path: Path
) -> None:
    """The guest boots once more between the snapshot and the upload, and counts that on disk."""
    instance = bench.spawn()
    log = bench.serial(instance)
    log.wait_for("boot 1\r\n")
    log.wait_for("tick 2\r\n")

    def boot_again() -> None:
        second_view.finished(bench.vm(instance).ResetVM_Task())
        log.wait_for("boot 2\r\n")

    made = snapshot(bench, store, instance, told=Told(then={"image_uploading": boot_again}))
    assert made.quiesced is False
    assert boot_count(raw(store, "made", tmp_path)) == 1
    ticks = log.ticks()[-1]
    log.wait_for(f"tick {ticks + 2}\r\n")
    assert log.text().count("boot 2\r\n") == 1, "the guest did not run on"
    bench.ops.power_off(instance)
    assert bench.power(instance) == OFF
    again = an_instance()
    bench.spawn("made", instance=again, ops=bench.engine(images=store))
    bench.serial(again).wait_for("boot 2\r\n")
    bench.ops.power_on(None, instance, None, None)
    log.wait_for("boot 3\r\n")
