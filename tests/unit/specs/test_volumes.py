"""Specs of volumes."""

from __future__ import annotations

from typing import Any

from pyVmomi import vim

from vmops.model.datastore_path import DatastorePath
from vmops.model.image import AdapterType
from vmops.specs import volumes
from vmops.specs.places import Place, Places

PATH = DatastorePath("ds", "volume-1/volume-1.vmdk")
PLACE = Place(controller_key=1000, unit_number=3)


def test_a_disk_that_is_there_is_attached_and_nothing_is_created() -> None:
    change: Any = volumes.volume_disk(PATH, 4096, PLACE)
    assert change.operation == "add"
    assert change.fileOperation is None
    assert change.device.backing.fileName == str(PATH)
    assert change.device.backing.diskMode == "persistent"
    assert (change.device.controllerKey, change.device.unitNumber) == (1000, 3)
    assert change.device.capacityInKB == 4
    assert list(change.profile) == []


def test_a_volumes_policy_is_given_to_its_disk() -> None:
    """Else the server gives the disk the policy of the machine's home."""
    change: Any = volumes.volume_disk(PATH, 4096, PLACE, profile_id="p-1")
    assert [each.profileId for each in change.profile] == ["p-1"]


def test_a_new_controller_goes_before_its_disk_in_the_same_change() -> None:
    places = Places()
    place = places.take(AdapterType.PARA_VIRTUAL)
    spec = volumes.attach_volume(
        volumes.volume_disk(PATH, 0, place),
        controllers=places.changes(),
        settings={"volume-1": "uuid"},
        change_version="v7",
    )
    controller, disk = (change.device for change in spec.deviceChange)
    assert isinstance(controller, vim.vm.device.ParaVirtualSCSIController)
    assert disk.controllerKey == controller.key
    assert {each.key: each.value for each in spec.extraConfig} == {"volume-1": "uuid"}
    assert spec.changeVersion == "v7"


def test_no_version_is_no_check() -> None:
    assert volumes.detach_volume(2001, {}, "").changeVersion is None


def test_a_disk_leaves_without_its_file() -> None:
    (change,) = volumes.detach_volume(2001, {"volume-1": ""}, "v7").deviceChange
    assert (change.operation, change.fileOperation, change.device.key) == ("remove", None, 2001)
    (change,) = volumes.remove_disk(2001, destroy=True).deviceChange
    assert change.fileOperation == "destroy"


def test_a_shadow_vm_lets_go_of_what_is_not_there_and_keeps_the_place() -> None:
    changes: list[Any] = volumes.hold_elsewhere(2000, PATH, 4096, PLACE).deviceChange
    gone, come = changes
    assert (gone.operation, gone.fileOperation, gone.device.key) == ("remove", None, 2000)
    assert (come.device.backing.fileName, come.device.unitNumber) == (str(PATH), 3)


def test_a_shadow_vm_is_known_by_its_volumes_id() -> None:
    spec: Any = volumes.shadow_vm("data", "v-1", "ds", 4 * 1024**2, profile_id="p-1")
    assert (spec.name, spec.instanceUuid) == ("data", "v-1")
    assert {each.key: each.value for each in spec.extraConfig} == {"vmops.volume": "v-1"}
    disk = spec.deviceChange[-1]
    assert disk.fileOperation == "create"
    assert [each.profileId for each in (*spec.vmProfile, *disk.profile)] == ["p-1", "p-1"]
