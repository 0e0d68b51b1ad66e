from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest

from vmops.lab.guest import boot_count, boot_sector_disk, build_boot_sector_guest
from vmops.lab.guest.machine_code import Code

if TYPE_CHECKING:
    from pathlib import Path


def test_the_disk_boots_and_has_a_partition_without_file_system() -> None:
    disk = boot_sector_disk(size_mib=2)
    assert len(disk) == 2 * 1024 * 1024
    assert disk[0] == 0xFA  # cli: it begins with code
    assert disk[510:512] == b"\x55\xaa"
    assert disk[446 + 4] == 0xDA
    assert struct.unpack_from("<II", disk, 446 + 8) == (1, 2 * 2048 - 1)
    assert disk[462:510] == bytes(48)


def test_a_fresh_disk_was_never_booted() -> None:
    disk = bytearray(boot_sector_disk())
    assert boot_count(bytes(disk)) == 0
    disk[512:516] = b"\x02\x01\x00\x00"
    assert boot_count(bytes(disk)) == 258


@pytest.mark.parametrize("period", [0, 256])
def test_a_period_the_counter_cannot_hold_is_refused(period: int) -> None:
    with pytest.raises(ValueError, match="1 to 255"):
        boot_sector_disk(period=period)


def test_a_disk_without_size_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1 MiB"):
        boot_sector_disk(size_mib=0)


def test_building_leaves_the_image_alone_in_its_folder(tmp_path: Path) -> None:
    image = build_boot_sector_guest(tmp_path / "guest.vmdk")
    assert list(tmp_path.iterdir()) == [image]
    assert image.read_bytes()[:4] == b"KDMV"
    assert image.stat().st_size < 256 * 1024


def test_the_flat_form_is_a_descriptor_and_the_raw_disk(tmp_path: Path) -> None:
    image = build_boot_sector_guest(tmp_path / "guest.vmdk", format="flat")
    assert 'RW 2048 VMFS "guest-flat.vmdk"' in image.read_text()
    assert (tmp_path / "guest-flat.vmdk").read_bytes() == boot_sector_disk()


def test_distances_and_addresses_are_worked_out() -> None:
    code = Code(0x7C00)
    code.label("start")
    code.near("E8", "end")
    code.short("EB", "start")
    code.address("BE", "end")
    code.label("end")
    code.op("F4", "hlt")
    assert code.assemble() == bytes.fromhex("E8 05 00  EB FB  BE 08 7C  F4")


def test_a_jump_too_far_is_refused() -> None:
    code = Code(0)
    code.short("EB", "end")
    code.data(bytes(128))
    code.label("end")
    with pytest.raises(ValueError, match="too far"):
        code.assemble()


def test_a_label_is_set_once() -> None:
    code = Code(0)
    code.label("here")
    with pytest.raises(ValueError, match="set twice"):
        code.label("here")
