"""The numbered steps of an operation's documentation are the steps that run."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from tests.backends.lab import LabBackend
from tests.builders import WAYS, Images, an_image_store, an_instance
from tests.contract.engine import Bench
from tests.contract.volumes import MadeVolume, a_first_class_disk, a_shadow_vm
from tests.image_files import a_bootable_iso
from vmops.model.block_devices import BlockDevices, EphemeralDisk
from vmops.ops.instances.destroy import destroy
from vmops.ops.spawn.spawn import spawn
from vmops.ops.volumes.attach import attach_volume
from vmops.ops.volumes.detach import detach_volume

_STEP = re.compile(r"^\s*(\d+(?:\.\d+)?)\. (.+)$")
_CASE = re.compile(r"^\s*(\w+) image, not cached:$")
PORT_GROUPS = "Create the port groups"
OF_VOLUMES = {"Attach the root volume", "Attach the volumes"}
OF_FURTHER_DISKS = {"Bring the image's further disks", "Boot from the root disk"}
SIZED = "Make a copy of the flavor's size"


@dataclass(frozen=True, slots=True)
class Documented:
    """The titles of the steps, and of those that bring the image there for each way of an image."""

    main: list[str]
    filling: dict[str, list[str]]


def documented(text: str) -> Documented:
    """Read the numbered list of a docstring."""
    found = Documented([], {})
    case = ""
    for line in text.splitlines():
        if heading := _CASE.match(line):
            case = heading[1]
        elif numbered := _STEP.match(line):
            number, title = numbered.groups()
            if "." in number:
                found.filling.setdefault(case, []).append(title)
            else:
                found.main.append(title)
    return found


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    images: Images = an_image_store(tmp_path_factory.mktemp("store") / "images")
    backend = LabBackend("lab")
    try:
        with backend.connect() as session:
            yield Bench(backend=backend, session=session, images=images)
    finally:
        backend.close()


@pytest.fixture(autouse=True)
def _clean(bench: Bench) -> Iterator[None]:
    bench.events.clear()
    yield
    bench.backend.clean()


def test_every_way_is_documented() -> None:
    steps = documented(spawn.__doc__ or "")
    assert set(steps.filling) == {*WAYS, "ISO"}
    assert len(steps.main) == 12


@pytest.mark.parametrize("root_gib", [0, 1], ids=["size-of-the-image", "bigger"])
@pytest.mark.parametrize("linked", [True, False], ids=["linked", "full"])
@pytest.mark.parametrize("way", WAYS)
def test_a_spawn_runs_what_its_documentation_lists(
    bench: Bench, way: str, linked: bool, root_gib: int
) -> None:
    steps = documented(spawn.__doc__ or "")
    bench.spawn(way, instance=an_instance(root_gib=root_gib), linked_clone=linked)
    ran = bench.steps()
    main = [title for operation, title in ran if operation == "spawn"]
    filling = [title for operation, title in ran if operation == "cache image"]
    left_out = {PORT_GROUPS, "Upload the config drive", *OF_VOLUMES, *OF_FURTHER_DISKS} | (
        {"Copy the image to the root disk"} if linked else set()
    )
    assert main == [title for title in steps.main if title not in left_out]
    sized = linked and root_gib
    assert filling == [title for title in steps.filling[way] if sized or title != SIZED]
    at = ran.index(("cache image", filling[0]))
    assert ran[at - 1] == ("spawn", main[2]), "the image is put there after the VM"


def test_an_iso_image_has_its_own_way(
    bench: Bench, tmp_path_factory: pytest.TempPathFactory
) -> None:
    steps = documented(spawn.__doc__ or "")
    file = a_bootable_iso(tmp_path_factory.mktemp("iso") / "boots.iso", b"")
    bench.images.store.add(file, "boots")
    bench.spawn("boots", linked_clone=False)
    ran = bench.steps()
    left_out = {
        PORT_GROUPS,
        "Upload the config drive",
        "Copy the image to the root disk",
        *OF_VOLUMES,
        *OF_FURTHER_DISKS,
    }
    main = [title for operation, title in ran if operation == "spawn"]
    assert main == [title for title in steps.main if title not in left_out]
    filling = [title for operation, title in ran if operation == "cache image"]
    assert filling == steps.filling["ISO"]


def test_a_config_drive_is_a_step_and_extra_disks_are_none(bench: Bench) -> None:
    steps = documented(spawn.__doc__ or "")
    devices = BlockDevices(ephemerals=(EphemeralDisk(size_gib=1),), swap_mib=1)
    bench.spawn(linked_clone=False, block_device_info=devices, config_drive=True)
    left_out = {PORT_GROUPS, *OF_VOLUMES, *OF_FURTHER_DISKS}
    main = [title for title in steps.main if title not in left_out]
    assert [title for operation, title in bench.steps() if operation == "spawn"] == main


def test_a_spawn_from_a_volume_leaves_out_what_an_image_needs(bench: Bench) -> None:
    steps = documented(spawn.__doc__ or "")
    mapping = [
        {"connection_info": a_shadow_vm(bench).connection, "boot_index": index}
        for index in (0, None)
    ]
    bench.spawn("", block_device_info={"block_device_mapping": mapping}, config_drive=True)
    ran = [title for operation, title in bench.steps() if operation == "spawn"]
    left_out = {PORT_GROUPS, *OF_FURTHER_DISKS}
    assert ran == [t for t in steps.main if "image" not in t and t not in left_out]


def test_a_network_that_wants_its_port_group_made_has_a_step(bench: Bench) -> None:
    steps = documented(spawn.__doc__ or "")
    vif = {"network": {"bridge": "vmops-test-7", "meta": {"should_create_vlan": True, "vlan": 7}}}
    bench.spawn(vifs=[vif], power_on=False)
    ran = [title for operation, title in bench.steps() if operation == "spawn"]
    assert ran[:3] == steps.main[:3]
    assert ran[1] == PORT_GROUPS


@pytest.mark.parametrize("make", [a_shadow_vm, a_first_class_disk])
def test_volumes_come_and_leave_as_documented(
    bench: Bench, make: Callable[[Bench], MadeVolume]
) -> None:
    instance, volume = bench.spawn(), make(bench)
    bench.events.clear()
    bench.ops.attach_volume(None, volume.connection, instance)
    assert [title for _, title in bench.steps()] == documented(attach_volume.__doc__ or "").main
    bench.events.clear()
    bench.ops.detach_volume(None, volume.connection, instance)
    assert [title for _, title in bench.steps()] == documented(detach_volume.__doc__ or "").main


def test_a_spawn_that_is_not_to_run_leaves_the_last_step_out(bench: Bench) -> None:
    steps = documented(spawn.__doc__ or "")
    bench.spawn(power_on=False)
    ran = [title for op, title in bench.steps() if op == "spawn"]
    assert steps.main[-1] == "Power on"
    assert ran[-1] == "Attach the disks"


@pytest.mark.parametrize("running", [True, False])
def test_a_destroy_runs_what_its_documentation_lists(bench: Bench, running: bool) -> None:
    steps = documented(destroy.__doc__ or "").main
    instance = bench.spawn(power_on=running)
    bench.events.clear()
    bench.ops.destroy(instance, None)
    ran = [title for operation, title in bench.steps() if operation == "destroy"]
    left_out = {"Detach what is not its own"} | (set() if running else {"Power off"})
    assert ran == [title for title in steps if title not in left_out]


def test_the_steps_of_a_detaching_destroy_are_all_of_them(bench: Bench) -> None:
    from tests.faults.test_destroy import attach_volume  # noqa: PLC0415

    steps = documented(destroy.__doc__ or "").main
    instance = bench.spawn(power_on=False)
    attach_volume(bench, instance)
    bench.ops.power_on(None, instance)
    bench.events.clear()
    bench.ops.destroy(instance, None)
    assert [title for op, title in bench.steps() if op == "destroy"] == steps
