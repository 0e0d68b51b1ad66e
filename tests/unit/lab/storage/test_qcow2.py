from __future__ import annotations

import os
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.lab.storage.conftest import MIB
from vmops.lab.storage import qcow2
from vmops.lab.storage.errors import InvalidDisk
from vmops.lab.storage.layers import DiskFile, Layer, RawLayer, RunKind, flattened
from vmops.lab.storage.qcow2 import Qcow2Layer

CLUSTER = 65536
TIB = 1024**4


def empty(file: Path, capacity_bytes: int) -> Path:
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL)
    try:
        qcow2.create_empty(descriptor, capacity_bytes)
    finally:
        os.close(descriptor)
    return file


def opened(file: Path) -> Qcow2Layer:
    return Qcow2Layer(DiskFile(file, file.name))


def flat_bytes(*files: Path) -> bytes:
    """The chain, flattened by our own reader; the last file is raw."""
    *deltas, base = files
    layers: list[Layer] = [
        *(opened(file) for file in deltas),
        RawLayer(DiskFile(base, base.name), base.stat().st_size),
    ]
    try:
        content = bytearray(layers[0].capacity_bytes)
        for offset, data in flattened(layers):
            content[offset : offset + len(data)] = data
        return bytes(content)
    finally:
        for layer in layers:
            layer.close()


@pytest.mark.parametrize("capacity_bytes", [512, 8 * MIB, 512 * MIB + 512, 3 * TIB, 62 * TIB])
def test_qemu_accepts_an_empty_delta(
    tmp_path: Path, qemu_img: Callable[..., str], capacity_bytes: int
) -> None:
    file = empty(tmp_path / "x", capacity_bytes)
    assert "No errors" in qemu_img("check", "-f", "qcow2", file)
    shown = qemu_img("info", "-f", "qcow2", file)
    assert f"({capacity_bytes} bytes)" in shown
    assert "backing file" not in shown
    assert file.stat().st_size < 2 * MIB


def test_an_empty_delta_leaves_all_to_what_lies_below(tmp_path: Path) -> None:
    layer = opened(empty(tmp_path / "x", 3 * MIB))
    assert [(run.start, run.end, run.kind) for run in layer.runs(0, 3 * MIB)] == [
        (0, 3 * MIB, RunKind.BELOW)
    ]
    layer.close()


def test_a_chain_is_flattened_as_qemu_does_it(
    tmp_path: Path, qemu_img: Callable[..., str], qemu_io: Callable[..., str]
) -> None:
    """Data over data, zeros over data, a discard, a cluster written in part, a smaller base."""
    base = tmp_path / "base"
    base.write_bytes(b"B" * (6 * MIB))
    middle, top = empty(tmp_path / "middle", 8 * MIB), empty(tmp_path / "top", 8 * MIB)

    def change(file: Path, below: str, *commands: str) -> None:
        options = f"driver=qcow2,file.driver=file,file.filename={file},{below}"
        arguments = [part for command in commands for part in ("-c", command)]
        qemu_io("--image-opts", *arguments, options)

    on_base = f"backing.driver=raw,backing.file.driver=file,backing.file.filename={base}"
    change(
        middle,
        on_base,
        "write -P 0x11 1M 300k",
        "write -z 2M 128k",
        "write -P 0x22 4099k 1k",
        "write -P 0x33 8388096 512",
    )
    on_middle = (
        f"backing.driver=qcow2,backing.file.driver=file,backing.file.filename={middle},"
        + on_base.replace("backing.", "backing.backing.")
    )
    change(
        top, on_middle, "write -P 0x44 1100k 64k", "write -P 0x55 2112k 4k", "write -z 5M 1M",
        "discard 1M 64k", "write -P 0x66 3000k 700k",
    )  # fmt: skip
    flat = tmp_path / "flat"
    qemu_img(
        "convert",
        "--image-opts",
        "-O",
        "raw",
        f"driver=qcow2,file.driver=file,file.filename={top},{on_middle}",
        flat,
    )
    ours = flat_bytes(top, middle, base)
    assert ours == flat.read_bytes()
    assert {0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0} <= set(ours)


def test_other_cluster_sizes_are_read(
    tmp_path: Path, qemu_img: Callable[..., str], qemu_io: Callable[..., str]
) -> None:
    base, top = tmp_path / "base", tmp_path / "top"
    base.write_bytes(b"B" * (4 * MIB))
    qemu_img("create", "-f", "qcow2", "-o", "cluster_size=4k", top, "4M")
    qemu_io("-f", "qcow2", "-c", "write -P 7 12k 4k", "-c", "write -P 8 3M 1M", top)
    expected = bytearray(b"B" * (4 * MIB))
    expected[12288:16384] = b"\x07" * 4096
    expected[3 * MIB :] = b"\x08" * MIB
    assert flat_bytes(top, base) == bytes(expected)


@pytest.mark.parametrize(
    ("form", "offset", "value", "reason"),
    [
        (">I", 0, 0x12345678, "not a snapshot delta"),
        (">I", 4, 2, "not a snapshot delta"),
        (">I", 16, 9, "another file"),  # the length of a backing file's name
        (">I", 20, 30, "cluster size"),
        (">I", 20, 3, "cluster size"),
        (">Q", 24, 2**63, "62 TiB"),
        (">Q", 24, 0, "whole sectors"),
        (">Q", 24, 1000, "whole sectors"),
        (">I", 32, 1, "another file"),  # encryption
        (">I", 36, 0, "do not fit"),
        (">I", 36, 2**31, "do not fit"),
        (">Q", 40, 2**60, "truncated"),
        (">Q", 72, 1 << 2, "another file"),  # external data file: CVE-2024-32498
        (">Q", 72, 1 << 1, "another file"),  # corrupt
        (">Q", 72, 1 << 4, "another file"),  # extended L2 entries
    ],
)
def test_a_header_that_was_not_written_by_us_is_refused(
    tmp_path: Path, form: str, offset: int, value: int, reason: str
) -> None:
    file = empty(tmp_path / "x", MIB)
    raw = bytearray(file.read_bytes())
    struct.pack_into(form, raw, offset, value)
    file.write_bytes(raw)
    with pytest.raises(InvalidDisk, match=reason):
        opened(file)


def runs_of(file: Path) -> int:
    layer = opened(file)
    try:
        return sum(len(data) for _, data in flattened([layer]))
    finally:
        layer.close()


def with_tables(file: Path, l1: list[int], l2: list[int]) -> Path:
    """A 3 TiB delta whose L1 and one L2 table, at cluster 4, have these entries."""
    raw = bytearray(empty(file, 3 * TIB).read_bytes())
    struct.pack_into(f">{len(l1)}Q", raw, 3 * CLUSTER, *l1)
    raw += struct.pack(f">{len(l2)}Q", *l2).ljust(CLUSTER, b"\0")
    file.write_bytes(raw)
    return file


def test_tables_that_share_clusters_are_no_way_to_write_without_end(tmp_path: Path) -> None:
    for l1, l2 in (([4 * CLUSTER] * 6000, []), ([4 * CLUSTER], [CLUSTER] * 8192)):
        file = with_tables(tmp_path / str(len(l1)), l1, l2)
        with pytest.raises(InvalidDisk, match="more data than the file holds"):
            runs_of(file)


def test_clusters_beyond_the_end_and_compressed_ones_are_refused(tmp_path: Path) -> None:
    for name, entry in (("far", 1 << 50), ("compressed", 1 << 62 | CLUSTER)):
        with pytest.raises(InvalidDisk, match=r"truncated|compressed"):
            runs_of(with_tables(tmp_path / name, [4 * CLUSTER], [entry]))
    with pytest.raises(InvalidDisk, match="truncated"):
        runs_of(with_tables(tmp_path / "l2", [1 << 50], []))


def test_a_truncated_delta_is_refused(tmp_path: Path) -> None:
    file = empty(tmp_path / "x", MIB)
    for length in (0, 50, 103, 104, 65536, 3 * CLUSTER):
        os.truncate(file, length)
        with pytest.raises(InvalidDisk, match=r"truncated|not a snapshot delta"):
            opened(file)
        file.unlink()
        empty(file, MIB)
