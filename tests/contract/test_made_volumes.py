"""Volumes without a volume service: made, listed, attached and deleted."""

from __future__ import annotations

import uuid

import pytest

from tests.backends import second_view
from tests.backends.capabilities import Capability
from tests.contract.engine import Bench
from tests.contract.needs import needs
from tests.contract.volumes import a_shadow_vm, disk_of, paths
from vmops import units
from vmops.errors import (
    AlreadyExists,
    DatastoreNotFound,
    Invalid,
    InvalidName,
    NotSupported,
    VolumeInUse,
    VolumeNotFound,
)
from vmops.model.block_devices import VolumeKind
from vmops.ops.volumes.made import MadeVolume, WantedVolume

SIZE = 4 * units.MIB
KINDS = {"vmdk": VolumeKind.VMDK, "fcd": VolumeKind.FIRST_CLASS_DISK}


@pytest.fixture(params=list(KINDS))
def kind(request: pytest.FixtureRequest, bench: Bench) -> VolumeKind:
    lacks = bench.backend.lacks
    if request.param == "fcd" and (reason := lacks.get(Capability.FIRST_CLASS_DISKS)):
        pytest.skip(f"needs {Capability.FIRST_CLASS_DISKS}: {reason}")
    return KINDS[request.param]


def make(bench: Bench, kind: VolumeKind | None, **more: str) -> MadeVolume:
    name = f"vmops-test-{uuid.uuid4()}"
    wanted = WantedVolume(name=name, size_bytes=SIZE, kind=kind, **more)
    return bench.ops.create_volume(wanted)


def test_a_volume_is_made_listed_and_deleted(bench: Bench, kind: VolumeKind) -> None:
    made = make(bench, kind)
    assert made.volume.kind is kind
    assert made.size_bytes == SIZE
    assert made.datastore == bench.backend.datastore
    (listed,) = [each for each in bench.ops.list_volumes() if each.name == made.name]
    assert listed.volume == made.volume
    assert listed.path == made.path
    for name in (made.name, made.volume.id):
        assert bench.ops.find_volume(name).volume == made.volume
    bench.ops.delete_volume(made.name)
    assert made.name not in {each.name for each in bench.ops.list_volumes()}
    with pytest.raises(VolumeNotFound, match=made.name):
        bench.ops.delete_volume(made.name)


@needs(Capability.LOCAL_FILES)
def test_deleted_it_leaves_no_file(bench: Bench, kind: VolumeKind) -> None:
    before = {path for path in bench.tree() if path.endswith(".vmdk")}
    made = make(bench, kind)
    assert made.path in bench.tree()
    bench.ops.delete_volume(made.name)
    assert {path for path in bench.tree() if path.endswith(".vmdk")} == before


def test_the_list_says_which_instance_has_it(bench: Bench, kind: VolumeKind) -> None:
    made, instance = make(bench, kind), bench.spawn()
    bench.ops.attach_volume(None, made.volume, instance)
    assert made.path in paths(bench, instance)
    there = bench.ops.find_volume(made.name)
    assert (there.attached_to, there.attached_name) == (instance.uuid, instance.name)
    with pytest.raises(VolumeInUse, match=f"attached to {instance.name}"):
        bench.ops.delete_volume(made.name)
    bench.ops.detach_volume(None, made.volume, instance)
    assert bench.ops.find_volume(made.name).attached_name == ""
    bench.ops.delete_volume(made.name)


def test_an_instance_boots_from_it(bench: Bench, kind: VolumeKind) -> None:
    made = make(bench, kind)
    info = {"block_device_mapping": [{"connection_info": made.volume, "boot_index": 0}]}
    instance = bench.spawn("", block_device_info=info)
    assert paths(bench, instance) == [made.path]
    bench.ops.destroy(instance, None)
    assert bench.ops.find_volume(made.name).attached_name == ""


@needs(Capability.FIRST_CLASS_DISKS)
def test_where_nothing_is_said_it_is_a_first_class_disk(bench: Bench) -> None:
    assert make(bench, None).volume.kind is VolumeKind.FIRST_CLASS_DISK


def test_its_shadow_vm_is_no_instance_and_has_its_id(bench: Bench) -> None:
    """Volume services find it by that, and so does whoever has lost its reference."""
    made = make(bench, VolumeKind.VMDK)
    assert made.volume.id not in bench.ops.list_instances()
    vm = bench.vm(made.volume.id)
    assert vm._GetMoId() == made.volume.backing
    assert disk_of(vm).backing.fileName == made.path
    assert second_view.properties(vm, "runtime.powerState")["runtime.powerState"] == "poweredOff"


def test_one_name_is_one_volume(bench: Bench, kind: VolumeKind) -> None:
    made = make(bench, kind)
    with pytest.raises(AlreadyExists, match=made.name):
        bench.ops.create_volume(WantedVolume(name=made.name, size_bytes=SIZE, kind=kind))
    assert len([each for each in bench.ops.list_volumes() if each.name == made.name]) == 1


def test_those_of_a_volume_service_are_not_ours(bench: Bench) -> None:
    theirs = a_shadow_vm(bench)
    assert theirs.id not in {each.volume.id for each in bench.ops.list_volumes()}
    with pytest.raises(VolumeNotFound):
        bench.ops.delete_volume(theirs.id)


def test_what_cannot_be(bench: Bench) -> None:
    with pytest.raises(DatastoreNotFound, match="nowhere"):
        make(bench, VolumeKind.VMDK, datastore="nowhere")
    with pytest.raises(Invalid):
        WantedVolume(name="x", size_bytes=1)
    with pytest.raises(InvalidName):
        WantedVolume(name="a/b", size_bytes=SIZE)
    with pytest.raises(NotSupported):
        WantedVolume(name="x", size_bytes=SIZE, kind=VolumeKind.ISCSI)
