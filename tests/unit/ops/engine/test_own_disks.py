"""Which disk is which: the root disk, volumes' disks, those that are not the VM's own."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from vmops.errors import NoRootDisk
from vmops.model.hardware import Firmware
from vmops.model.power import PowerState
from vmops.ops.engine.own_disks import is_foreign, is_volume, root_disk, volume_disk
from vmops.vsphere.objects.vm_files import VmDisk, VmFiles
from vmops.vsphere.objects.vm_hardware import VmHardware


def disk(name: str, unit: int, uuid: str, **more: Any) -> VmDisk:
    return VmDisk(
        key=2000 + unit,
        file_name=name,
        uuid=uuid,
        capacity_bytes=0,
        controller_key=1000,
        unit_number=unit,
        **more,
    )


def hardware(*disks: VmDisk, **extra: str) -> VmHardware:
    files = VmFiles(
        instance_uuid="i",
        vmx="[ds] vm/vm.vmx",
        power_state=PowerState.POWERED_OFF,
        disks=disks,
        serial_files=(),
        extra_config=extra,
    )
    return VmHardware(
        files=files, controllers=(), used=frozenset(), firmware=Firmware.BIOS, boot_order=()
    )


OWN = disk("[ds] vm/vm.vmdk", 1, "own")
VOLUME = disk("[ds] volume-1/volume-1.vmdk", 0, "v")
FIRST_CLASS = disk("[ds] fcd/f.vmdk", 0, "f", first_class_id="f-1")


def test_a_volume_is_not_the_root_disk_because_it_is_first() -> None:
    there = hardware(VOLUME, OWN, **{"volume-1": "v"})
    assert root_disk(there, "i") == OWN


@pytest.mark.parametrize(("volume", "mark"), [(VOLUME, "1"), (FIRST_CLASS, "f-1")])
def test_what_is_noted_as_root_is_it_also_beside_own_disks(volume: VmDisk, mark: str) -> None:
    extra = {"volume-1": "v", "vmops.root-volume": mark}
    for disks in ((volume, OWN), (OWN, volume)):
        assert root_disk(hardware(*disks, **extra), "i") == volume


def test_with_volumes_alone_the_first_is_it() -> None:
    second = replace(FIRST_CLASS, unit_number=2)
    assert root_disk(hardware(second, VOLUME, **{"volume-1": "v"}), "i") == VOLUME


def test_a_root_volume_that_is_gone_is_not_made_up() -> None:
    extra = {"vmops.root-volume": "1", "volume-1": ""}
    with pytest.raises(NoRootDisk, match="boots from the volume 1, which is not attached"):
        root_disk(hardware(OWN, **extra), "i")


def test_no_disk_at_all() -> None:
    with pytest.raises(NoRootDisk, match="has no disk"):
        root_disk(hardware(), "i")


def test_a_volume_is_found_wherever_it_is() -> None:
    moved = replace(VOLUME, file_name="[ds2] vm/volume-1.vmdk")
    layered = replace(VOLUME, file_name="[ds] vm/v-000001.vmdk", parents=(VOLUME.file_name,))
    for there in (VOLUME, moved, layered):
        assert volume_disk(hardware(OWN, there, **{"volume-1": "v"}).files, "1") == there


def test_a_copy_of_the_same_uuid_in_the_own_folder_is_not_it() -> None:
    twin = replace(OWN, uuid="v")
    there = hardware(twin, VOLUME, **{"volume-1": "v"})
    assert volume_disk(there.files, "1") == VOLUME
    assert [is_foreign(there.files, each) for each in there.files.disks] == [False, True]
    assert root_disk(there, "i") == twin


def test_where_the_server_tells_no_uuid_it_is_found_by_its_path() -> None:
    plain = replace(VOLUME, uuid="")
    there = hardware(OWN, plain, **{"volume-1": plain.file_name})
    assert volume_disk(there.files, "1") == plain
    assert is_volume(there.files, plain)


def test_what_is_not_the_vms_own() -> None:
    into = replace(FIRST_CLASS, file_name="[ds] vm/f.vmdk")
    files = hardware(OWN, VOLUME, into).files
    assert [is_foreign(files, each) for each in files.disks] == [False, True, True]
