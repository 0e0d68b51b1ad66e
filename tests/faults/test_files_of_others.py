"""What an operation did not make it does not take: a file of somebody else's at each of its paths.

The file is there before the operation begins, or comes just before the step that makes one there.
Either way the operation fails, or takes another name; the file stays byte for byte.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
from pyVmomi import vim

from tests.backends import second_view
from tests.builders import CAPACITY, MEMORY_MIB, a_uuid
from tests.contract.engine import Bench
from tests.faults import changing, matrix
from tests.faults.resize_calls import confirm, finish, revert
from vmops import Flavor, Instance, VMwareVMOps
from vmops.errors import FileAlreadyExists, InstanceNotFound, VMOpsError
from vmops.lab.wire.failures import Failure, How
from vmops.model.block_devices import BlockDevices, EphemeralDisk
from vmops.progress import Event, StepStarted

TEXT = b"somebody's, and not the operation's"
DEVICES = BlockDevices(ephemerals=(EphemeralDisk(size_gib=1),), swap_mib=64)
SPAWNED = [
    "{uuid}.vmdk",
    "{uuid}-flat.vmdk",
    "{uuid}.vmx",
    "{uuid}.nvram",
    "ephemeral_0.vmdk",
    "swap.vmdk",
    "configdrive.iso",
    "serial.log",
    "notes.txt",
]
CREATING = {"linked": "Attach the disks", "full": "Copy the image to the root disk"}


def an_instance(*, ephemeral_gib: int = 0, swap_mib: int = 0) -> Instance:
    uuid = a_uuid()
    flavor = Flavor(memory_mib=MEMORY_MIB, ephemeral_gib=ephemeral_gib, swap_mib=swap_mib)
    return Instance(uuid=uuid, name=f"vmops-test-{uuid[:13]}", flavor=flavor)


def put_file(bench: Bench, instance: Instance, name: str) -> Path:
    file = bench.root() / instance.uuid / name.format(uuid=instance.uuid)
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(TEXT)
    return file


def put_disk(bench: Bench, instance: Instance, name: str) -> dict[Path, str]:
    """A real disk with bytes; its files with their digests."""
    file = bench.root() / instance.uuid / name.format(uuid=instance.uuid)
    file.parent.mkdir(exist_ok=True)
    spec = vim.VirtualDiskManager.FileBackedVirtualDiskSpec(
        diskType="thin", adapterType="lsiLogic", capacityKb=CAPACITY // 1024
    )
    path = f"[{bench.backend.datastore}] {instance.uuid}/{file.name}"
    datacenter = second_view.only(bench.content, vim.Datacenter)
    second_view.finished(
        bench.content.virtualDiskManager.CreateVirtualDisk_Task(
            name=path, datacenter=datacenter, spec=spec
        )
    )
    flat = file.with_name(f"{file.stem}-flat.vmdk")
    with flat.open("r+b") as stream:
        stream.write(TEXT)
    return {one: hashlib.sha256(one.read_bytes()).hexdigest() for one in (file, flat)}


def at(title: str, do: Callable[[], object]) -> Callable[[Event], None]:
    """An observer that does something once, when a step begins."""
    done: list[bool] = []

    def observe(event: Event) -> None:
        if isinstance(event, StepStarted) and event.title == title and not done:
            done.append(True)
            do()

    return observe


def spawn(bench: Bench, instance: Instance, *, linked: bool, ops: VMwareVMOps) -> None:
    bench.spawn(
        instance=instance,
        ops=ops,
        linked_clone=linked,
        config_drive=True,
        block_device_info=DEVICES,
    )


# Spawn


@pytest.mark.parametrize("linked", [True, False], ids=["linked", "full"])
@pytest.mark.parametrize("name", SPAWNED)
def test_a_file_where_an_instance_would_be(bench: Bench, name: str, linked: bool) -> None:
    instance = an_instance()
    file = put_file(bench, instance, name)
    before = bench.world()
    with pytest.raises(FileAlreadyExists, match=instance.uuid):
        spawn(bench, instance, linked=linked, ops=bench.ops)
    assert file.read_bytes() == TEXT
    assert bench.world() == before
    bench.ops.destroy(instance, None)
    assert file.read_bytes() == TEXT
    file.unlink()
    spawn(bench, instance, linked=linked, ops=bench.ops)  # an empty folder is in nobody's way
    assert bench.power(instance) == "poweredOn"


@pytest.mark.parametrize("failure", matrix.parameters(["CreateVM_Task"]))
def test_whatever_fails_beside_it(bench: Bench, failure: Failure) -> None:
    instance = an_instance()
    disk = put_disk(bench, instance, "{uuid}.vmdk")
    matrix.lab_of(bench).failures.plan(failure)
    with pytest.raises(VMOpsError):
        spawn(bench, instance, linked=False, ops=bench.ops)
    matrix.lab_of(bench).failures.clear()
    check_disk(disk)


@pytest.mark.parametrize("kind", ["linked", "full"])
@pytest.mark.parametrize("name", ["{uuid}.vmdk", "ephemeral_0.vmdk", "swap.vmdk"])
def test_a_disk_that_comes_before_that_of_an_instance(bench: Bench, kind: str, name: str) -> None:
    instance, disk = an_instance(), {}
    title = "Attach the disks" if "uuid" not in name else CREATING[kind]
    observe = at(title, lambda: disk.update(put_disk(bench, instance, name)))
    with pytest.raises(FileAlreadyExists):
        spawn(bench, instance, linked=kind == "linked", ops=bench.engine(observe=observe))
    check_disk(disk)
    assert bench.vm(instance) is None
    assert sorted(one.name for one in disk) == sorted(
        one.name for one in (bench.root() / instance.uuid).iterdir()
    )


def test_a_vm_of_another_process_is_not_taken_for_the_one_whose_answer_got_lost(
    bench: Bench, other: VMwareVMOps, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both saw no instance; the other was faster, and this one does not hear that it failed."""
    instance = an_instance()
    other.spawn(None, instance, "flat", None)
    vm = bench.vm(instance)
    mark = vim.option.OptionValue(key="vmops.operation", value="spawn 0-0-1-1 2026-01-01T00:00:00Z")
    second_view.finished(vm.ReconfigVM_Task(vim.vm.ConfigSpec(extraConfig=[mark])))
    monkeypatch.setattr("vmops.ops.spawn.place.find_vm_on_server", lambda *_: None)
    monkeypatch.setattr("vmops.ops.spawn.machine.refuse_taken_folder", lambda *_: None)
    matrix.lab_of(bench).failures.plan(Failure(call="CreateVM_Task", how=How.LOST_AFTER))
    with pytest.raises(VMOpsError):
        bench.spawn(instance=instance)
    matrix.lab_of(bench).failures.clear()
    assert bench.power(instance) == "poweredOn"


def check_disk(disk: dict[Path, str]) -> None:
    assert disk
    assert {one: hashlib.sha256(one.read_bytes()).hexdigest() for one in disk} == disk


# Rescue


def rescue(ops: VMwareVMOps, instance: Instance) -> None:
    ops.rescue(None, instance, None, "flat")


def test_a_file_where_the_rescue_disk_would_be(bench: Bench) -> None:
    instance = bench.spawn()
    file = put_file(bench, instance, "{uuid}-rescue.vmdk")
    before = changing.facts(bench, instance)
    with pytest.raises(FileAlreadyExists, match="-rescue"):
        rescue(bench.ops, instance)
    assert file.read_bytes() == TEXT
    assert changing.facts(bench, instance) == before


def test_a_disk_that_comes_before_the_rescue_disk(bench: Bench) -> None:
    instance, disk = bench.spawn(), {}
    before = changing.facts(bench, instance)
    observe = at(
        "Copy the image to the rescue disk",
        lambda: disk.update(put_disk(bench, instance, "{uuid}-rescue.vmdk")),
    )
    with pytest.raises(FileAlreadyExists):
        rescue(bench.engine(observe=observe), instance)
    check_disk(disk)
    before["files"] |= {f"[{bench.backend.datastore}] {instance.uuid}/{one.name}" for one in disk}
    assert changing.facts(bench, instance) == before


# Resize


def migrate(
    ops: VMwareVMOps,
    instance: Instance,
    *,
    root_gib: int = 0,
    ephemeral_gib: int = 0,
    swap_mib: int = 0,
) -> None:
    wanted = Flavor(
        vcpus=2,
        memory_mib=2 * MEMORY_MIB,
        root_gib=root_gib,
        ephemeral_gib=ephemeral_gib,
        swap_mib=swap_mib,
    )
    ops.migrate_disk_and_power_off(None, instance, "", wanted)


def test_a_file_where_the_grown_disk_would_be(bench: Bench) -> None:
    instance = bench.spawn()
    file = put_file(bench, instance, "{uuid}-resized.vmdk")
    before = changing.facts(bench, instance)
    with pytest.raises(FileAlreadyExists, match="-resized"):
        migrate(bench.ops, instance, root_gib=1)
    assert file.read_bytes() == TEXT
    assert changing.facts(bench, instance) == before


def test_a_disk_that_comes_before_the_grown_disk(bench: Bench) -> None:
    instance, disk = bench.spawn(), {}
    before = changing.facts(bench, instance)
    observe = at(
        "Copy the root disk, and let the copy grow",
        lambda: disk.update(put_disk(bench, instance, "{uuid}-resized.vmdk")),
    )
    with pytest.raises(FileAlreadyExists):
        migrate(bench.engine(observe=observe), instance, root_gib=1)
    check_disk(disk)
    before["files"] |= {f"[{bench.backend.datastore}] {instance.uuid}/{one.name}" for one in disk}
    assert changing.facts(bench, instance) == before


@pytest.mark.parametrize("failure", matrix.parameters(["PowerOffVM_Task"]))
def test_a_resize_that_grows_no_disk_takes_none(bench: Bench, failure: Failure) -> None:
    """Neither when it fails nor when it is reverted or confirmed."""
    instance = bench.spawn()
    disk = put_disk(bench, instance, "{uuid}-resized.vmdk")
    changing.failing(bench, failure, lambda: migrate(bench.ops, instance))
    check_disk(disk)
    for end in (revert, confirm):
        migrate(bench.ops, instance)
        finish(bench.ops, instance)
        end(bench.ops, instance)
        check_disk(disk)


@pytest.mark.parametrize("end", [revert, confirm])
def test_disks_where_the_new_ephemeral_and_swap_disks_would_be(
    bench: Bench, end: Callable[[VMwareVMOps, Instance], None]
) -> None:
    """Their names are not for people to rely on: they get others."""
    instance = an_instance(ephemeral_gib=1, swap_mib=64)
    bench.spawn(instance=instance)
    disks = put_disk(bench, instance, "ephemeral_0-resized.vmdk")
    disks |= put_disk(bench, instance, "swap-resized.vmdk")
    for ephemeral_gib, swap_mib in ((2, 128), (3, 64)):
        migrate(bench.ops, instance, ephemeral_gib=ephemeral_gib, swap_mib=swap_mib)
        finish(bench.ops, instance)
        found = [disk[3] for disk in changing.facts(bench, instance)["disks"]]
        assert found[1:] == [ephemeral_gib * 1024**2, swap_mib * 1024]
        end(bench.ops, instance)
        check_disk(disks)


@pytest.mark.parametrize("failure", matrix.parameters(["ReconfigVM_Task"]))
def test_new_ephemeral_disks_that_fail_beside_them(bench: Bench, failure: Failure) -> None:
    instance = an_instance(ephemeral_gib=1, swap_mib=64)
    bench.spawn(instance=instance)
    disks = put_disk(bench, instance, "ephemeral_0-resized.vmdk")
    migrate(bench.ops, instance, ephemeral_gib=2, swap_mib=128)
    changing.failing(bench, failure, lambda: finish(bench.ops, instance))
    check_disk(disks)


# The cache


@pytest.mark.parametrize("way", ["flat", "streamOptimized"])
def test_a_folder_where_the_caches_entry_would_be(bench: Bench, way: str) -> None:
    image = bench.images.store.get(way)
    file = bench.root() / bench.backend.cache_folder / image.id / "mine.txt"
    file.parent.mkdir(parents=True)
    file.write_bytes(TEXT)
    before, instance = bench.world(), an_instance()
    with pytest.raises(FileAlreadyExists):
        bench.spawn(way, instance=instance)
    assert file.read_bytes() == TEXT
    assert bench.world() == before
    with pytest.raises(InstanceNotFound):
        bench.ops.get_info(instance)
