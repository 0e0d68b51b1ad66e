"""A resize's ephemeral and swap disks: new ones come empty, old ones are kept until confirmed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pyVmomi import vim

from tests.backends import files, second_view
from tests.backends.capabilities import Capability
from tests.builders import MEMORY_MIB, a_uuid
from tests.contract.engine import Bench
from tests.contract.needs import needs
from tests.contract.volumes import a_shadow_vm, mapping, paths
from vmops import Flavor, Instance
from vmops.errors import InvalidPowerState, InvalidState
from vmops.model.block_devices import BlockDevices, EphemeralDisk

GIB = 1024**3
MIB = 1024**2
SMALL = Flavor(memory_mib=MEMORY_MIB, ephemeral_gib=1, swap_mib=64, name="small")
BIG = Flavor(memory_mib=MEMORY_MIB, vcpus=2, ephemeral_gib=2, swap_mib=128, name="big")
NONE = Flavor(memory_mib=MEMORY_MIB, vcpus=2, name="none")
Disk = vim.vm.device.VirtualDisk


def spawn(bench: Bench, flavor: Flavor = SMALL, **options: Any) -> Instance:
    uuid = a_uuid()
    instance = Instance(uuid=uuid, name=f"vmops-test-{uuid[:13]}", flavor=flavor)
    return bench.spawn(instance=instance, **options)


def migrate(bench: Bench, instance: Instance, flavor: Flavor = BIG, dest: str = "") -> None:
    bench.ops.migrate_disk_and_power_off(None, instance, dest, flavor)


def finish(bench: Bench, instance: Instance, devices: Any = None, *, power_on: bool = True) -> None:
    bench.ops.finish_migration(
        None, None, instance, None, None, None, True, devices, power_on=power_on
    )


def confirm(bench: Bench, instance: Instance) -> None:
    bench.ops.confirm_migration(None, instance, None)


def revert(bench: Bench, instance: Instance, *, power_on: bool = True) -> None:
    bench.ops.finish_revert_migration(instance, None, power_on=power_on)


def extras(bench: Bench, instance: Instance) -> list[tuple[str, int, tuple[int, int]]]:
    """The disks beside the root disk, by place: file, capacity, place."""
    found = [
        (disk.backing.fileName, disk.capacityInKB * 1024, (disk.controllerKey, disk.unitNumber))
        for disk in second_view.devices(bench.vm(instance), Disk)
    ]
    return sorted(found, key=lambda each: each[2])[1:]


def sizes(bench: Bench, instance: Instance) -> list[int]:
    return [size for _, size, _ in extras(bench, instance)]


def names(bench: Bench, instance: Instance) -> set[str]:
    """The disks in the instance's folder, but the root disk."""
    folder = f"[{bench.backend.datastore}] {instance.uuid}/"
    found = {path.removeprefix(folder) for path in bench.tree() if path.startswith(folder)}
    data = ("-flat.vmdk", "-delta.vmdk")
    disks = {name for name in found if name.endswith(".vmdk") and not name.endswith(data)}
    return disks - {f"{instance.uuid}.vmdk"}


def data(bench: Bench, path: str) -> Path:
    return files.flat_of(files.local(bench.root(), path))


def mark(bench: Bench, path: str) -> None:
    """Put something on a disk that a copy or an empty one would not have."""
    with data(bench, path).open("r+b") as stream:
        stream.write(b"what the guest wrote")


def is_marked(bench: Bench, path: str) -> bool:
    with data(bench, path).open("rb") as stream:
        return stream.read(20) == b"what the guest wrote"


@needs(Capability.LOCAL_FILES)
def test_new_disks_come_and_the_old_ones_are_kept_until_it_is_confirmed(bench: Bench) -> None:
    instance = spawn(bench)
    before = extras(bench, instance)
    assert [size for _, size, _ in before] == [GIB, 64 * MIB]
    migrate(bench, instance)
    assert extras(bench, instance) == before
    finish(bench, instance)
    after = extras(bench, instance)
    assert [size for _, size, _ in after] == [2 * GIB, 128 * MIB]
    assert [place for _, _, place in after] == [place for _, _, place in before]
    assert len(names(bench, instance)) == 4
    assert bench.power(instance) == "poweredOn"
    confirm(bench, instance)
    assert extras(bench, instance) == after
    assert names(bench, instance) == {path.rpartition("/")[2] for path, _, _ in after}


@needs(Capability.DISK_BYTES)
@pytest.mark.parametrize("flavor", [BIG, NONE], ids=["bigger", "none"])
def test_a_revert_puts_the_old_ones_back_with_what_is_on_them(bench: Bench, flavor: Flavor) -> None:
    instance = spawn(bench, power_on=False)
    before = extras(bench, instance)
    for path, _, _ in before:
        mark(bench, path)
    migrate(bench, instance, flavor)
    finish(bench, instance, power_on=False)
    for path, _, _ in extras(bench, instance):
        assert not is_marked(bench, path), "a new disk is empty"
    revert(bench, instance, power_on=False)
    assert extras(bench, instance) == before
    assert names(bench, instance) == {path.rpartition("/")[2] for path, _, _ in before}
    for path, _, _ in before:
        assert is_marked(bench, path)


@needs(Capability.DISK_BYTES)
def test_a_disk_that_has_its_size_already_is_not_touched(bench: Bench) -> None:
    """Whether the flavor says so, or block devices that share what it allows."""
    instance = spawn(
        bench,
        Flavor(memory_mib=MEMORY_MIB, ephemeral_gib=3, swap_mib=64),
        block_device_info=BlockDevices(
            ephemerals=(EphemeralDisk(size_gib=1), EphemeralDisk(size_gib=2))
        ),
        power_on=False,
    )
    before = extras(bench, instance)
    for path, _, _ in before:
        mark(bench, path)
    migrate(bench, instance, Flavor(memory_mib=MEMORY_MIB, ephemeral_gib=3, swap_mib=128))
    finish(bench, instance, power_on=False)
    after = extras(bench, instance)
    assert after[:2] == before[:2]
    assert after[2][0] != before[2][0]
    confirm(bench, instance)
    assert [is_marked(bench, path) for path, _, _ in after] == [True, True, False]


def test_disks_that_were_not_there_come_and_go_again(bench: Bench) -> None:
    instance = spawn(bench, NONE)
    migrate(bench, instance)
    finish(bench, instance)
    assert sizes(bench, instance) == [2 * GIB, 128 * MIB]
    revert(bench, instance)
    assert extras(bench, instance) == []
    migrate(bench, instance)
    finish(bench, instance)
    confirm(bench, instance)
    migrate(bench, instance, NONE)
    finish(bench, instance)
    assert extras(bench, instance) == []
    confirm(bench, instance)
    assert extras(bench, instance) == []


def test_block_devices_go_before_the_flavor(bench: Bench) -> None:
    """In Nova's shape, as its manager gives them."""
    instance = spawn(bench)
    migrate(bench, instance)
    info = {
        "ephemerals": [{"size": 1, "disk_bus": "scsi"}, {"size": 3, "disk_bus": "scsi"}],
        "swap": {"swap_size": 32},
        "block_device_mapping": [],
    }
    finish(bench, instance, info)
    assert sorted(sizes(bench, instance)) == [32 * MIB, GIB, 3 * GIB]
    revert(bench, instance)
    assert sizes(bench, instance) == [GIB, 64 * MIB]


def test_finishing_twice_is_finishing_once(bench: Bench) -> None:
    instance = spawn(bench)
    migrate(bench, instance)
    finish(bench, instance)
    before = extras(bench, instance)
    finish(bench, instance)
    assert extras(bench, instance) == before


def test_again_and_again(bench: Bench) -> None:
    instance = spawn(bench, power_on=False)
    for gib in (2, 3, 2):
        migrate(bench, instance, Flavor(memory_mib=MEMORY_MIB, ephemeral_gib=gib, swap_mib=64))
        finish(bench, instance, power_on=False)
        confirm(bench, instance)
        assert sizes(bench, instance) == [gib * GIB, 64 * MIB]


@needs(Capability.TWO_DATASTORES, Capability.DISK_BYTES)
@pytest.mark.parametrize("way", ["confirm", "revert"])
def test_they_go_along_to_another_datastore(bench: Bench, way: str) -> None:
    instance = spawn(bench, power_on=False)
    before = extras(bench, instance)
    mark(bench, before[0][0])
    stores = second_view.every(bench.content, vim.Datastore, "name").values()
    dest = next(s["name"] for s in stores if s["name"] != bench.backend.datastore)
    migrate(bench, instance, dest=dest)
    finish(bench, instance, power_on=False)
    assert {path.partition("]")[0] for path, _, _ in extras(bench, instance)} == {f"[{dest}"}
    assert sizes(bench, instance) == [2 * GIB, 128 * MIB]
    if way == "confirm":
        confirm(bench, instance)
    else:
        revert(bench, instance, power_on=False)
        assert extras(bench, instance) == before
        assert is_marked(bench, before[0][0])
    bench.ops.destroy(instance, None)
    assert not [path for path in bench.tree() if instance.uuid in path]


@needs(Capability.LOCAL_FILES)
def test_an_instance_is_destroyed_with_the_disks_that_were_kept(bench: Bench) -> None:
    instance = spawn(bench)
    migrate(bench, instance)
    finish(bench, instance)
    bench.ops.destroy(instance, None)
    assert not [path for path in bench.tree() if instance.uuid in path]


def test_disks_with_snapshots_are_not_exchanged(bench: Bench) -> None:
    instance = spawn(bench)
    second_view.finished(bench.vm(instance).CreateSnapshot_Task("one", "", False, False))
    before = bench.vms()
    with pytest.raises(InvalidState, match="snapshots"):
        migrate(bench, instance)
    assert bench.vms() == before
    same = Flavor(memory_mib=MEMORY_MIB, vcpus=2, ephemeral_gib=1, swap_mib=64)
    migrate(bench, instance, same)
    finish(bench, instance)
    assert bench.power(instance) == "poweredOn"


def test_a_running_one_is_not_exchanged(bench: Bench) -> None:
    """Somebody has started it in between."""
    instance = spawn(bench)
    migrate(bench, instance)
    bench.ops.power_on(None, instance, None, None)
    before = extras(bench, instance)
    with pytest.raises(InvalidPowerState, match="Power it off"):
        finish(bench, instance)
    assert extras(bench, instance) == before
    bench.ops.power_off(instance)
    finish(bench, instance)
    assert sizes(bench, instance) == [2 * GIB, 128 * MIB]


@needs(Capability.COUNTED_CALLS)
def test_it_costs_two_calls_and_none_where_nothing_changes(bench: Bench) -> None:
    least = [99, 99]
    for _ in range(5):
        for number, flavor in enumerate((BIG, SMALL)):
            instance = spawn(bench)
            migrate(bench, instance, flavor)
            calls = bench.calls_of(lambda: finish(bench, instance))  # noqa: B023
            least[number] = min(least[number], calls.total())
        if least == [3, 1]:
            break
    assert least == [3, 1]


@needs(Capability.DISK_BYTES)
@pytest.mark.parametrize("way", ["confirm", "revert"])
def test_an_instance_that_boots_from_a_volume_keeps_it_as_it_is(bench: Bench, way: str) -> None:
    """The flavor's root disk is not the volume's size: that is its service's matter."""
    volume = a_shadow_vm(bench)
    info = {**mapping(volume), "ephemerals": [{"size": 1, "disk_bus": None}]}
    instance = spawn(bench, Flavor(memory_mib=MEMORY_MIB), image="", block_device_info=info)
    before = paths(bench, instance)
    assert (before[0], sizes(bench, instance)) == (volume.path, [GIB])
    bigger = Flavor(memory_mib=MEMORY_MIB, vcpus=2, root_gib=3, ephemeral_gib=2, swap_mib=8)
    migrate(bench, instance, bigger)
    finish(bench, instance, mapping(volume))
    assert (paths(bench, instance)[0], sizes(bench, instance)) == (volume.path, [2 * GIB, 8 * MIB])
    if way == "confirm":
        confirm(bench, instance)
        assert paths(bench, instance)[0] == volume.path
    else:
        revert(bench, instance)
        assert paths(bench, instance) == before
    assert bench.power(instance) == "poweredOn"
    bench.ops.destroy(instance, None)
    assert volume.path in bench.tree()


def test_progress_rises_to_a_hundred(bench: Bench) -> None:
    told: list[int] = []

    class Manager:
        def instance_update(self, context: Any, instance_uuid: str, updates: Any) -> None:
            told.append(updates["progress"])

    ops = bench.engine(virtapi=Manager())
    instance = spawn(bench)
    ops.migrate_disk_and_power_off(None, instance, "", BIG)
    ops.finish_migration(None, None, instance, None, None, None, True)
    assert told == sorted(set(told))
    assert (told[0], told[-1]) == (0, 100)


# The notes for people


def notes(bench: Bench, instance: Instance) -> dict[str, str]:
    text = second_view.properties(bench.vm(instance), "config.annotation")["config.annotation"]
    return dict(line.split(":", 2)[1:] for line in text.splitlines() if line.startswith("flavor:"))


@pytest.mark.parametrize("way", ["confirm", "revert"])
def test_the_notes_tell_the_flavor(bench: Bench, way: str) -> None:
    instance = spawn(bench)
    vm = bench.vm(instance)
    others = "somebody: keep this\n"
    text = second_view.properties(vm, "config.annotation")["config.annotation"] + others
    second_view.finished(vm.ReconfigVM_Task(vim.vm.ConfigSpec(annotation=text)))
    before = notes(bench, instance)
    assert (before["name"], before["vcpus"]) == ("small", "1")
    migrate(bench, instance)
    told = notes(bench, instance)
    assert (told["name"], told["vcpus"], told["ephemeral_gb"]) == ("big", "2", "2")
    finish(bench, instance)
    if way == "confirm":
        confirm(bench, instance)
        assert notes(bench, instance) == told
    else:
        revert(bench, instance)
        assert notes(bench, instance) == before
    assert second_view.properties(vm, "config.annotation")["config.annotation"].endswith(others)
