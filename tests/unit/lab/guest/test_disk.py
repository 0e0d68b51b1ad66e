from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest

from vmops.lab.guest.disk import MIB, Partition, assemble_disk, boot_record

if TYPE_CHECKING:
    from pathlib import Path


def partition_table(record: bytes) -> list[tuple[int, int, int, int]]:
    """Flag, type, first sector and length of the entries that are in use."""
    entries = [record[at : at + 16] for at in range(446, 510, 16)]
    return [(entry[0], entry[4], *struct.unpack("<II", entry[8:])) for entry in entries if entry[4]]


def test_the_boot_record_has_its_parts_where_the_firmware_looks() -> None:
    record = boot_record(b"\xfa\xf4", 0x11223344, [Partition(6, 2048, 100, active=True)])
    assert len(record) == 512
    assert record[:2] == b"\xfa\xf4"
    assert record[440:446] == b"\x44\x33\x22\x11\0\0"
    assert partition_table(record) == [(0x80, 6, 2048, 100)]
    assert record[510:] == b"\x55\xaa"


def test_code_that_would_reach_into_the_signature_is_refused() -> None:
    assert boot_record(b"x" * 440, 0, [])
    with pytest.raises(ValueError, match="441 bytes"):
        boot_record(b"x" * 441, 0, [])


def test_a_fifth_partition_is_refused() -> None:
    with pytest.raises(ValueError, match="four partitions"):
        boot_record(b"", 0, [Partition(6, 1, 1)] * 5)


def test_partitions_stand_where_the_table_says_and_zeros_take_no_room(tmp_path: Path) -> None:
    boot, root, disk = tmp_path / "boot", tmp_path / "root", tmp_path / "disk"
    boot.write_bytes(b"B" * 512 + bytes(2 * MIB - 512))
    root.write_bytes(bytes(4 * MIB - 512) + b"R" * 512)
    assemble_disk(disk, 8, b"code", (boot, 2), (root, 4))
    content = disk.read_bytes()
    assert len(content) == 8 * MIB
    (flag, kind, first, length), (_, root_kind, root_first, root_length) = partition_table(content)
    assert (flag, kind, length * 512) == (0x80, 0x06, 2 * MIB)
    assert (root_kind, root_length * 512) == (0x83, 4 * MIB)
    assert content[first * 512 :][:512] == b"B" * 512
    assert root_first == first + length
    assert content[(root_first + root_length) * 512 - 512 :][:512] == b"R" * 512
    assert disk.stat().st_blocks * 512 < MIB
