"""Each format's disk has the bytes that qemu-img put there; what names other files is refused."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import disk_images
from tests.builders import qemu_img
from tests.disk_images import FORMATS, MIB, PACKERS, SIZE, SPLIT
from tests.image_files import an_ova
from vmops.errors import ImageNotAcceptable, NoDiskSpace
from vmops.images import formats, packed
from vmops.images.directory_store import DirectoryImageStore
from vmops.images.inspection import inspect
from vmops.images.private_copy import write_sparse
from vmops.images.stream_optimized import stream_optimized
from vmops.images.verified import VerifiedStream
from vmops.lab.guest import build_boot_sector_guest
from vmops.model.image import DiskType

pytestmark = pytest.mark.skipif(shutil.which("qemu-img") is None, reason="no qemu-img")


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    return disk_images.a_disk(tmp_path / "disk.raw")


@pytest.fixture
def store(tmp_path: Path) -> DirectoryImageStore:
    return DirectoryImageStore(tmp_path / "images")


def stored(store: DirectoryImageStore) -> Path:
    """The one image file in the store, which has nothing else but its manifest."""
    first, second = sorted(store.directory.iterdir(), key=lambda each: each.suffix == ".yaml")
    assert second.suffix == ".yaml"
    return first


@pytest.mark.parametrize("name", FORMATS)
def test_each_format_becomes_a_vmdk_of_the_same_disk(
    raw: Path, store: DirectoryImageStore, name: str, tmp_path: Path
) -> None:
    file = disk_images.in_format(raw, name)
    facts = inspect(file)
    assert (facts.disk_format, facts.capacity_bytes) == (FORMATS[name][0], SIZE)
    told: list[tuple[int, int]] = []
    image = store.add(file, "a", observe_bytes=lambda done, total: told.append((done, total)))
    assert image.properties.disk_type is DiskType.STREAM_OPTIMIZED
    assert image.capacity_bytes == SIZE
    assert disk_images.disk_of(stored(store), tmp_path) == raw.read_bytes()
    assert told[-1] == (SIZE, SIZE)
    assert [done for done, _ in told] == sorted(done for done, _ in told)


@pytest.mark.parametrize("kind", SPLIT)
def test_a_vmdk_in_several_files_becomes_one(
    raw: Path, store: DirectoryImageStore, kind: str, tmp_path: Path
) -> None:
    image = store.add(disk_images.split(raw, kind), "a")
    assert image.capacity_bytes == SIZE
    assert disk_images.disk_of(stored(store), tmp_path) == raw.read_bytes()


@pytest.mark.parametrize("how", PACKERS)
@pytest.mark.parametrize("name", ["qcow2", "vhd-fixed"])
def test_a_compressed_file_is_unpacked(
    raw: Path, store: DirectoryImageStore, name: str, how: str, tmp_path: Path
) -> None:
    file = disk_images.packed(disk_images.in_format(raw, name), how)
    store.add(file, "a")
    assert disk_images.disk_of(stored(store), tmp_path) == raw.read_bytes()


@pytest.mark.parametrize("how", PACKERS)
def test_a_compressed_file_that_is_damaged_or_cut_off_leaves_nothing(
    raw: Path, store: DirectoryImageStore, how: str
) -> None:
    file = disk_images.packed(raw, how)
    content = file.read_bytes()
    for bad in (content[: len(content) // 2], content[:-3], content[:400] + b"?" + content[401:]):
        file.write_bytes(bad)
        with pytest.raises(ImageNotAcceptable, match=r"cannot be (read|unpacked)"):
            store.add(file, "a", disk_format="raw")
    assert list(store.directory.iterdir()) == []


def test_members_of_gzip_one_behind_the_other_are_one_file(raw: Path, tmp_path: Path) -> None:
    one = disk_images.packed(raw, "gz").read_bytes()
    both = tmp_path / "both.gz"
    both.write_bytes(one + one + bytes(512))
    with both.open("rb") as stream:
        found = b"".join(packed.unpacked(stream, both.stat().st_size, "both.gz", "gzip"))
    assert found == raw.read_bytes() * 2


def test_what_becomes_too_big_is_broken_off(
    raw: Path, store: DirectoryImageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packed, "_BESIDES", 0)
    monkeypatch.setattr(packed, "_RATIO", 2)
    with pytest.raises(ImageNotAcceptable, match="not believed"):
        store.add(disk_images.packed(raw, "xz"), "a", disk_format="raw")
    assert list(store.directory.iterdir()) == []


def test_holes_stay_holes(tmp_path: Path, store: DirectoryImageStore) -> None:
    file = tmp_path / "big.raw"
    with file.open("wb") as stream:
        stream.truncate(8 << 30)
        stream.seek(4 << 30)
        stream.write(b"data")
    store.add(file, "flat", disk_type=DiskType.THIN)
    found = stored(store).stat()
    assert found.st_size == 8 << 30
    assert found.st_blocks * 512 < MIB


def test_a_disk_without_data_takes_next_to_nothing(
    tmp_path: Path, store: DirectoryImageStore
) -> None:
    qemu_img("create", "-f", "qcow2", tmp_path / "e.qcow2", "64G")
    image = store.add(tmp_path / "e.qcow2", "a")
    assert image.capacity_bytes == 64 << 30
    assert stored(store).stat().st_size < MIB


@pytest.mark.parametrize(("name", "size"), [("qcow2", "10T"), ("qcow2", "400G"), ("vdi", "1T")])
def test_a_disk_out_of_all_proportion_is_refused(
    tmp_path: Path, store: DirectoryImageStore, name: str, size: str
) -> None:
    file = tmp_path / f"e.{name}"
    qemu_img("create", "-f", name, file, size)
    with file.open("r+b") as stream:  # what a file of a few kilobytes can claim
        stream.truncate(min(file.stat().st_size, 320 * 1024))
    with pytest.raises(ImageNotAcceptable, match=r"believed of it|cut off"):
        store.add(file, "a")


TRAPS = {
    "backing": ("qcow2", ("-b", "/etc/passwd", "-F", "raw", "-u")),
    "data file": ("qcow2", ("-o", "data_file=data.raw")),
    "raw data file": ("qcow2", ("-o", "data_file=data.raw,data_file_raw=on")),
    "extended tables": ("qcow2", ("-o", "extended_l2=on,cluster_size=128k")),
}


@pytest.mark.parametrize("what", TRAPS)
def test_what_does_not_stand_alone_is_refused(
    tmp_path: Path, store: DirectoryImageStore, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    kind, options = TRAPS[what]
    file = tmp_path / f"trap.{kind}"
    qemu_img("create", "-q", "-f", kind, *options, file, "1M")
    with pytest.raises(ImageNotAcceptable, match="refused"):
        store.add(file, "a")
    assert not store.directory.exists() or list(store.directory.iterdir()) == []


@pytest.mark.parametrize("method", [1, 2, 9])
def test_an_encrypted_disk_is_refused(
    raw: Path, store: DirectoryImageStore, method: int, tmp_path: Path
) -> None:
    file = disk_images.in_format(raw, "qcow2")
    with file.open("r+b") as stream:
        stream.seek(32)
        stream.write(method.to_bytes(4, "big"))
    with pytest.raises(ImageNotAcceptable, match="encrypted"):
        store.add(file, "a")
    luks = tmp_path / "a.img"
    luks.write_bytes(b"LUKS\xba\xbe\0\1" + bytes(MIB))
    with pytest.raises(ImageNotAcceptable, match=r"refused|not taken"):
        store.add(luks, "a")


@pytest.mark.parametrize("change", ["gone", "link", "folder", "pipe", "short"])
@pytest.mark.parametrize("kind", SPLIT)
def test_a_part_must_be_a_file_beside_its_descriptor(
    raw: Path, store: DirectoryImageStore, kind: str, change: str, tmp_path: Path
) -> None:
    file = disk_images.split(raw, kind)
    (part,) = (each for each in tmp_path.glob(f"{kind}-*.vmdk"))
    if change == "short":
        os.truncate(part, part.stat().st_size - 4096)
    else:
        part.unlink()
    if change == "link":
        part.symlink_to(raw)
    elif change == "folder":
        part.mkdir()
    elif change == "pipe":
        os.mkfifo(part)
    with pytest.raises(ImageNotAcceptable):
        store.add(file, "a")


@pytest.mark.parametrize(
    ("name", "claim", "said"),
    [
        ("disk.vhd", {}, "named as vhd, but is qcow2"),
        ("disk.raw", {}, "named as raw, but is qcow2"),
        ("disk.img", {"disk_format": "vdi"}, "said to have format vdi, but is qcow2"),
        ("disk.gz", {}, "named as gzip, but is not compressed"),
        ("disk.img", {"disk_format": "raw"}, "said to have format raw, but is qcow2"),
    ],
)
def test_what_is_claimed_and_is_not_so_is_an_error(
    raw: Path, store: DirectoryImageStore, name: str, claim: dict[str, Any], said: str
) -> None:
    file = disk_images.in_format(raw, "qcow2")
    named = file.rename(file.with_name("x-" + name))
    with pytest.raises(ImageNotAcceptable, match=said):
        store.add(named, "a", **claim)


def test_a_suffix_is_overruled(raw: Path, store: DirectoryImageStore) -> None:
    file = disk_images.in_format(raw, "qcow2")
    assert store.add(file.rename(file.with_suffix(".vhd")), "a", disk_format="qcow2").name == "a"


def test_a_file_that_is_swapped_while_it_is_looked_into_is_not_used(
    raw: Path, store: DirectoryImageStore, tmp_path: Path
) -> None:
    """Another file takes its place again and again; what is stored is always the sound disk."""
    sound, secret, evil = (tmp_path / n for n in ("sound.qcow2", "secret.raw", "evil.qcow2"))
    disk_images.in_format(raw, "qcow2").rename(sound)
    secret.write_bytes(b"SECRET__" * (MIB // 8))
    qemu_img("create", "-q", "-f", "qcow2", "-b", secret, "-F", "raw", evil)
    given, over = tmp_path / "given.qcow2", threading.Event()
    shutil.copy(sound, given)

    def swap() -> None:
        while not over.is_set():
            for each in (evil, sound):
                copy = tmp_path / "next"
                shutil.copy(each, copy)
                copy.replace(given)

    swapping = threading.Thread(target=swap)
    swapping.start()
    taken, refused, end = 0, 0, time.monotonic() + 30
    try:
        while not (taken > 2 and refused) and time.monotonic() < end:
            try:
                store.add(given, "a")
            except ImageNotAcceptable:
                refused += 1
                continue
            taken += 1
            assert disk_images.disk_of(stored(store), tmp_path) == raw.read_bytes()
            store.remove("a")
    finally:
        over.set()
        swapping.join()
    assert taken


def test_without_room_nothing_is_begun(
    raw: Path, store: DirectoryImageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(raw.parent)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(NoDiskSpace, match=r"disk\.raw takes up to"):
        store.add(raw, "a", disk_format="raw")
    assert not store.directory.exists()


@pytest.mark.parametrize("at", [0, 1000, -1])
def test_the_checksum_is_compared_before_the_last_bytes_are_given(
    raw: Path, store: DirectoryImageStore, at: int
) -> None:
    image = store.add(raw, "a", disk_type=DiskType.PREALLOCATED)
    with store.open(image) as stream:
        assert stream.read() == raw.read_bytes()
    file = stored(store)
    content = bytearray(file.read_bytes())
    content[at] ^= 1
    file.write_bytes(content)
    given = 0
    with (
        pytest.raises(ImageNotAcceptable, match="damaged: its sha256"),
        store.open(image) as stream,
    ):
        while block := stream.read(MIB):
            given += len(block)
    assert given < SIZE
    assert [each.name for each in store.list()] == ["a"]  # a list reads no bytes of disks


def test_the_checksum_of_an_archive_without_a_manifest_is_compared(
    tmp_path: Path, store: DirectoryImageStore
) -> None:
    from vmops.images import content  # noqa: PLC0415

    vmdk = build_boot_sector_guest(tmp_path / "disk.vmdk").read_bytes()
    image = store.add(an_ova(tmp_path / "a.ova", vmdk), "a")
    file = stored(store)
    whole = bytearray(file.read_bytes())
    whole[-1] ^= 1  # in the padding behind all members
    file.write_bytes(whole)
    with (
        pytest.raises(ImageNotAcceptable, match="damaged"),
        content.as_vmdk(store, image) as (opens, disk),
        opens.open(disk) as stream,
    ):
        while stream.read(MIB):
            pass


@pytest.mark.parametrize("checksum", ["md5:1", "sha256:", "nothing", "sha256"])
def test_a_checksum_of_no_known_kind_is_told(checksum: str) -> None:
    with pytest.raises(ImageNotAcceptable, match="not known"):
        VerifiedStream(io.BytesIO(b"x"), 1, checksum, "a")


def test_other_digests_are_compared_too() -> None:
    told = hashlib.sha512(b"xyz").hexdigest()
    with VerifiedStream(io.BytesIO(b"xyz"), 3, f"sha512:{told.upper()}", "a") as stream:
        assert stream.read() == b"xyz"


def blocks() -> Iterator[tuple[int, bytes]]:
    """Blocks that begin and end anywhere, and go beyond the disk's end."""
    at = 0
    for size in (1, 511, 65536, 7, 0, 200_000, 3, 5 * MIB, 40 * MIB):
        yield at, bytes([size % 251 + 1]) * size
        at += size + (size % 3) * 70_000


def test_a_stream_takes_blocks_of_any_size(tmp_path: Path) -> None:
    wanted = bytearray(30 * MIB + 512)
    for at, block in blocks():
        wanted[at : at + len(block)] = block
    del wanted[30 * MIB + 512 :]
    file = tmp_path / "made.vmdk"
    with file.open("wb") as out:
        write_sparse(stream_optimized(30 * MIB + 1, blocks()), out)
    assert inspect(file).capacity_bytes == 30 * MIB + 512
    assert disk_images.disk_of(file, tmp_path) == wanted
    qemu_img("check", "-q", file)


def test_blocks_that_go_back_are_refused() -> None:
    with pytest.raises(ValueError, match="begins before"):
        list(stream_optimized(MIB, iter([(4096, b"x"), (0, b"x")])))


def test_the_store_stays_private(raw: Path, store: DirectoryImageStore) -> None:
    store.add(raw, "a", disk_format="raw")
    assert stat.S_IMODE(store.directory.stat().st_mode) == 0o700
    assert formats.READERS.keys() < {"raw", "vmdk", "iso", "qcow2", "vhd", "vhdx", "vdi"}
