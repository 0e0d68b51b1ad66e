"""Resize: another size, a grown disk, the old one kept until it is confirmed or taken back."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from pyVmomi import vim

from tests.backends import files, second_view
from tests.backends.capabilities import Capability
from tests.builders import CAPACITY, MEMORY_MIB, an_instance
from tests.contract.engine import Bench
from tests.contract.needs import needs
from tests.contract.test_power import OFF, ON, SUSPENDED, in_state
from tests.contract.volume_by_hand import FOLDER, add_volume, volume_data
from vmops import Flavor, Instance, VMwareVMOps
from vmops.errors import (
    HostNotFound,
    InstanceNotFound,
    InstanceUnacceptable,
    InvalidPowerState,
    InvalidState,
    MigrationPreCheckFailed,
    NotResized,
    OriginalNotFound,
    ResizeError,
)

GIB = 1024**3
BIGGER = Flavor(vcpus=2, memory_mib=2 * MEMORY_MIB)
WITH_DISK = Flavor(vcpus=2, memory_mib=2 * MEMORY_MIB, root_gib=1)
NOTE = "vmops.resize"


class Manager:
    """What Nova's compute manager is told."""

    def __init__(self) -> None:
        self.progress: list[int] = []

    def instance_update(self, context: Any, instance_uuid: str, updates: dict[str, Any]) -> None:
        self.progress.append(updates["progress"])


def migrate(
    bench: Bench, instance: Instance | str, flavor: Any = BIGGER, dest: str = "", **options: Any
) -> None:
    ops: VMwareVMOps = options.pop("ops", bench.ops)
    ops.migrate_disk_and_power_off(None, instance, dest, flavor, **options)


def finish(bench: Bench, instance: Instance | str, **options: Any) -> None:
    ops: VMwareVMOps = options.pop("ops", bench.ops)
    ops.finish_migration(None, None, instance, None, None, None, True, **options)


def confirm(bench: Bench, instance: Instance | str) -> None:
    bench.ops.confirm_migration(None, instance, None)


def revert(bench: Bench, instance: Instance | str, **options: Any) -> None:
    bench.ops.finish_revert_migration(instance, None, **options)


def resize(bench: Bench, instance: Instance, flavor: Flavor = BIGGER) -> None:
    migrate(bench, instance, flavor)
    finish(bench, instance)


def size(bench: Bench, instance: Instance) -> tuple[int, int]:
    found = second_view.properties(
        bench.vm(instance), "config.hardware.numCPU", "config.hardware.memoryMB"
    )
    return found["config.hardware.numCPU"], found["config.hardware.memoryMB"]


def root(bench: Bench, instance: Instance) -> tuple[str, int]:
    disk = bench.root_disk(instance)
    return disk.backing.fileName, disk.capacityInKB * 1024


def note(bench: Bench, instance: Instance) -> str:
    return second_view.extra_config(bench.vm(instance)).get(NOTE, "")


def disks_of(bench: Bench, instance: Instance) -> set[str]:
    """The descriptors in the instance's folder."""
    folder = f"[{bench.backend.datastore}] {instance.uuid}/"
    return {
        path.removeprefix(folder)
        for path in bench.tree()
        if path.startswith(folder) and path.endswith(".vmdk") and not is_data(path)
    }


def is_data(path: str) -> bool:
    return path.endswith(("-flat.vmdk", "-delta.vmdk"))


# The size


@pytest.mark.parametrize("before", [ON, OFF])
def test_an_instance_has_the_new_size_after_it_and_runs(bench: Bench, before: str) -> None:
    instance = in_state(bench, before)
    migrate(bench, instance)
    assert (bench.power(instance), size(bench, instance)) == (OFF, (2, 2 * MEMORY_MIB))
    finish(bench, instance)
    assert (bench.power(instance), size(bench, instance)) == (ON, (2, 2 * MEMORY_MIB))
    confirm(bench, instance)
    assert (bench.power(instance), size(bench, instance)) == (ON, (2, 2 * MEMORY_MIB))
    assert note(bench, instance) == ""


def test_it_stays_off_where_that_is_asked_for(bench: Bench) -> None:
    instance = in_state(bench, ON)
    migrate(bench, instance)
    finish(bench, instance, power_on=False)
    assert bench.power(instance) == OFF


@pytest.mark.parametrize("power_on", [True, False])
def test_a_revert_gives_the_old_size_back(bench: Bench, power_on: bool) -> None:
    instance = in_state(bench, ON)
    resize(bench, instance)
    revert(bench, instance, power_on=power_on)
    assert size(bench, instance) == (1, MEMORY_MIB)
    assert bench.power(instance) == (ON if power_on else OFF)
    assert note(bench, instance) == ""


def test_processors_and_memory_may_become_less(bench: Bench) -> None:
    instance = bench.spawn(instance=an_instance(vcpus=4))
    resize(bench, instance, Flavor(vcpus=2, memory_mib=MEMORY_MIB - 4))
    assert size(bench, instance) == (2, MEMORY_MIB - 4)


def test_reservations_limits_shares_and_sockets_are_what_the_flavor_asks_for(bench: Bench) -> None:
    """In Nova's shapes, and they are gone again with the flavor."""
    instance = in_state(bench, OFF)
    specs = {
        "quota:cpu_limit": "900",
        "quota:cpu_reservation": "300",
        "quota:cpu_shares_level": "high",
        "quota:memory_limit": "24",
        "quota:memory_reservation": "8",
        "quota:memory_shares_level": "custom",
        "quota:memory_shares_share": "77",
        "hw:cpu_cores": "2",
    }
    flavor = {"vcpus": 4, "memory_mb": 32, "root_gb": 0, "extra_specs": specs}
    migrate(bench, instance, flavor)
    config = bench.vm(instance).config
    assert (config.cpuAllocation.limit, config.cpuAllocation.reservation) == (900, 300)
    assert config.cpuAllocation.shares.level == "high"
    assert (config.memoryAllocation.limit, config.memoryAllocation.reservation) == (24, 8)
    shares = config.memoryAllocation.shares
    assert (shares.level, shares.shares) == ("custom", 77)
    assert (config.hardware.numCPU, config.hardware.numCoresPerSocket) == (4, 2)
    revert(bench, instance, power_on=False)
    config = bench.vm(instance).config
    assert (config.cpuAllocation.limit, config.cpuAllocation.reservation) == (-1, 0)
    assert (config.memoryAllocation.limit, config.memoryAllocation.reservation) == (-1, 0)
    assert config.memoryAllocation.shares.level == "normal"
    assert config.hardware.numCPU == 1


@pytest.mark.parametrize(
    "specs",
    [
        {"quota:cpu_limit": "some"},
        {"quota:cpu_shares_level": "urgent"},
        {"quota:cpu_shares_level": "high", "quota:cpu_shares_share": "5"},
        {"quota:cpu_limit": "5", "quota:cpu_reservation": "6"},
        {"quota:memory_reservation": "9999"},
        {"hw:cpu_cores": "3"},
        {"hw:cpu_threads": "2"},
    ],
    ids=lambda specs: " ".join(f"{key}={value}" for key, value in specs.items()),
)
def test_a_flavor_that_cannot_be_is_refused_before_anything(
    bench: Bench, specs: dict[str, str]
) -> None:
    instance = in_state(bench, ON)
    before = bench.world()
    with pytest.raises(InstanceUnacceptable):
        migrate(bench, instance, {"vcpus": 4, "memory_mb": 32, "extra_specs": specs})
    assert bench.world() == before


# The disk


@needs(Capability.DISK_GROWTH, Capability.DISK_BYTES, Capability.UNTOUCHED_DISKS)
@pytest.mark.parametrize("linked", [True, False], ids=["linked", "full"])
def test_the_root_disk_grows_and_keeps_its_bytes(bench: Bench, linked: bool) -> None:
    instance = bench.spawn(linked_clone=linked)
    migrate(bench, instance, WITH_DISK)
    path, capacity = root(bench, instance)
    assert capacity == GIB
    assert bench.root_disk(instance).backing.parent is None
    assert bench.disk_digest(path, CAPACITY) == bench.image_digest()
    finish(bench, instance)
    confirm(bench, instance)
    assert disks_of(bench, instance) == {path.rpartition("/")[2]}


@needs(Capability.DISK_GROWTH, Capability.DISK_BYTES, Capability.UNTOUCHED_DISKS)
@pytest.mark.parametrize("linked", [True, False], ids=["linked", "full"])
def test_the_old_disk_is_kept_until_it_is_confirmed(bench: Bench, linked: bool) -> None:
    instance = bench.spawn(linked_clone=linked)
    before = root(bench, instance)
    resize(bench, instance, WITH_DISK)
    assert len(disks_of(bench, instance)) == 2
    revert(bench, instance, power_on=False)
    assert root(bench, instance) == before
    assert disks_of(bench, instance) == {before[0].rpartition("/")[2]}
    assert bench.disk_digest(before[0], CAPACITY) == bench.image_digest()


@needs(Capability.DISK_GROWTH)
def test_a_disk_can_be_resized_again_and_again(bench: Bench) -> None:
    instance = in_state(bench, OFF)
    for gib in (1, 2, 3):
        resize(bench, instance, Flavor(vcpus=1, memory_mib=MEMORY_MIB, root_gib=gib))
        confirm(bench, instance)
        assert root(bench, instance)[1] == gib * GIB
        assert len(disks_of(bench, instance)) == 1


@needs(Capability.DISK_GROWTH)
def test_a_disk_that_has_the_size_already_is_not_copied(bench: Bench) -> None:
    instance = bench.spawn(instance=an_instance(root_gib=1))
    before = root(bench, instance)
    resize(bench, instance, WITH_DISK)
    assert root(bench, instance) == before


@needs(Capability.DISK_GROWTH)
def test_shrinking_is_refused_and_the_instance_still_runs(bench: Bench) -> None:
    instance = bench.spawn(instance=an_instance(root_gib=2))
    before = bench.world()
    with pytest.raises(ResizeError, match=r"cannot shrink to 1 GiB"):
        migrate(bench, instance, WITH_DISK)
    assert bench.power(instance) == ON
    assert bench.world() == before


@needs(Capability.LOCAL_FILES, Capability.DISK_GROWTH)
@pytest.mark.parametrize("confirmed", [True, False])
def test_a_resized_instance_is_destroyed_with_both_disks(bench: Bench, confirmed: bool) -> None:
    instance = bench.spawn()
    resize(bench, instance, WITH_DISK)
    if confirmed:
        confirm(bench, instance)
    bench.ops.destroy(instance, None)
    assert not [path for path in bench.tree() if instance.uuid in path]


@needs(Capability.LOCAL_FILES, Capability.DISK_GROWTH)
def test_what_has_lost_its_old_disk_is_not_reverted_and_not_touched(bench: Bench) -> None:
    """The caller is told as of an instance that is not there, which is what Nova handles."""
    instance = in_state(bench, ON)
    before = root(bench, instance)
    resize(bench, instance, WITH_DISK)
    files.local(bench.root(), before[0]).unlink()
    machines = bench.vms()
    with pytest.raises(InstanceNotFound, match=re.escape(before[0])) as failed:
        revert(bench, instance)
    assert isinstance(failed.value, OriginalNotFound)
    assert failed.value.instance_uuid == instance.uuid
    assert bench.vms() == machines
    assert bench.power(instance) == ON
    confirm(bench, instance)
    assert root(bench, instance)[1] == GIB


# What it tells


@needs(Capability.COUNTED_CALLS, Capability.DISK_GROWTH)
def test_it_costs_at_most_half_of_the_calls_of_nova(bench: Bench) -> None:
    """Nova's class makes 12 + 4 + 3 for the same on the same endpoint.

    The least of some rounds: on a busy machine the stream is late to tell of a task, and one look
    more is taken at it.
    """
    steps: list[Callable[[Instance], object]]
    for last, most in ((confirm, 2), (revert, 5)):
        least = [99, 99, 99]
        for _ in range(10):
            instance = bench.spawn()
            steps = [
                lambda one: migrate(bench, one, WITH_DISK),
                lambda one: finish(bench, one),
                partial(last, bench),
            ]
            for number, do in enumerate(steps):
                calls = bench.calls_of(partial(do, instance))
                least[number] = min(least[number], calls.total())
            if least == [6, 1, most]:
                break
        assert least == [6, 1, most]


@pytest.mark.parametrize("flavor", [BIGGER, WITH_DISK], ids=["size", "disk"])
def test_progress_rises_to_a_hundred(bench: Bench, flavor: Flavor) -> None:
    if flavor is WITH_DISK and Capability.DISK_GROWTH in bench.backend.lacks:
        flavor = BIGGER
    manager = Manager()
    ops = bench.engine(virtapi=manager)
    instance = in_state(bench, ON)
    migrate(bench, instance, flavor, ops=ops)
    assert manager.progress[0] == 0
    assert manager.progress[-1] < 100
    finish(bench, instance, ops=ops)
    assert manager.progress == sorted(set(manager.progress))
    assert manager.progress[-1] == 100


# States


def test_what_is_not_resized_is_not_finished_reverted_or_confirmed(bench: Bench) -> None:
    instance = in_state(bench, ON)
    before = bench.world()
    with pytest.raises(NotResized, match=instance.uuid):
        finish(bench, instance)
    with pytest.raises(NotResized, match=instance.uuid):
        revert(bench, instance)
    confirm(bench, instance)
    assert bench.world() == before


def test_confirming_twice_is_confirming_once(bench: Bench) -> None:
    instance = in_state(bench, ON)
    resize(bench, instance)
    confirm(bench, instance)
    before = bench.world()
    confirm(bench, instance)
    assert bench.world() == before


def test_what_is_confirmed_is_not_reverted(bench: Bench) -> None:
    instance = in_state(bench, ON)
    resize(bench, instance)
    confirm(bench, instance)
    with pytest.raises(NotResized):
        revert(bench, instance)
    assert size(bench, instance) == (2, 2 * MEMORY_MIB)


def test_an_instance_that_does_not_exist(bench: Bench) -> None:
    nobody = an_instance()
    for do in (migrate, finish, revert):
        with pytest.raises(InstanceNotFound, match=nobody.uuid):
            do(bench, nobody)
    confirm(bench, nobody)


@needs(Capability.DISK_CONVERSION)
@pytest.mark.parametrize("state", ["suspended", "paused", "rescued", "resized"])
def test_states_in_which_no_resize_begins(bench: Bench, state: str) -> None:
    instance = in_state(bench, SUSPENDED if state == "suspended" else ON)
    {
        "suspended": lambda: None,
        "paused": lambda: bench.ops.pause(instance),
        "rescued": lambda: bench.ops.rescue(None, instance, None, "flat"),
        "resized": lambda: resize(bench, instance),
    }[state]()
    before = bench.world()
    kind = InvalidPowerState if state == "suspended" else InvalidState
    with pytest.raises(kind, match=f"{instance.uuid}.* is {state}"):
        migrate(bench, instance, Flavor(vcpus=4, memory_mib=MEMORY_MIB))
    assert bench.world() == before


@pytest.mark.parametrize("name", ["rescue", "pause"])
def test_what_cannot_begin_until_a_resize_is_settled(bench: Bench, name: str) -> None:
    instance = in_state(bench, ON)
    resize(bench, instance)
    before = bench.world()
    with pytest.raises(InvalidState, match=r"is resized.*Confirm or revert"):
        if name == "rescue":
            bench.ops.rescue(None, instance, None, "flat")
        else:
            bench.ops.pause(instance)
    assert bench.world() == before
    revert(bench, instance)
    assert size(bench, instance) == (1, MEMORY_MIB)


@needs(Capability.DISK_GROWTH)
def test_a_disk_with_snapshots_does_not_grow(bench: Bench) -> None:
    instance = in_state(bench, ON)
    second_view.finished(bench.vm(instance).CreateSnapshot_Task("one", "", False, False))
    before = bench.world()
    with pytest.raises(InvalidState, match="snapshots"):
        migrate(bench, instance, WITH_DISK)
    assert bench.world() == before
    resize(bench, instance)
    revert(bench, instance)
    assert size(bench, instance) == (1, MEMORY_MIB)


@needs(Capability.DISK_GROWTH)
def test_a_new_disk_with_snapshots_is_not_thrown_away(bench: Bench) -> None:
    instance = in_state(bench, ON)
    resize(bench, instance, WITH_DISK)
    vm = bench.vm(instance)
    second_view.finished(vm.CreateSnapshot_Task("one", "", False, False))
    before = bench.world()
    with pytest.raises(InvalidState, match="snapshots"):
        revert(bench, instance)
    assert bench.world() == before
    second_view.finished(vm.RemoveAllSnapshots_Task(consolidate=True))
    revert(bench, instance)
    assert size(bench, instance) == (1, MEMORY_MIB)


@needs(Capability.CONTROL, Capability.UNTOUCHED_DISKS)
@pytest.mark.parametrize("tools", ["running", ""])
def test_the_guest_is_asked_to_shut_down_where_there_is_time(bench: Bench, tools: str) -> None:
    instance = bench.spawn(extra_config={"vmops.lab.tools": tools} if tools else {})
    bench.backend.forget_calls()
    migrate(bench, instance, timeout=20, retry_interval=0.1)
    calls = bench.backend.calls()
    assert bench.power(instance) == OFF
    assert calls["ShutdownGuest"] == 1
    assert calls["PowerOffVM_Task"] == (0 if tools else 1)


def test_done_twice_is_done_once(bench: Bench) -> None:
    """What Nova's manager may do when an answer got lost."""
    instance = in_state(bench, ON)
    migrate(bench, instance)
    before = bench.world()
    migrate(bench, instance)
    assert bench.world() == before
    finish(bench, instance)
    finish(bench, instance)
    assert bench.power(instance) == ON


@pytest.fixture
def other(bench: Bench) -> Iterator[VMwareVMOps]:
    """An engine on a session of its own, as another process has it."""
    with bench.backend.connect() as session:
        yield bench.engine(session=session)


@needs(Capability.DISK_GROWTH)
@pytest.mark.parametrize("way", ["confirm", "revert"])
def test_another_session_ends_it(bench: Bench, other: VMwareVMOps, way: str) -> None:
    instance = in_state(bench, ON)
    before = root(bench, instance)
    migrate(bench, instance, WITH_DISK)
    finish(bench, instance, ops=other)
    if way == "confirm":
        other.confirm_migration(None, instance, None)
        assert root(bench, instance)[1] == GIB
    else:
        other.finish_revert_migration(instance, None)
        assert root(bench, instance) == before
    assert len(disks_of(bench, instance)) == 1


# Another place


def place(bench: Bench, instance: Instance) -> tuple[str, str]:
    """The names of its host, and of the datastore that its configuration is on."""
    found = second_view.properties(bench.vm(instance), "runtime.host", "config.files.vmPathName")
    host = second_view.properties(found["runtime.host"], "name")["name"]
    return host, found["config.files.vmPathName"].partition("]")[0].removeprefix("[")


def another_host(bench: Bench, instance: Instance) -> str:
    here, _ = place(bench, instance)
    hosts = second_view.every(bench.content, vim.HostSystem, "name").values()
    return next(str(each["name"]) for each in hosts if each["name"] != here)


def another_datastore(bench: Bench, instance: Instance) -> str:
    _, here = place(bench, instance)
    datastores = second_view.every(bench.content, vim.Datastore, "name").values()
    return next(str(each["name"]) for each in datastores if each["name"] != here)


@needs(Capability.VCENTER, Capability.SHARED_DATASTORES)
@pytest.mark.parametrize("way", ["confirm", "revert"])
def test_it_goes_to_another_host(bench: Bench, way: str) -> None:
    instance = in_state(bench, ON)
    before = place(bench, instance)
    dest = another_host(bench, instance)
    migrate(bench, instance, dest=dest)
    assert place(bench, instance) == (dest, before[1])
    assert (bench.power(instance), size(bench, instance)) == (OFF, (2, 2 * MEMORY_MIB))
    finish(bench, instance)
    if way == "confirm":
        confirm(bench, instance)
        assert place(bench, instance) == (dest, before[1])
    else:
        revert(bench, instance)
        assert place(bench, instance) == before
        assert size(bench, instance) == (1, MEMORY_MIB)
    assert bench.power(instance) == ON


@needs(
    Capability.TWO_DATASTORES,
    Capability.DISK_BYTES,
    Capability.DISK_GROWTH,
    Capability.UNTOUCHED_DISKS,
)
@pytest.mark.parametrize("linked", [True, False], ids=["linked", "full"])
@pytest.mark.parametrize("way", ["confirm", "revert"])
def test_it_goes_to_another_datastore_and_grows_there(bench: Bench, way: str, linked: bool) -> None:
    instance = bench.spawn(linked_clone=linked)
    host, home = place(bench, instance)
    dest = another_datastore(bench, instance)
    migrate(bench, instance, WITH_DISK, dest)
    assert place(bench, instance) == (host, dest)
    path, capacity = root(bench, instance)
    assert path.startswith(f"[{dest}] ")
    assert capacity == GIB
    finish(bench, instance)
    if way == "confirm":
        confirm(bench, instance)
        assert digest_on(bench, dest, path) == bench.image_digest()
    else:
        revert(bench, instance, power_on=False)
        assert place(bench, instance) == (host, home)
        path, capacity = root(bench, instance)
        assert path.startswith(f"[{home}] ")
        assert capacity == CAPACITY
        assert bench.disk_digest(path, CAPACITY) == bench.image_digest()
    there = {p for p in bench.tree() if instance.uuid in p and p.endswith(".vmdk")}
    assert {p for p in there if not is_data(p)} == {path}
    bench.ops.destroy(instance, None)
    assert not [path for path in bench.tree() if instance.uuid in path]


@needs(
    Capability.TWO_DATASTORES,
    Capability.DISK_BYTES,
    Capability.DISK_GROWTH,
    Capability.UNTOUCHED_DISKS,
)
@pytest.mark.parametrize("way", ["confirm", "revert"])
def test_a_volume_stays_attached_where_it_is(bench: Bench, way: str) -> None:
    """Neither copied nor moved nor deleted, whatever becomes of the instance."""
    instance = bench.spawn(power_on=False)
    content = bytes(range(256)) * (CAPACITY // 256)
    volume = add_volume(bench, instance, content)
    migrate(bench, instance, WITH_DISK, another_datastore(bench, instance))
    assert volumes(bench, instance) == [volume]
    finish(bench, instance)
    confirm(bench, instance) if way == "confirm" else revert(bench, instance)
    assert volumes(bench, instance) == [volume]
    bench.ops.rescue(None, instance, None, "flat")
    assert volumes(bench, instance) == [volume]
    bench.ops.unrescue(instance)
    assert volumes(bench, instance) == [volume]
    copies = [path for path in bench.tree() if path.endswith("volume-flat.vmdk")]
    assert len(copies) == 1
    bench.ops.destroy(instance, None)
    assert volume_data(bench).read_bytes() == content


def volumes(bench: Bench, instance: Instance) -> list[str]:
    """The files of its disks that are in the folder of volumes."""
    disks = second_view.devices(bench.vm(instance), vim.vm.device.VirtualDisk)
    return [d.backing.fileName for d in disks if FOLDER in d.backing.fileName]


def digest_on(bench: Bench, datastore: str, path: str) -> str:
    """SHA-256 of the head of a whole disk on another datastore than the bench's."""
    folder = bench.backend.datastore_root(datastore)
    assert folder is not None
    return bench.head_digest(files.flat_of(files.local(folder, path)))


@pytest.mark.parametrize("dest", ["here", "endpoint"])
def test_where_it_is_already_it_stays(bench: Bench, dest: str) -> None:
    """Nova's manager gives the endpoint's own address."""
    instance = in_state(bench, ON)
    before = place(bench, instance)
    name = before[0] if dest == "here" else bench.session.endpoint.host
    migrate(bench, instance, dest=name)
    finish(bench, instance)
    assert place(bench, instance) == before
    assert size(bench, instance) == (2, 2 * MEMORY_MIB)


def test_an_unknown_destination_is_refused_before_anything(bench: Bench) -> None:
    instance = in_state(bench, ON)
    before = bench.world()
    with pytest.raises(HostNotFound, match="no-such-host"):
        migrate(bench, instance, dest="no-such-host")
    assert bench.world() == before


@needs(Capability.VCENTER, Capability.CONTROL)
def test_a_host_in_maintenance_is_refused_before_anything(bench: Bench) -> None:
    instance = in_state(bench, ON)
    dest = another_host(bench, instance)
    host = second_view.named(bench.content, vim.HostSystem, dest)
    second_view.finished(host.EnterMaintenanceMode_Task(0))
    try:
        wait_until_known(bench, dest, in_maintenance=True)
        before = bench.world()
        with pytest.raises(MigrationPreCheckFailed, match="in maintenance"):
            migrate(bench, instance, dest=dest)
        assert bench.world() == before
    finally:
        second_view.finished(host.ExitMaintenanceMode_Task(0))
        wait_until_known(bench, dest, in_maintenance=False)


def wait_until_known(bench: Bench, name: str, *, in_maintenance: bool) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        (host,) = (h for h in bench.session.inventory.hosts() if h.name == name)
        if host.in_maintenance is in_maintenance:
            return
        time.sleep(0.02)
    raise AssertionError(f"the inventory does not hear of {name}")
