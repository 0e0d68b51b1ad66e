"""Plans: they change nothing, and are what is then sent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.backends import second_view
from tests.backends.capabilities import Capability
from tests.builders import WAYS, a_uuid, an_instance
from tests.contract.engine import Bench
from tests.contract.migrating import other_host, place
from tests.contract.needs import needs
from tests.contract.planning import check, names, plan_of
from tests.contract.test_power import OFF, ON, SUSPENDED, in_state
from vmops import Flavor, Instance, Vif, VMwareVMOps
from vmops.errors import (
    DuplicateName,
    InstanceExists,
    InstanceNotFound,
    InstanceUnacceptable,
    InvalidState,
    ResizeError,
    VMOpsError,
    VolumeInUse,
)
from vmops.model.block_devices import VolumeKind
from vmops.ops.volumes.made import WantedVolume

# What is sent has nothing to do with guests.
pytestmark = needs(Capability.NO_GUESTS)

BIG = Flavor(vcpus=2, memory_mib=32, root_gib=2)
MAC = "00:50:56:3c:00:01"

whole = needs(Capability.LINKED_CLONES, Capability.DISK_GROWTH)


@whole
@pytest.mark.parametrize("linked", [True, False], ids=["linked", "full"])
@pytest.mark.parametrize("way", WAYS)
def test_a_spawn_and_its_end(bench: Bench, way: str, linked: bool) -> None:
    first, second = an_instance(root_gib=1), an_instance(root_gib=1)

    def spawn(ops: VMwareVMOps, instance: Instance) -> None:
        ops.spawn(None, instance, way, (), linked_clone=linked)

    plan = check(bench, lambda ops: spawn(ops, first))
    again = check(bench, lambda ops: spawn(ops, second))
    assert len(names(again)) < len(names(plan)), "the image is in the cache by then"
    check(bench, lambda ops: ops.destroy(first, None))
    check(bench, lambda ops: ops.destroy(second, None))


@whole
def test_a_spawn_is_planned_step_by_step(bench: Bench) -> None:
    instance = an_instance()
    plan = plan_of(bench, lambda ops: ops.spawn(None, instance, "sparse", ()))
    (part,) = plan.parts
    bench.spawn("sparse", instance=instance)
    assert [step.title for step in part.steps] == [title for _, title in bench.steps()]
    assert [s.number for s in part.steps if "." not in s.number] == ["1", "2", "3", "4", "5"]
    assert "3.1" in [step.number for step in part.steps]
    (created,) = [call for call in plan.calls() if call.method == "CreateVM_Task"]
    config = created.arguments["config"]
    assert isinstance(config, dict)
    assert config["instanceUuid"] == instance.uuid
    (sent,) = [call for call in plan.calls() if call.method == "PUT"]
    assert sent.arguments["bytes"] == bench.images.store.get("sparse").size_bytes
    assert [call.target for call in plan.calls()][-1] == "VirtualMachine:planned-vm-1"


@pytest.mark.parametrize("state", [OFF, ON, SUSPENDED])
@pytest.mark.parametrize(
    "verb",
    ["power_on", "power_off", "reboot", "hard", "suspend", "resume", "pause", "unpause", "destroy"],
)
@needs(Capability.POWER_FAULTS)
def test_a_verb_in_each_state(bench: Bench, verb: str, state: str) -> None:
    """Also what is refused: the plan has the error of the run."""
    instance = in_state(bench, state)

    def do(ops: VMwareVMOps) -> None:
        match verb:
            case "power_on":
                ops.power_on(None, instance)
            case "hard":
                ops.reboot(instance, None, "HARD")
            case "destroy":
                ops.destroy(instance, None)
            case _:
                getattr(ops, verb)(instance)

    before = bench.world()
    refused = _refusal(lambda: plan_of(bench, do))
    assert bench.world() == before
    if refused is None:
        check(bench, do)
        return
    real = _refusal(lambda: do(bench.ops))
    # A session that has seen the inventory knows the name, too.
    told = [str(error).partition(" is ")[2] for error in (refused, real)]
    assert (type(refused), told[0]) == (type(real), told[1])


def _refusal(do: Callable[[], object]) -> VMOpsError | None:
    try:
        do()
    except VMOpsError as refusal:
        return refusal
    return None


def test_a_pause_and_its_end(bench: Bench) -> None:
    instance = bench.spawn()
    check(bench, lambda ops: ops.pause(instance))
    check(bench, lambda ops: ops.unpause(instance))


@whole
def test_a_rescue_and_its_end(bench: Bench) -> None:
    instance = bench.spawn("flat")
    check(bench, lambda ops: ops.rescue(None, instance, None, "sparse"))
    with pytest.raises(InvalidState):
        plan_of(bench, lambda ops: ops.rescue(None, instance, None, "sparse"))
    check(bench, lambda ops: ops.unrescue(instance))
    check(bench, lambda ops: ops.rescue(None, instance, None, "sparse"))
    check(bench, lambda ops: ops.destroy(instance, None))


def resize(ops: VMwareVMOps, instance: Instance, flavor: Flavor, dest: str | None = None) -> None:
    ops.migrate_disk_and_power_off(None, instance, dest, flavor)
    ops.finish_migration(None, None, instance, None, None, None, resize_instance=True)


@whole
def test_a_resize_and_its_ends(bench: Bench) -> None:
    instance = bench.spawn("flat", instance=an_instance(root_gib=1))
    check(bench, lambda ops: resize(ops, instance, BIG))
    check(bench, lambda ops: ops.finish_revert_migration(instance, None))
    check(bench, lambda ops: resize(ops, instance, BIG))
    check(bench, lambda ops: ops.confirm_migration(None, instance, None))
    check(bench, lambda ops: ops.confirm_migration(None, instance, None))
    with pytest.raises(ResizeError):
        plan_of(bench, lambda ops: resize(ops, instance, replace(BIG, root_gib=1)))


@whole
@needs(Capability.VCENTER, Capability.TWO_DATASTORES, Capability.SHARED_DATASTORES)
def test_a_resize_on_another_datastore(bench: Bench) -> None:
    instance = bench.spawn("flat", instance=an_instance(root_gib=1))
    names_there = second_view.every(bench.content, _datastore(), "name").values()
    other = next(v["name"] for v in names_there if v["name"] != bench.backend.datastore)
    plan = check(bench, lambda ops: resize(ops, instance, BIG, other))
    assert any(other in note for note in plan.parts[0].notes)
    check(bench, lambda ops: ops.finish_revert_migration(instance, None))


@whole
@needs(Capability.VCENTER, Capability.TWO_DATASTORES, Capability.CONTROL)
@pytest.mark.parametrize("block", [False, True], ids=["alone", "with-disks"])
def test_a_live_migration(bench: Bench, block: bool) -> None:
    instance = bench.spawn("flat", instance=an_instance(root_gib=1))
    told: list[str] = []
    dest = other_host(bench, instance)
    where = place(bench, instance)

    def migrate(ops: VMwareVMOps) -> None:
        ops.live_migration(
            None, instance, dest, lambda *_: told.append("post"), lambda *_: None, block
        )

    check(bench, migrate)
    assert told == ["post", "post"]
    assert place(bench, instance) != where


@whole
def test_a_snapshot(bench: Bench) -> None:
    instance = bench.spawn("flat")

    def snapshot(ops: VMwareVMOps) -> None:
        made = ops.snapshot(None, instance, f"image-{instance.uuid}", lambda **_: None)
        assert made.image.name == f"image-{instance.uuid}"

    plan = check(bench, snapshot)
    (stored,) = [call for call in plan.calls() if call.method == "store"]
    assert stored.arguments["disk_type"] == "streamOptimized"
    bench.images.store.remove(f"image-{instance.uuid}")


def test_an_interface_comes_and_goes(bench: Bench) -> None:
    instance = bench.spawn(power_on=False)
    vif = Vif(network=bench.backend.network, mac_address=MAC)
    check(bench, lambda ops: ops.attach_interface(None, instance, None, vif))
    check(bench, lambda ops: ops.detach_interface(None, instance, vif))


@needs(Capability.POWER_FAULTS, Capability.CONTROL)
def test_a_suspended_instance_keeps_its_cards(bench: Bench) -> None:
    instance = in_state(bench, SUSPENDED)
    vif = Vif(network=bench.backend.network, mac_address=MAC)

    def attach(ops: VMwareVMOps) -> None:
        ops.attach_interface(None, instance, None, vif)

    planned, real = _refusal(lambda: plan_of(bench, attach)), _refusal(lambda: attach(bench.ops))
    assert planned is not None
    assert type(planned) is type(real)
    assert "Resume it first" in str(planned)


@needs(Capability.UNIQUE_NAMES)
def test_what_cannot_be_has_its_own_error(bench: Bench) -> None:
    there = bench.spawn(power_on=False)
    before = bench.world()
    twin = an_instance(name=there.name)
    with pytest.raises(InstanceExists):
        plan_of(bench, lambda ops: ops.spawn(None, there, "flat", ()))
    with pytest.raises(DuplicateName, match=there.name):
        plan_of(bench, lambda ops: ops.spawn(None, twin, "flat", ()))
    with pytest.raises(InstanceNotFound):
        plan_of(bench, lambda ops: ops.suspend(a_uuid()))
    big = an_instance(root_gib=1)
    name = bench.images.named("flat")
    huge = replace(bench.images.store.get(name), capacity_bytes=3 * 1024**3)
    with pytest.raises(InstanceUnacceptable):
        plan_of(bench, lambda ops: ops.spawn(None, big, huge, ()))
    assert bench.world() == before


def test_several_operations_are_planned_one_upon_the_other(bench: Bench) -> None:
    instance = an_instance()

    def life(ops: VMwareVMOps) -> None:
        ops.spawn(None, instance, "flat", ())
        ops.suspend(instance)
        ops.resume(instance)
        ops.power_off(instance)
        ops.destroy(instance, None)

    plan = check(bench, life)
    assert names(plan)[-4:] == [
        "PowerOnVM_Task",
        "PowerOffVM_Task",
        "DELETE /folder",
        "Destroy_Task",
    ]


def _datastore() -> type:
    from pyVmomi import vim  # noqa: PLC0415

    return vim.Datastore


@whole
@needs(Capability.FIRST_CLASS_DISKS)
@pytest.mark.parametrize("kind", ["vmdk", "vstorageobject"])
def test_a_volume_from_its_making_to_its_end(bench: Bench, kind: str) -> None:
    instance = bench.spawn("flat")
    wanted = WantedVolume(
        name=f"vmops-test-volume-{instance.uuid[:13]}",
        size_bytes=4 * 1024**2,
        kind=VolumeKind(kind),
    )
    check(bench, lambda ops: ops.create_volume(wanted))
    made = bench.ops.find_volume(wanted.name)
    check(bench, lambda ops: ops.attach_volume(None, made.volume, instance))
    with pytest.raises(VolumeInUse):
        plan_of(bench, lambda ops: ops.delete_volume(wanted.name))
    check(bench, lambda ops: ops.detach_volume(None, made.volume, instance))
    check(bench, lambda ops: ops.delete_volume(wanted.name))


@whole
@needs(Capability.VCENTER, Capability.TWO_DATASTORES, Capability.CONTROL)
def test_a_parent_that_was_copied_along_goes_with_its_machine(bench: Bench) -> None:
    instance = bench.spawn("flat", instance=an_instance(root_gib=1), linked_clone=True)
    dest = other_host(bench, instance)
    bench.ops.live_migration(None, instance, dest, lambda *_: None, lambda *_: None, True)
    plan = check(bench, lambda ops: ops.destroy(instance, None))
    assert "DeleteVirtualDisk_Task" not in names(plan)


@whole
def test_both_disks_of_a_resize_are_planned_to_go(bench: Bench) -> None:
    instance = bench.spawn("flat", instance=an_instance(root_gib=1), linked_clone=True)
    resize(bench.ops, instance, BIG)
    check(bench, lambda ops: ops.destroy(instance, None))
