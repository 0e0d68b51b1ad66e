"""The operations that are killed, and how a stage is set for each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from tests.backends import files
from tests.builders import WAYS, qemu_io
from tests.contract import migrating, volumes
from tests.crash.stage import Stage
from vmops import Instance

Prepare = Callable[[Stage], dict[str, Any]]
WRITTEN_KIB = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One operation. ``prepare`` gives what the deed needs beside the instance.

    ``then`` is what a refusal of the second run tells to do: what is there already is completed.
    """

    name: str
    deed: str
    prepare: Prepare
    then: tuple[str, ...] = ()
    moves_again: bool = False
    """Whether a second run of what is done does something else: it is not run then."""
    guests: bool = False
    """Whether it is also killed on a lab with guests."""


def nothing(**extra: Any) -> Prepare:
    return lambda stage: extra


def image_is_cached(**extra: Any) -> Prepare:
    def prepare(stage: Stage) -> dict[str, Any]:
        stage.do("spawn", **extra)
        stage.do("destroy")
        return extra

    return prepare


def spawned(*then: str, linked: bool = True, writes: bool = True, **extra: Any) -> Prepare:
    """An instance whose guest has written, and what was done with it."""

    def prepare(stage: Stage) -> dict[str, Any]:
        stage.do("spawn", image="flat", linked_clone=linked)
        if writes:
            write(stage)
        for deed in then:
            stage.do(deed)
        return extra

    return prepare


def with_volume(kind: str, *then: str) -> Prepare:
    """An instance, and a volume with something on it."""

    def prepare(stage: Stage) -> dict[str, Any]:
        stage.do("spawn", image="flat")
        make = volumes.a_shadow_vm if kind == "vmdk" else volumes.a_first_class_disk
        made = make(stage.bench)
        volumes.write(stage.bench, made.path)
        for deed in then:
            stage.do(deed, volume=made.connection)
        return {"volume": made.connection}

    return prepare


def booted_from_volume(stage: Stage) -> dict[str, Any]:
    made = volumes.a_shadow_vm(stage.bench)
    volumes.write(stage.bench, made.path)
    return {"image": None, "devices": volumes.mapping(made), "flavor": {"root_gib": 0}}


def to_another_place(*, block: bool, linked: bool = True) -> Prepare:
    def prepare(stage: Stage) -> dict[str, Any]:
        spawned(linked=linked)(stage)
        instance = stage.instance
        return {"dest": migrating.other_host(stage.bench, instance), "block": block}

    return prepare


def write(stage: Stage, instance: Instance | None = None) -> None:
    """What a guest would have done: write to the root disk, seven clusters and more."""
    if stage.lab.has_guests:
        return
    disk = stage.bench.root_disk(instance or stage.instance)
    descriptor = files.local(stage.bench.root(), str(disk.backing.fileName))
    kind = "qcow2" if files.is_delta(descriptor) else "raw"
    qemu_io(files.flat_of(descriptor), kind, f"write -P 171 256k {WRITTEN_KIB}k")


def _spawns() -> Iterator[Operation]:
    for way in WAYS:
        for linked in (True, False):
            kind = "linked" if linked else "full"
            extra = {"image": way, "linked_clone": linked}
            yield Operation(
                name=f"spawn {way} {kind}",
                deed="spawn",
                prepare=nothing(**extra),
                then=("power on",),
                guests=way == "flat",
            )
    for linked in (True, False):
        kind = "linked" if linked else "full"
        yield Operation(
            name=f"spawn cached {kind}",
            deed="spawn",
            prepare=image_is_cached(image="flat", linked_clone=linked),
            then=("power on",),
        )
    drive = {"image": "flat", "config_drive": True, "user_data": "#cloud-config\n"}
    disks = {"image": "flat", "flavor": {"root_gib": 1, "ephemeral_gib": 1, "swap_mib": 4}}
    for name, prepare in (
        ("spawn with a config drive", nothing(**drive)),
        ("spawn with more disks", nothing(**disks)),
        ("spawn from a volume", booted_from_volume),
    ):
        yield Operation(name=name, deed="spawn", prepare=prepare, then=("power on",))


OPERATIONS: dict[str, Operation] = {
    each.name: each
    for each in (
        *_spawns(),
        Operation(name="destroy linked", deed="destroy", prepare=spawned(), guests=True),
        Operation(name="destroy full", deed="destroy", prepare=spawned(linked=False)),
        Operation(name="destroy stopped", deed="destroy", prepare=spawned("power off")),
        Operation(
            name="destroy with a volume",
            deed="destroy",
            prepare=with_volume("vmdk", "attach volume"),
        ),
        Operation(name="destroy rescued", deed="destroy", prepare=spawned("rescue")),
        Operation(name="destroy resized", deed="destroy", prepare=spawned("migrate", "finish")),
        Operation(name="snapshot linked", deed="snapshot", prepare=spawned(), guests=True),
        Operation(name="snapshot full", deed="snapshot", prepare=spawned(linked=False)),
        Operation(name="snapshot stopped", deed="snapshot", prepare=spawned("power off")),
        Operation(name="rescue", deed="rescue", prepare=spawned(), then=("unrescue", "rescue")),
        Operation(name="unrescue", deed="unrescue", prepare=spawned("rescue"), then=("power on",)),
        Operation(name="resize linked", deed="migrate", prepare=spawned(), guests=True),
        Operation(name="resize full", deed="migrate", prepare=spawned(linked=False)),
        Operation(name="finish resize", deed="finish", prepare=spawned("migrate"), guests=True),
        Operation(
            name="confirm resize", deed="confirm", prepare=spawned("migrate", "finish"), guests=True
        ),
        Operation(
            name="revert resize", deed="revert", prepare=spawned("migrate", "finish"), guests=True
        ),
        Operation(
            name="live migration",
            deed="live migration",
            prepare=to_another_place(block=False),
            guests=True,
        ),
        Operation(
            name="live migration with disks",
            deed="live migration",
            prepare=to_another_place(block=True),
            moves_again=True,
            guests=True,
        ),
        *(
            Operation(name=f"{deed} {kind}", deed=deed, prepare=with_volume(kind, *before))
            for kind in ("vmdk", "vstorageobject")
            for deed, before in (("attach volume", ()), ("detach volume", ("attach volume",)))
        ),
        Operation(name="create volume", deed="create volume", prepare=spawned()),
        Operation(name="delete volume", deed="delete volume", prepare=spawned("create volume")),
        Operation(name="attach interface", deed="attach interface", prepare=spawned()),
        Operation(
            name="detach interface", deed="detach interface", prepare=spawned("attach interface")
        ),
        Operation(name="power on", deed="power on", prepare=spawned("power off")),
        Operation(name="power off", deed="power off", prepare=spawned()),
        Operation(name="reboot", deed="reboot", prepare=spawned()),
        Operation(name="suspend", deed="suspend", prepare=spawned()),
        Operation(name="resume", deed="resume", prepare=spawned("suspend")),
        Operation(name="pause", deed="pause", prepare=spawned()),
        Operation(name="unpause", deed="unpause", prepare=spawned("pause")),
    )
}
