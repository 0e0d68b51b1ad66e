"""Which of a VM's files are its own."""

from __future__ import annotations

from dataclasses import replace

import pytest

from vmops.model.datastore_path import DatastorePath
from vmops.model.power import InstanceState, PowerState
from vmops.ops.instances.destroy import sort_files
from vmops.ops.instances.info import info_from
from vmops.vsphere.objects.vm_files import VmDisk, VmFiles


def files(vmx: str, *disks: tuple[str, str], volumes: frozenset[str] = frozenset()) -> VmFiles:
    return VmFiles(
        instance_uuid="",
        vmx=vmx,
        power_state=PowerState.POWERED_OFF,
        disks=tuple(
            VmDisk(key=2000 + number, file_name=name, uuid=uuid, capacity_bytes=0)
            for number, (name, uuid) in enumerate(disks)
        ),
        serial_files=("[ds] vm/serial.log", "[other] logs/serial.log"),
        extra_config={f"volume-{uuid}": uuid for uuid in volumes},
    )


def test_disks_in_its_folder_are_its_own_and_others_are_not() -> None:
    own = sort_files(
        files(
            "[ds] vm/vm.vmx",
            ("[ds] vm/vm.vmdk", "a"),
            ("[ds] vm2/v.vmdk", "b"),
            ("[other] vm/v.vmdk", "c"),
            ("[ds] vm/deep/v.vmdk", "d"),
            ("[ds] vmx/v.vmdk", "e"),
        )
    )
    assert own.folder == DatastorePath("ds", "vm")
    assert own.foreign_disk_keys == (2001, 2002, 2004)


def test_a_volume_in_its_folder_is_not_its_own() -> None:
    own = sort_files(
        files(
            "[ds] vm/vm.vmx",
            ("[ds] vm/vm.vmdk", "a"),
            ("[ds] vm/v.vmdk", "b"),
            volumes=frozenset({"b"}),
        )
    )
    assert own.foreign_disk_keys == (2001,)


@pytest.mark.parametrize("vmx", ["[ds] vm.vmx", "", "nonsense", "[ds] ../vm/vm.vmx"])
def test_without_a_folder_of_its_own_no_disk_is_its_own(vmx: str) -> None:
    own = sort_files(files(vmx, ("[ds] vm.vmdk", "a")))
    assert own.folder is None
    assert own.foreign_disk_keys == (2000,)


def test_only_the_serial_log_in_its_folder_goes_with_it() -> None:
    own = sort_files(files("[ds] vm/vm.vmx"))
    assert own.side_files == (DatastorePath("ds", "vm/serial.log"),)


def test_properties_that_are_missing_make_no_error() -> None:
    info = info_from({})
    assert info.state is InstanceState.NOSTATE
    assert info.as_dict() == {"state": 0, "max_mem": 0, "mem": 0, "num_cpu": 0, "cpu_time": 0}


def test_a_word_for_a_power_state_that_is_new_is_none() -> None:
    assert info_from({"runtime.powerState": "dreaming"}).state is InstanceState.NOSTATE


def test_a_log_that_stayed_where_it_was_spawned_is_its_own() -> None:
    moved = replace(
        files("[ds2] vm/vm.vmx"),
        instance_uuid="7e57-1",
        serial_files=("[ds] 7e57-1/serial.log", "[ds] 7e57-2/serial.log", "[ds] serial.log"),
    )
    assert sort_files(moved).side_files == (DatastorePath("ds", "7e57-1/serial.log"),)
    assert sort_files(replace(moved, instance_uuid="")).side_files == ()
