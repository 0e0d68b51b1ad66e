"""Nova's block devices at the border."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from vmops.errors import Invalid, NotSupported, UnsupportedDevice
from vmops.model.block_devices import BlockDevices, VolumeKind
from vmops.model.image import AdapterType
from vmops.ops.vmops.block_devices import (
    connection_of,
    parse_adapter,
    parse_attachment,
    parse_block_devices,
    parse_volume,
)

VMDK = {
    "driver_volume_type": "vmdk",
    "data": {"volume": "vm-7", "volume_id": "v-1", "name": "volume-1", "profile_id": "p"},
    "serial": "v-1",
}
FCD = {
    "driver_volume_type": "vstorageobject",
    "serial": "v-2",
    "data": {"id": "f-1", "ds_ref_val": "datastore-3", "adapter_type": "paraVirtual"},
}
ISCSI = {
    "driver_volume_type": "iscsi",
    "data": {
        "volume_id": "v-3",
        "target_portal": "192.0.2.1:3260",
        "target_iqn": "iqn.x",
        "target_lun": 2,
    },
}


def mapping(connection: object, **more: object) -> dict[str, Any]:
    return {"connection_info": connection, "mount_device": "/dev/sdb", **more}


def test_nothing_is_no_devices() -> None:
    assert parse_block_devices(None) == BlockDevices()
    empty: dict[str, Any] = {"block_device_mapping": [], "swap": None, "ephemerals": []}
    assert parse_block_devices(empty) == BlockDevices()


def test_each_kind_of_volume() -> None:
    vmdk, fcd, iscsi = (parse_volume(each) for each in (VMDK, FCD, ISCSI))
    assert (vmdk.id, vmdk.kind, vmdk.backing, vmdk.profile_id) == (
        "v-1",
        VolumeKind.VMDK,
        "vm-7",
        "p",
    )
    assert (fcd.id, fcd.kind) == ("v-2", VolumeKind.FIRST_CLASS_DISK)
    assert (fcd.backing, fcd.datastore) == ("f-1", "datastore-3")
    assert (iscsi.kind, iscsi.target_lun) == (VolumeKind.ISCSI, 2)
    assert iscsi.target_portal == "192.0.2.1:3260"


def test_the_connection_of_a_volume_may_be_text_as_in_novas_database() -> None:
    assert parse_volume(json.dumps(VMDK)) == parse_volume(VMDK)


def test_what_the_service_gave_is_kept_for_another_engine() -> None:
    assert parse_volume(VMDK).connection_info is VMDK


def test_a_whole_info_in_order() -> None:
    found = parse_block_devices(
        {
            "root_device_name": "/dev/sda",
            "swap": {"device_name": "sdd", "swap_size": 512},
            "ephemerals": [{"size": 3, "disk_bus": "ide", "device_name": "sdc"}],
            "block_device_mapping": [
                mapping(FCD, boot_index=1),
                mapping(VMDK, boot_index=0, disk_bus="lsiLogic"),
            ],
        }
    )
    assert [each.volume.id for each in found.volumes] == ["v-2", "v-1"]
    assert found.root_volume is found.volumes[1]
    assert [each.adapter for each in found.volumes] == [
        AdapterType.PARA_VIRTUAL,
        AdapterType.LSI_LOGIC,
    ]
    assert (found.swap_mib, found.ephemerals[0].size_gib) == (512, 3)
    assert found.ephemerals[0].adapter is AdapterType.IDE


def test_without_boot_indexes_the_root_device_is_booted_from_wherever_it_stands() -> None:
    """Nova once looked for the root device, and then took the first of the mapping."""
    found = parse_block_devices(
        {
            "root_device_name": "vda",
            "block_device_mapping": [
                mapping(FCD),
                {"connection_info": VMDK, "mount_device": "/dev/vda"},
            ],
        }
    )
    assert found.root_volume is found.volumes[1]


def test_with_boot_indexes_the_device_name_says_nothing() -> None:
    found = parse_block_devices(
        {
            "root_device_name": "/dev/sdb",
            "block_device_mapping": [mapping(VMDK, boot_index=None), mapping(FCD, boot_index=-1)],
        }
    )
    assert found.root_volume is None


def test_objects_with_attributes_are_as_good_as_mappings() -> None:
    bdm = SimpleNamespace(connection_info=VMDK, mount_device="sda", boot_index=0, disk_bus="scsi")
    info = SimpleNamespace(block_device_mapping=[bdm], swap=None, ephemerals=())
    found = parse_block_devices(info)
    assert found.root_volume is not None
    assert found.root_volume.adapter is None


@pytest.mark.parametrize(
    ("word", "adapter"),
    [
        (None, None),
        ("scsi", None),
        ("LSILOGIC", AdapterType.LSI_LOGIC),
        ("vmpvscsi", AdapterType.PARA_VIRTUAL),
        ("ide", AdapterType.IDE),
    ],
)
def test_buses(word: str | None, adapter: AdapterType | None) -> None:
    assert parse_adapter(word) is adapter


def test_the_mappings_bus_wins_over_the_connections() -> None:
    assert parse_attachment(FCD, "lsiLogic").adapter is AdapterType.LSI_LOGIC
    assert parse_attachment(FCD).adapter is AdapterType.PARA_VIRTUAL


def test_what_makes_no_sense_is_refused() -> None:
    two = {"block_device_mapping": [mapping(VMDK, boot_index=0), mapping(FCD, boot_index=0)]}
    for bad, error in (
        (two, Invalid),
        ({"block_device_mapping": [mapping(None)]}, Invalid),
        ({"block_device_mapping": [mapping("{nonsense")]}, Invalid),
        ({"block_device_mapping": [mapping("[1]")]}, Invalid),
        ({"block_device_mapping": [mapping({**VMDK, "data": {"volume_id": "v"}})]}, Invalid),
        ({"block_device_mapping": [mapping({**FCD, "data": {"id": "f-1"}})]}, Invalid),
        ({"block_device_mapping": [mapping({"driver_volume_type": "rbd"})]}, NotSupported),
        ({"block_device_mapping": [mapping(VMDK, disk_bus="floppy")]}, UnsupportedDevice),
        ({"swap": {"swap_size": -1}}, Invalid),
    ):
        with pytest.raises(error):
            parse_block_devices(bad)


@pytest.mark.parametrize("bad", ['a"]', "a b", "a/b", "", "x" * 201])
def test_an_id_that_cannot_be_a_key_is_refused(bad: str) -> None:
    with pytest.raises(Invalid):
        parse_volume({**VMDK, "serial": "", "data": {"volume": "vm-7", "volume_id": bad}})


def test_a_volume_of_our_own_has_a_connection_for_another_engine() -> None:
    for given in (VMDK, FCD, ISCSI):
        ours = replace(parse_volume(given), connection_info=None)
        again = parse_volume(connection_of(ours))
        assert again == ours


def test_a_volume_without_an_id_is_refused() -> None:
    with pytest.raises(Invalid):
        parse_volume({"driver_volume_type": "vmdk", "data": {"volume": "vm-7"}})
