"""Tasks that never end: each operation gives up at its deadline, and the instance is whole."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pyVmomi import vim, vmodl

from tests.builders import MEMORY_MIB
from tests.contract.engine import Bench
from tests.contract.migrating import Told, migrate, other_host
from tests.contract.volumes import MadeVolume, a_first_class_disk, a_shadow_vm
from tests.faults import changing, matrix, resize_calls
from vmops import DirectoryImageStore, EngineSettings, Flavor, Instance, Vif, VMwareVMOps
from vmops.errors import LeftBehind, TimedOut
from vmops.lab.kernel.task import Task
from vmops.lab.wire.failures import Failure, How
from vmops.model.block_devices import VolumeKind
from vmops.ops.vmops.volumeops import VMwareVolumeOps
from vmops.ops.volumes.made import WantedVolume

# A task that does not hang ends within, on a busy machine too.
DEADLINE_S = 1.0
FLAVOR = Flavor(vcpus=2, memory_mib=2 * MEMORY_MIB, root_gib=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """An engine with its deadline, and what it works on."""

    bench: Bench
    ops: VMwareVMOps
    instance: Instance
    volumes: dict[str, MadeVolume]

    def attach(self, kind: str) -> None:
        self.ops.attach_volume(None, self.volumes[kind].connection, self.instance)

    def resize(self, dest: str = "") -> None:
        self.ops.migrate_disk_and_power_off(None, self.instance, dest, FLAVOR)

    def detach(self, kind: str) -> None:
        self.ops.detach_volume(None, self.volumes[kind].connection, self.instance)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """An operation whose ``nth`` task of a method hangs."""

    name: str
    call: str
    do: Callable[[Subject], object]
    prepare: Callable[[Subject], object] = lambda _: None
    nth: int = 1
    again: bool = False
    """Whether it is not taken back, but done when it is done again."""


def resized(on: Subject) -> None:
    on.resize()
    resize_calls.finish(on.ops, on.instance)


def full_clone(on: Subject) -> None:
    on.bench.spawn(ops=on.ops, linked_clone=False)


def a_volume(kind: VolumeKind) -> Callable[[Subject], object]:
    wanted = WantedVolume(name="vmops-test-late", size_bytes=4 * 1024**2, kind=kind)
    return lambda on: on.ops.create_volume(wanted)


def attach_by_itself(on: Subject) -> None:
    config = EngineSettings(task_deadline_s=DEADLINE_S)
    volumeops = VMwareVolumeOps(on.bench.session, config=config)
    volumeops.attach_volume(on.volumes["vmdk"].connection, on.instance)


def snapshot(on: Subject) -> object:
    return on.ops.snapshot(None, on.instance, "made", lambda **_: None)


def live_migrate(on: Subject) -> None:
    dest = other_host(on.bench, on.instance)
    migrate(on.bench, on.instance, dest, Told(), ops=on.ops, block_migration=True)


def plug(on: Subject) -> None:
    on.ops.attach_interface(None, on.instance, None, Vif(network=on.bench.backend.network))


RESIZE: tuple[tuple[str, Callable[[Subject], object], str, int], ...] = (
    ("resize", Subject.resize, "ReconfigVM_Task", 1),
    ("resize", Subject.resize, "PowerOffVM_Task", 1),
    ("resize", Subject.resize, "CopyVirtualDisk_Task", 1),
    ("resize", Subject.resize, "ExtendVirtualDisk_Task", 1),
    ("resize", Subject.resize, "ReconfigVM_Task", 2),
    ("relocate", lambda on: on.resize("datastore2"), "RelocateVM_Task", 1),
)
CASES = (
    *(Case(name=name, call=call, do=do, nth=nth) for name, do, call, nth in RESIZE),
    Case(
        name="confirm",
        call="DeleteVirtualDisk_Task",
        prepare=resized,
        do=lambda on: resize_calls.confirm(on.ops, on.instance),
        again=True,
    ),
    Case(name="snapshot", call="CreateSnapshot_Task", do=snapshot),
    Case(name="snapshot", call="RemoveSnapshot_Task", do=snapshot),
    Case(name="live migration", call="RelocateVM_Task", do=live_migrate),
    Case(
        name="rescue",
        call="CopyVirtualDisk_Task",
        do=lambda on: on.ops.rescue(None, on.instance, None, "flat"),
    ),
    Case(name="destroy", call="PowerOffVM_Task", do=lambda on: on.ops.destroy(on.instance, None)),
    Case(
        name="destroy",
        call="Destroy_Task",
        do=lambda on: on.ops.destroy(on.instance, None),
        again=True,
    ),
    Case(name="spawn", call="CreateVM_Task", do=full_clone),
    Case(name="spawn", call="CopyVirtualDisk_Task", do=full_clone),
    Case(name="spawn", call="PowerOnVM_Task", do=full_clone),
    Case(name="attach vmdk", call="ReconfigVM_Task", do=lambda on: on.attach("vmdk")),
    Case(name="attach fcd", call="AttachDisk_Task", do=lambda on: on.attach("fcd")),
    Case(
        name="detach vmdk",
        call="ReconfigVM_Task",
        prepare=lambda on: on.attach("vmdk"),
        do=lambda on: on.detach("vmdk"),
    ),
    Case(
        name="detach fcd",
        call="DetachDisk_Task",
        prepare=lambda on: on.attach("fcd"),
        do=lambda on: on.detach("fcd"),
    ),
    Case(name="volume engine", call="ReconfigVM_Task", do=attach_by_itself),
    Case(name="make a vmdk volume", call="CreateVM_Task", do=a_volume(VolumeKind.VMDK)),
    Case(name="make a fcd", call="CreateDisk_Task", do=a_volume(VolumeKind.FIRST_CLASS_DISK)),
    Case(
        name="reboot", call="ResetVM_Task", do=lambda on: on.ops.reboot(on.instance, None, "HARD")
    ),
    Case(name="suspend", call="SuspendVM_Task", do=lambda on: on.ops.suspend(on.instance)),
    Case(name="pause", call="SuspendVM_Task", do=lambda on: on.ops.pause(on.instance)),
    Case(name="interface", call="ReconfigVM_Task", do=plug),
)


@pytest.mark.parametrize(
    "case", CASES, ids=lambda c: f"{c.name}-{c.call}#{c.nth}".replace(" ", "_")
)
def test_a_task_that_hangs_is_cancelled_and_told_of(
    bench: Bench, tmp_path: Path, case: Case
) -> None:
    images, lab = DirectoryImageStore(tmp_path / "made"), matrix.lab_of(bench)
    kinds = {"vmdk": a_shadow_vm(bench), "fcd": a_first_class_disk(bench)}
    on = Subject(
        bench=bench,
        ops=bench.engine(
            task_deadline_s=DEADLINE_S, **({"images": images} if case.name == "snapshot" else {})
        ),
        instance=bench.spawn(),
        volumes=kinds,
    )
    case.prepare(on)
    before = (changing.facts_and_snapshots(bench, on.instance), bench.vms().keys())
    lab.failures.plan(Failure(call=case.call, how=How.TASK_HANGS, nth=case.nth))
    with pytest.raises((TimedOut, LeftBehind)) as raised:
        case.do(on)
    lab.failures.clear()
    told = raised.value.__cause__ if isinstance(raised.value, LeftBehind) else raised.value
    assert isinstance(told, TimedOut)
    assert f"hanging.{case.call} did not end within 1 seconds; it was asked to stop" in str(told)
    assert not [note for note in getattr(raised.value, "__notes__", ()) if "Could not" in note]
    assert [info.cancelled for info in hanging(bench, case.call)] == [True]
    if case.again:
        case.do(on)
    else:
        after = changing.facts_and_snapshots(bench, on.instance)
        assert (after, bench.vms().keys()) == before
    bench.ops.destroy(on.instance, None)
    assert not [path for path in bench.tree() if on.instance.uuid in path]


def hanging(bench: Bench, call: str) -> list[Any]:
    """What the server tells of the tasks that hung; they are over."""

    async def find(kernel: Any) -> list[Any]:
        infos = [task.properties["info"] for task in kernel.registry.all(Task)]
        return [info for info in infos if info.descriptionId == f"hanging.{call}"]

    found = matrix.lab_of(bench).on_loop(find)
    assert {info.state for info in found} == {vim.TaskInfo.State.error}
    assert {type(info.error) for info in found} == {vmodl.fault.RequestCanceled}
    # Those of other cases on this lab are forgotten.
    return found[-1:]
