"""The root disk: its bytes, its size, its parent, its adapter, for every way of an image."""

from __future__ import annotations

from typing import Any

import pytest
from pyVmomi import vim

from tests.backends import files, second_view
from tests.backends.capabilities import Capability
from tests.backends.files import TEMPORARY
from tests.builders import CAPACITY, WAYS, an_instance
from tests.contract.engine import Bench
from tests.contract.needs import needs

FOR_WAY = {
    "flat": (),
    "sparse": (Capability.DISK_CONVERSION,),
    "streamOptimized": (Capability.NFC_IMPORT,),
}
GIB = 1024**3


def power_off(bench: Bench, vm: Any) -> None:
    """By the second view, so that its disk can be read."""
    if second_view.properties(vm, "runtime.powerState")["runtime.powerState"] == "poweredOn":
        second_view.finished(vm.PowerOffVM_Task())


@needs(Capability.DISK_BYTES)
@pytest.mark.parametrize("linked", [True, False], ids=["linked", "full"])
@pytest.mark.parametrize("way", WAYS)
def test_a_disk_holds_the_bytes_of_its_image(bench: Bench, way: str, linked: bool) -> None:
    instance = bench.spawn(way, linked_clone=linked, power_on=False)
    disk = bench.root_disk(instance)
    assert disk.capacityInKB * 1024 == CAPACITY
    assert bench.disk_digest(disk.backing.fileName, CAPACITY) == bench.image_digest()


@needs(Capability.DISK_BYTES, Capability.DISK_GROWTH)
@pytest.mark.parametrize("linked", [True, False], ids=["linked", "full"])
@pytest.mark.parametrize("way", WAYS)
def test_a_disk_is_as_big_as_its_flavor_says(bench: Bench, way: str, linked: bool) -> None:
    instance = bench.spawn(
        way, instance=an_instance(root_gib=1), linked_clone=linked, power_on=False
    )
    disk = bench.root_disk(instance)
    assert disk.capacityInKB * 1024 == GIB
    assert bench.disk_digest(disk.backing.fileName, CAPACITY) == bench.image_digest()


@needs(Capability.LINKED_CLONES)
@pytest.mark.parametrize("way", WAYS)
def test_a_linked_clone_has_the_cached_disk_as_its_parent(bench: Bench, way: str) -> None:
    instance = bench.spawn(way)
    image = bench.images.store.get(way)
    backing = bench.root_disk(instance).backing
    cached = f"[{bench.backend.datastore}] {bench.backend.cache_folder}/{image.id}/{image.id}.vmdk"
    assert backing.parent.fileName == cached
    assert backing.fileName.startswith(f"[{bench.backend.datastore}] {instance.uuid}/")


@needs(Capability.LINKED_CLONES, Capability.DISK_GROWTH)
def test_a_linked_clone_of_a_bigger_flavor_has_a_parent_of_that_size(bench: Bench) -> None:
    instance = bench.spawn(instance=an_instance(root_gib=1))
    image = bench.images.store.get("flat")
    assert bench.root_disk(instance).backing.parent.fileName.endswith(f"/{image.id}.1.vmdk")


@needs(Capability.LINKED_CLONES)
@pytest.mark.parametrize(
    ("request_says", "image_says", "setting", "linked"),
    [
        (None, None, True, True),
        (None, None, False, False),
        (None, "false", True, False),
        (None, "true", False, True),
        (False, "true", True, False),
        (True, "false", False, True),
    ],
)
def test_the_request_wins_over_the_image_and_the_image_over_the_setting(
    bench: Bench, request_says: bool | None, image_says: str | None, setting: bool, linked: bool
) -> None:
    image = "flat"
    if image_says is not None:
        image = bench.images.named("flat", vmware_linked_clone=image_says)
    instance = bench.spawn(image, ops=bench.engine(linked_clone=setting), linked_clone=request_says)
    assert (bench.root_disk(instance).backing.parent is not None) is linked


@needs(Capability.LOCAL_FILES, Capability.LINKED_CLONES)
def test_a_full_clone_does_not_need_the_cached_image_any_more(bench: Bench) -> None:
    instance = bench.spawn(linked_clone=False, power_on=False)
    for entry in (bench.root() / bench.backend.cache_folder).rglob("*.vmdk"):
        entry.unlink()
    disk = bench.root_disk(instance)
    assert disk.backing.parent is None
    assert bench.disk_digest(disk.backing.fileName, CAPACITY) == bench.image_digest()


@needs(Capability.LOCAL_FILES, Capability.DISK_CONVERSION)
@pytest.mark.parametrize("way", ["sparse", "streamOptimized"])
def test_a_converted_image_becomes_a_thin_disk_and_leaves_no_sparse_file(
    bench: Bench, way: str
) -> None:
    instance = bench.spawn(way, linked_clone=False, power_on=False)
    backing = bench.root_disk(instance).backing
    assert backing.thinProvisioned
    descriptor = files.local(bench.root(), backing.fileName)
    assert 'ddb.thinProvisioned = "1"' in descriptor.read_text()
    assert not [path for path in bench.tree() if "sparse" in path or TEMPORARY in path]
    assert set(bench.vms().values().__iter__().__next__()) > {"name"}
    assert len(bench.vms()) == 1


@pytest.mark.parametrize(
    ("adapter", "controller"),
    [
        ("lsiLogic", vim.vm.device.VirtualLsiLogicController),
        ("lsiLogicsas", vim.vm.device.VirtualLsiLogicSASController),
        ("busLogic", vim.vm.device.VirtualBusLogicController),
        ("paraVirtual", vim.vm.device.ParaVirtualSCSIController),
        ("ide", vim.vm.device.VirtualIDEController),
    ],
)
def test_the_image_says_which_adapter_its_disk_is_on(
    bench: Bench, adapter: str, controller: Any
) -> None:
    image = bench.images.named("flat", vmware_adaptertype=adapter)
    instance = bench.spawn(image, power_on=False)
    disk = bench.root_disk(instance)
    (carrier,) = [
        device
        for device in second_view.devices(bench.vm(instance), vim.vm.device.VirtualController)
        if device.key == disk.controllerKey
    ]
    assert isinstance(carrier, controller)


@needs(Capability.DISK_BYTES)
@pytest.mark.parametrize("disk_type", ["thin", "preallocated", "thick", "eagerZeroedThick"])
def test_a_flat_image_of_every_type_arrives_whole(bench: Bench, disk_type: str) -> None:
    image = bench.images.named("flat", vmware_disktype=disk_type)
    instance = bench.spawn(image, power_on=False)
    disk = bench.root_disk(instance)
    assert bench.disk_digest(disk.backing.fileName, CAPACITY) == bench.image_digest()


@needs(Capability.DISK_BYTES, Capability.GUEST)
@pytest.mark.parametrize("linked", [True, False], ids=["linked", "full"])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.every_case
def test_a_guest_boots_from_it(bench: Bench, way: str, linked: bool) -> None:
    instance = bench.spawn(way, linked_clone=linked)
    bench.serial(instance).wait_for("boot 1\r\n")


@pytest.mark.parametrize(
    ("properties", "guest_id"),
    [({"vmware_ostype": "otherLinux64Guest"}, "otherLinux64Guest"), ({}, "otherGuest")],
)
def test_the_guest_id_is_the_images(
    bench: Bench, properties: dict[str, str], guest_id: str
) -> None:
    instance = bench.spawn(bench.images.named("flat", **properties), power_on=False)
    found = second_view.properties(bench.vm(instance), "config.guestId")
    assert found["config.guestId"] == guest_id


def test_the_firmware_is_the_images(bench: Bench) -> None:
    image = bench.images.named("flat", hw_firmware_type="uefi")
    instance = bench.spawn(image, power_on=False)
    assert second_view.properties(bench.vm(instance), "config.firmware") == {
        "config.firmware": "efi"
    }
