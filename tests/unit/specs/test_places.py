"""Places for disks: the lowest free one, on as many controllers as are needed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyVmomi import vim

from vmops.errors import UnsupportedDevice
from vmops.model.block_devices import BlockDevices, EphemeralDisk
from vmops.model.datastore_path import DatastorePath
from vmops.model.image import AdapterType
from vmops.specs import cdrom, disks
from vmops.specs.media import NewMedia, attach
from vmops.specs.places import Places

FOLDER = DatastorePath("ds", "u")
SCSI = sorted(adapter for adapter in AdapterType if adapter.is_scsi)
PLACES = {**dict.fromkeys(SCSI, 60), AdapterType.SATA: 120, AdapterType.NVME: 60}


@dataclass(frozen=True)
class Present:
    key: int
    bus: int
    adapter: AdapterType


@given(st.lists(st.sampled_from(list(AdapterType)), max_size=80))
def test_no_place_is_given_twice_and_none_that_cannot_be(wanted: list[AdapterType]) -> None:
    places = Places()
    given_out = []
    for adapter in wanted:
        try:
            given_out.append(places.take(adapter))
        except UnsupportedDevice:
            break
    assert len(set(given_out)) == len(given_out)
    added: list[Any] = [change.device for change in places.changes()]
    by_bus: dict[str, list[Any]] = {"scsi": [], "sata": [], "nvme": []}
    for controller in added:
        word = next((w for w in ("AHCI", "NVME") if w in type(controller).__name__), "SCSI")
        by_bus[{"AHCI": "sata", "NVME": "nvme", "SCSI": "scsi"}[word]].append(controller)
    for controllers in by_bus.values():
        assert sorted(c.busNumber for c in controllers) == list(range(len(controllers)))
        assert len(controllers) <= 4
    on_ide = [p for p in given_out if p.controller_key in {200, 201}]
    assert all(p.unit_number < 2 for p in on_ide)
    keys = {word: {c.key for c in controllers} for word, controllers in by_bus.items()}
    for word, units in (
        ("scsi", set(range(16)) - {7}),
        ("sata", set(range(30))),
        ("nvme", set(range(15))),
    ):
        assert {p.unit_number for p in given_out if p.controller_key in keys[word]} <= units
    assert {p.controller_key for p in given_out} <= {200, 201, *(c.key for c in added)}


@pytest.mark.parametrize("adapter", PLACES)
def test_four_controllers_of_a_kind_are_filled(adapter: AdapterType) -> None:
    places = Places()
    for _ in range(PLACES[adapter]):
        places.take(adapter)
    with pytest.raises(UnsupportedDevice, match=adapter.value):
        places.take(adapter)
    for _ in range(4):
        places.take(AdapterType.IDE)
    with pytest.raises(UnsupportedDevice, match="ide"):
        places.take(AdapterType.IDE)


def test_controllers_that_are_there_are_filled_first_and_their_buses_are_kept() -> None:
    there = [
        Present(200, 0, AdapterType.IDE),
        Present(1001, 1, AdapterType.PARA_VIRTUAL),
        Present(1000, 0, AdapterType.LSI_LOGIC),
    ]
    places = Places(there, [(1001, unit) for unit in range(16)] + [(1000, 0)])
    assert (places.take(AdapterType.LSI_LOGIC).controller_key) == 1000
    place = places.take(AdapterType.PARA_VIRTUAL)
    (change,) = places.changes()
    assert place.controller_key == change.device.key < 0
    assert isinstance(change.device, vim.vm.device.ParaVirtualSCSIController)
    assert change.device.busNumber == 2


def test_what_is_attached_has_keys_of_its_own_and_controllers_come_first() -> None:
    media = NewMedia(
        root=disks.RootDisk(
            path=FOLDER.joined("u.vmdk"), capacity_bytes=1, adapter=AdapterType.LSI_LOGIC
        ),
        extra=disks.extra_disks(
            FOLDER,
            BlockDevices(ephemerals=(EphemeralDisk(size_gib=1),) * 20, swap_mib=8),
            AdapterType.LSI_LOGIC,
        ),
        cdroms=(FOLDER.joined("a.iso"), FOLDER.joined("b.iso")),
    )
    changes = attach(media, {}).deviceChange
    keys = [change.device.key for change in changes]
    assert len(set(keys)) == len(keys) == 2 + 1 + 21 + 2
    seen = {200, 201}
    for change in changes:
        if isinstance(change.device, vim.vm.device.VirtualController):
            seen.add(change.device.key)
        else:
            assert change.device.controllerKey in seen
    created: list[Any] = [c.device for c in changes if c.fileOperation == "create"]
    assert [each.backing.fileName for each in created] == [str(d) for d in media.created]


def test_the_names_are_novas_and_a_disk_without_adapter_has_the_root_disks() -> None:
    devices = BlockDevices(
        ephemerals=(EphemeralDisk(size_gib=2), EphemeralDisk(size_gib=1, adapter=AdapterType.IDE)),
        swap_mib=64,
    )
    found = disks.extra_disks(FOLDER, devices, AdapterType.PARA_VIRTUAL)
    assert [(d.path.name, d.capacity_bytes, d.adapter) for d in found] == [
        ("ephemeral_0.vmdk", 2 << 30, AdapterType.PARA_VIRTUAL),
        ("ephemeral_1.vmdk", 1 << 30, AdapterType.IDE),
        ("swap.vmdk", 64 << 20, AdapterType.PARA_VIRTUAL),
    ]
    assert disks.extra_disks(FOLDER, BlockDevices(), AdapterType.IDE) == ()


def test_a_drive_is_connected_when_the_machine_starts() -> None:
    changes: list[Any] = cdrom.insert([FOLDER.joined("a.iso")], Places())
    (drive,) = (change.device for change in changes)
    assert drive.backing.fileName == "[ds] u/a.iso"
    assert drive.connectable.startConnected
    assert drive.controllerKey == 200
