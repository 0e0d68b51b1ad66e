from __future__ import annotations

import errno
import random
import struct
import threading
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.lab.storage.conftest import MIB, write_at
from vmops.lab.storage import sparse
from vmops.lab.storage.descriptor import Descriptor, Extent
from vmops.lab.storage.errors import InvalidDisk, StorageError
from vmops.lab.storage.layers import DiskFile, flattened
from vmops.lab.storage.sparse import SparseLayer
from vmops.lab.storage.stream_optimized import StreamWriter

SECTOR = 512
GRAIN = 65536


def descriptor(sectors: int) -> str:
    extent = Extent(sectors=sectors, kind="SPARSE", file_name="x.vmdk")
    return Descriptor(create_type="streamOptimized", extents=(extent,), cid="12345678").render()


def stream(capacity_bytes: int, pieces: dict[int, bytes]) -> bytes:
    parts: list[bytes] = []
    text = descriptor(capacity_bytes // SECTOR)
    with StreamWriter(parts.append, capacity_bytes, text) as writer:
        for offset in sorted(pieces):
            writer.add(offset, pieces[offset])
        assert writer.finish() == sum(map(len, parts))
    return b"".join(parts)


def content_of(file: Path) -> dict[int, bytes]:
    """The non-zero grains, as our reader sees them."""
    layer = SparseLayer(DiskFile(file, file.name))
    try:
        found: dict[int, bytes] = {}
        for offset, data in flattened([layer]):
            for start in range(0, len(data), GRAIN):
                found[offset + start] = data[start : start + GRAIN]
        return found
    finally:
        layer.close()


PATTERNS = st.lists(
    st.tuples(st.integers(0, 3 * 1024), st.integers(1, 300), st.booleans()), max_size=12
)


@settings(
    deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(capacity_sectors=st.integers(1, 200_000), pattern=PATTERNS, seed=st.integers(0, 99))
def test_what_is_written_is_read_back(
    tmp_path: Path, capacity_sectors: int, pattern: list[tuple[int, int, bool]], seed: int
) -> None:
    """Disks of up to three grain tables with holes anywhere, also in the middle of a grain."""
    capacity_bytes = capacity_sectors * SECTOR
    source = bytearray(capacity_bytes)
    pieces: dict[int, bytes] = {}
    noise = random.Random(seed)
    position = 0
    for gap_sectors, length_sectors, compressible in pattern:
        start = position + gap_sectors * SECTOR
        end = min(capacity_bytes, start + length_sectors * SECTOR)
        if start >= end:
            break
        data = b"ab" * ((end - start) // 2) if compressible else noise.randbytes(end - start)
        pieces[start] = data
        source[start:end] = data
        position = end
    file = tmp_path / "x.vmdk"
    file.write_bytes(stream(capacity_bytes, pieces))

    rebuilt = bytearray(capacity_bytes)
    for offset, data in content_of(file).items():
        rebuilt[offset : offset + len(data)] = data
    assert rebuilt == source


def test_holes_are_neither_written_nor_read(tmp_path: Path) -> None:
    file = tmp_path / "x.vmdk"
    gib = 1024**3
    file.write_bytes(stream(1000 * gib, {0: bytes(MIB), 500 * gib: b"x" * GRAIN}))
    assert file.stat().st_size < MIB
    assert content_of(file) == {500 * gib: b"x" * GRAIN}


def test_the_layout_is_that_of_the_specification() -> None:
    raw = stream(40 * MIB, {0: b"a" * GRAIN, 33 * MIB: b"b" * GRAIN})
    header = sparse.HEADER.unpack(raw[: sparse.HEADER.size])
    assert header[:4] == (b"KDMV", 3, 0x30001, 40 * MIB // SECTOR)
    assert header[9] == 0xFFFFFFFFFFFFFFFF
    footer = sparse.HEADER.unpack(raw[-1024 : -1024 + sparse.HEADER.size])
    directory = footer[9]
    assert raw[-512:] == bytes(512)  # end of stream
    assert struct.unpack_from("<QII", raw, len(raw) - 1536) == (1, 0, 3)
    assert struct.unpack_from("<QII", raw, (directory - 1) * SECTOR) == (1, 0, 2)
    tables = struct.unpack_from("<2I", raw, directory * SECTOR)
    for table, grain in zip(tables, (0, 16), strict=True):  # 33 MiB is the 17th of the 2nd table
        assert struct.unpack_from("<QII", raw, (table - 1) * SECTOR) == (4, 0, 1)
        assert struct.unpack_from("<512I", raw, table * SECTOR)[grain] > 0
    assert struct.unpack_from("<Q", raw, 128 * SECTOR) == (0,)  # the first grain's marker


def disk_of_noise(folder: Path, mib: int = 8) -> Path:
    file = folder / "disk.raw"
    with file.open("wb") as opened:
        opened.truncate(mib * MIB)
    noise = random.Random(1)
    write_at(file, {0: noise.randbytes(100_000), 3 * MIB + 512: noise.randbytes(700_000)})
    return file


def test_qemu_reads_what_we_write(tmp_path: Path, qemu_img: Callable[..., str]) -> None:
    raw = disk_of_noise(tmp_path, 40)
    file = tmp_path / "x.vmdk"
    file.write_bytes(stream(40 * MIB, {0: raw.read_bytes()}))
    assert "No errors" in qemu_img("check", "-f", "vmdk", file)
    assert "identical" in qemu_img("compare", "-f", "vmdk", "-F", "raw", file, raw)


@pytest.mark.parametrize("subformat", ["streamOptimized", "monolithicSparse"])
def test_we_read_what_qemu_writes(
    tmp_path: Path, qemu_img: Callable[..., str], subformat: str
) -> None:
    raw = disk_of_noise(tmp_path)
    file = tmp_path / "x.vmdk"
    options = ("-O", "vmdk", "-o", f"subformat={subformat}")
    qemu_img("convert", "-f", "raw", *options, raw, file)

    rebuilt = bytearray(8 * MIB)
    for offset, data in content_of(file).items():
        rebuilt[offset : offset + len(data)] = data
    assert rebuilt == raw.read_bytes()


def sample() -> bytearray:
    return bytearray(stream(MIB, {0: b"a" * GRAIN, 2 * GRAIN: b"b" * GRAIN}))


def put(raw: bytearray, form: str, offset: int, value: int) -> None:
    struct.pack_into(form, raw, offset, value)


def read(tmp_path: Path, raw: bytes | bytearray) -> dict[int, bytes]:
    file = tmp_path / "bad.vmdk"
    file.write_bytes(raw)
    return content_of(file)


@pytest.mark.parametrize("length", [0, 3, 511, 512, 1024, 20_000, 65_536, 66_100])
def test_a_truncated_file_is_refused(tmp_path: Path, length: int) -> None:
    with pytest.raises(InvalidDisk, match="truncated"):
        read(tmp_path, sample()[:length])


@pytest.mark.parametrize("dropped", [1, 512, 513, 1024, 1536, 3000])
def test_a_file_without_its_end_is_refused(tmp_path: Path, dropped: int) -> None:
    with pytest.raises(InvalidDisk):
        read(tmp_path, sample()[:-dropped])


HEADER_FIELDS = {
    "version": ("<I", 4),
    "flags": ("<I", 8),
    "capacity": ("<Q", 12),
    "grain size": ("<Q", 20),
    "descriptor offset": ("<Q", 28),
    "descriptor size": ("<Q", 36),
    "entries": ("<I", 44),
    "directory": ("<Q", 56),
    "compression": ("<H", 77),
}


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("version", 9, "version 9"),
        ("flags", 0x10030001, "not known"),
        ("capacity", 0, "0 sectors"),  # QEMU would go on with the descriptor: CVE-2022-47951
        ("capacity", 2**63, "62 TiB"),
        ("capacity", 62 * 1024**4 // 512 + 1, "62 TiB"),
        ("grain size", 0, "grain size"),
        ("grain size", 100, "grain size"),
        ("grain size", 2**40, "grain size"),
        ("descriptor offset", 0, "split disk"),
        ("descriptor offset", 2**50, "truncated"),
        ("descriptor size", 2**50, "64 KiB"),
        ("entries", 0, "entries"),
        ("entries", 2**31, "entries"),
        ("directory", 0, "no grain directory"),
        ("directory", 2**54, "truncated"),
        ("compression", 7, "compression"),
    ],
)
def test_a_header_that_cannot_be(tmp_path: Path, name: str, value: int, reason: str) -> None:
    raw = sample()
    form, offset = HEADER_FIELDS[name]
    for base in (0, len(raw) - 1024):  # the footer too, so that nothing contradicts
        put(raw, form, base + offset, value)
    with pytest.raises(InvalidDisk, match=reason):
        read(tmp_path, bytes(raw))


def test_an_absurd_capacity_with_a_tiny_file_is_refused(tmp_path: Path) -> None:
    raw = sample()
    for base in (0, len(raw) - 1024):
        put(raw, "<Q", base + 12, 62 * 1024**4 // 512)
    with pytest.raises(InvalidDisk, match="grain directory"):
        read(tmp_path, bytes(raw))


def directory_of(raw: bytearray) -> int:
    offset: int = struct.unpack_from("<Q", raw, len(raw) - 1024 + 56)[0]
    return offset * SECTOR


def table_of(raw: bytearray) -> int:
    sector: int = struct.unpack_from("<I", raw, directory_of(raw))[0]
    return sector * SECTOR


def test_offsets_beyond_the_end_are_refused(tmp_path: Path) -> None:
    for find in (directory_of, table_of):
        raw = sample()
        put(raw, "<I", find(raw), 0xFFFFFFF0)
        with pytest.raises(InvalidDisk, match="truncated"):
            read(tmp_path, bytes(raw))


def test_a_grain_in_the_wrong_place_is_refused(tmp_path: Path) -> None:
    raw = sample()
    first = struct.unpack_from("<I", raw, table_of(raw))[0]
    put(raw, "<I", table_of(raw) + 4, first)
    with pytest.raises(InvalidDisk, match="not where it should be"):
        read(tmp_path, bytes(raw))


def test_a_grain_that_unpacks_to_more_than_a_grain_is_refused(tmp_path: Path) -> None:
    raw = sample()
    bomb = zlib.compress(bytes(50 * MIB), 9)[:500]
    offset = 128 * SECTOR
    raw[offset + 12 : offset + 512] = bomb.ljust(500, b"\0")
    put(raw, "<I", offset + 8, 500)
    with pytest.raises(InvalidDisk, match="wrong size"):
        read(tmp_path, bytes(raw))


def test_a_grain_with_an_absurd_length_is_refused(tmp_path: Path) -> None:
    raw = sample()
    put(raw, "<I", 128 * SECTOR + 8, 0xFFFFFFFF)
    with pytest.raises(InvalidDisk):
        read(tmp_path, bytes(raw))


def test_a_grain_that_lost_its_checksum_is_noticed(tmp_path: Path) -> None:
    raw = sample()
    length = struct.unpack_from("<I", raw, 128 * SECTOR + 8)[0]
    put(raw, "<I", 128 * SECTOR + 8, length - 4)
    with pytest.raises(InvalidDisk, match="wrong size"):
        read(tmp_path, bytes(raw))


def test_flipped_bytes_in_a_grain_are_noticed(tmp_path: Path) -> None:
    raw = sample()
    raw[128 * SECTOR + 20] ^= 0xFF
    with pytest.raises(InvalidDisk, match="damaged"):
        read(tmp_path, bytes(raw))


def test_tables_that_share_grains_are_no_way_to_write_without_end(tmp_path: Path) -> None:
    """A file of 4 MiB whose directory names one table over and over would unpack to 16 TiB."""
    tables = 1024 * 1024
    raw = bytearray(2 * MIB)
    text = descriptor(1).encode().replace(b"streamOptimized", b"monolithicSparse")
    raw[512 : 512 + len(text)] = text
    raw[:512] = sparse.HEADER.pack(
        b"KDMV", 1, 1, tables * 65536, 128, 1, 20, 512, 0, 4096, 128, 0, *sparse.LINE_ENDS, 0
    ).ljust(512, b"\0")
    table = MIB // SECTOR
    raw[MIB : MIB + 2048] = struct.pack("<I", 2048) * 512
    raw += struct.pack("<I", table) * tables
    with pytest.raises(InvalidDisk, match="more data than the file holds"):
        read(tmp_path, bytes(raw))


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (b'SPARSE "x.vmdk"', b'FLAT "/etc/passwd" 0', "outside its folder"),
        (b'SPARSE "x.vmdk"', b'SPARSE "../x.vmdk"', "outside its folder"),
        (b'SPARSE "x.vmdk"', b'FLAT "x.vmdk" 0', "one sparse extent"),
        (b"streamOptimized", b"twoGbMaxExtentSparse", "twoGbMaxExtentSparse"),
        (b"parentCID=ffffffff", b"parentCID=12345678", "child"),
        (b"# Disk DescriptorFile", b"# Something else", "not a VMDK"),
    ],
)
def test_a_descriptor_inside_is_not_believed(
    tmp_path: Path, old: bytes, new: bytes, reason: str
) -> None:
    raw = sample()
    text = bytes(raw[512 : 21 * 512]).rstrip(b"\0")
    assert old in text
    raw[512 : 21 * 512] = text.replace(old, new).ljust(20 * 512, b"\0")
    with pytest.raises(InvalidDisk, match=reason):
        read(tmp_path, bytes(raw))


def test_line_ends_changed_in_transfer(tmp_path: Path) -> None:
    raw = sample()
    raw[73:77] = b"\r\n \n"
    with pytest.raises(InvalidDisk, match="line ends"):
        read(tmp_path, bytes(raw))


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 70_000), st.integers(0, 255)), min_size=1, max_size=8))
def test_damage_anywhere_never_escapes_as_anything_else(
    tmp_path: Path, damage: list[tuple[int, int]]
) -> None:
    raw = sample()
    for offset, value in damage:
        raw[offset % len(raw)] = value
    try:
        read(tmp_path, bytes(raw))
    except StorageError as error:
        assert isinstance(error, InvalidDisk)  # noqa: PT017 - most damage does no harm


def grains_in_order(made: bytes) -> Iterator[int]:
    """The sector of the disk of each grain of a stream, front to back."""
    at = 128 * SECTOR
    while at < len(made) - SECTOR:
        number, size, kind = struct.unpack_from("<QII", made, at)
        if size:
            yield number
            at += -(-(12 + size) // SECTOR) * SECTOR
        else:
            at += (1 + (number if kind else 0)) * SECTOR


def test_a_stream_of_many_grains_is_in_order_whatever_thread_was_first() -> None:
    # Those in the middle take long to compress, those around them hardly any time.
    text, noise = bytes(range(1, 255)) * 260, random.Random(7).randbytes(GRAIN)
    pieces = {
        index * GRAIN: noise if 16 <= index < 48 else text[:GRAIN].ljust(GRAIN, b"x")
        for index in range(200)
    }
    made = stream(200 * GRAIN, pieces)
    assert list(grains_in_order(made)) == [index * GRAIN // SECTOR for index in range(200)]


def test_a_writer_that_fails_ends_its_threads() -> None:
    def fail(_: bytes) -> None:
        raise OSError(errno.ENOSPC, "full")

    noise = random.Random(7).randbytes(4 * MIB)
    with (
        pytest.raises(OSError, match="full"),
        StreamWriter(fail, 64 * MIB, descriptor(64 * MIB // SECTOR)) as writer,
    ):
        for offset in range(0, 64 * MIB, len(noise)):
            writer.add(offset, noise)
    assert not [each for each in threading.enumerate() if each.name.startswith("vmdk-grains")]
