from __future__ import annotations

import os
import re
import tracemalloc
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.unit.lab.storage.conftest import MIB, names, one, write_all, write_at
from vmops.lab.hypervisor.port import DiskLayer
from vmops.lab.storage.disks import Adapter, DiskStore, Provisioning
from vmops.lab.storage.errors import (
    CopyCancelled,
    FileExists,
    FileMissing,
    InvalidDatastorePath,
    InvalidDisk,
    NoSpace,
    UnknownDatastore,
)
from vmops.lab.storage.paths import DatastorePath
from vmops.lab.storage.volumes import Volumes

GIB = 1024 * MIB
CONTENT = {0: b"boot" * 128, 3 * MIB: b"data" * 50_000, 8 * MIB - 512: b"tail" * 128}


@pytest.fixture
def disk(store: DiskStore, root: Path) -> DatastorePath:
    """A flat disk of 8 MiB with something in it."""
    store.create(one("a.vmdk"), 8 * MIB)
    write_at(root / "a-flat.vmdk", CONTENT)
    return one("a.vmdk")


def occupied(file: Path) -> int:
    return file.stat().st_blocks * 512


def exported(store: DiskStore, path: DatastorePath, file: Path) -> Path:
    with file.open("wb") as opened:
        assert store.export_stream(path, partial(write_all, opened)) == opened.tell()
    return file


# --- create -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("provisioning", "least_occupied"),
    [("thin", 0), ("thick", 64 * MIB), ("eagerZeroedThick", 64 * MIB)],
)
def test_a_new_disk(
    store: DiskStore, root: Path, provisioning: Provisioning, least_occupied: int
) -> None:
    info = store.create(one("x.vmdk"), 64 * MIB, provisioning=provisioning, adapter="ide")
    flat = root / "x-flat.vmdk"
    assert flat.stat().st_size == 64 * MIB
    assert least_occupied <= occupied(flat) < least_occupied + MIB
    assert info == store.inspect(one("x.vmdk"))
    assert (info.kind, info.provisioning, info.adapter) == ("flat", provisioning, "ide")
    assert info.capacity_bytes == 64 * MIB
    assert info.layers == (DiskLayer(file=flat, file_format="raw"),)
    assert info.files == (one("x.vmdk"), one("x-flat.vmdk"))
    assert info.parent is None
    text = (root / "x.vmdk").read_text()
    assert 'RW 131072 VMFS "x-flat.vmdk"\n' in text
    assert 'createType="vmfs"\n' in text
    assert 'ddb.adapterType = "ide"\n' in text
    assert f'ddb.uuid = "{info.uuid}"\n' in text
    assert f"CID={info.cid}\n" in text
    assert ("thinProvisioned" in text) == (provisioning == "thin")
    assert names(root) == ["x-flat.vmdk", "x.vmdk"]


def test_qemu_reads_a_flat_disk_through_its_descriptor(
    disk: DatastorePath, root: Path, qemu_img: Callable[..., str]
) -> None:
    assert f"({8 * MIB} bytes)" in qemu_img("info", "-f", "vmdk", root / disk.name)
    shown = qemu_img("compare", "-f", "vmdk", "-F", "raw", root / "a.vmdk", root / "a-flat.vmdk")
    assert "identical" in shown


def test_a_capacity_is_rounded_up_to_a_sector(store: DiskStore, root: Path) -> None:
    assert store.create(one("x.vmdk"), MIB + 1).capacity_bytes == MIB + 512
    assert (root / "x-flat.vmdk").stat().st_size == MIB + 512


@pytest.mark.parametrize("capacity_bytes", [0, -1, 62 * 1024 * GIB + 1, 2**63])
def test_a_capacity_that_cannot_be(store: DiskStore, root: Path, capacity_bytes: int) -> None:
    with pytest.raises(InvalidDisk, match="62 TiB"):
        store.create(one("x.vmdk"), capacity_bytes)
    assert names(root) == []


@pytest.mark.parametrize("name", ["x", "x.vmx", ".vmdk", 'a"b.vmdk', ""])
def test_a_name_that_no_disk_can_have(store: DiskStore, root: Path, name: str) -> None:
    with pytest.raises(InvalidDatastorePath):
        store.create(one(name), MIB)
    assert names(root) == []


def test_where_a_disk_cannot_be_made(store: DiskStore, disk: DatastorePath, root: Path) -> None:
    before = (root / "a.vmdk").read_bytes()
    with pytest.raises(FileExists, match=re.escape("[one] a.vmdk")):
        store.create(disk, MIB)
    with pytest.raises(FileMissing, match="nowhere"):
        store.create(one("nowhere/x.vmdk"), MIB)
    with pytest.raises(UnknownDatastore):
        store.create(DatastorePath("three", "x.vmdk"), MIB)
    (root / "b-flat.vmdk").write_bytes(b"")
    with pytest.raises(FileExists, match="b-flat"):
        store.create(one("b.vmdk"), MIB)
    assert (root / "a.vmdk").read_bytes() == before
    assert names(root) == ["a-flat.vmdk", "a.vmdk", "b-flat.vmdk"]


def test_a_thick_disk_beyond_the_quota_leaves_nothing(root: Path) -> None:
    root.mkdir()
    store = DiskStore(Volumes({"one": root}, capacity_bytes=MIB))
    with pytest.raises(NoSpace):
        store.create(one("x.vmdk"), 2 * MIB, provisioning="thick")
    assert names(root) == []
    store.create(one("x.vmdk"), 100 * GIB)


def test_creation_can_be_cancelled(store: DiskStore, root: Path) -> None:
    with pytest.raises(CopyCancelled):
        store.create(one("x.vmdk"), MIB, provisioning="thick", cancelled=lambda: True)
    assert names(root) == []


# --- children ---------------------------------------------------------------------------------


def test_a_child_is_the_same_disk_over_its_parent(
    store: DiskStore, disk: DatastorePath, root: Path
) -> None:
    parent = store.inspect(disk)
    before = (root / "a.vmdk").read_bytes()
    child = store.create_child(one("a-000001.vmdk"), disk)
    assert child.kind == "delta"
    assert child.parent == disk
    assert child.uuid == parent.uuid
    assert child.cid != parent.cid
    assert child.layers == (
        DiskLayer(file=root / "a-000001-delta.vmdk", file_format="qcow2"),
        DiskLayer(file=root / "a-flat.vmdk", file_format="raw"),
    )
    assert child.files == (one("a-000001.vmdk"), one("a-000001-delta.vmdk"))
    text = (root / "a-000001.vmdk").read_text()
    assert f"parentCID={parent.cid}\n" in text
    assert 'parentFileNameHint="a.vmdk"\n' in text
    assert 'createType="vmfsSparse"\n' in text
    assert (root / "a.vmdk").read_bytes() == before


def test_a_linked_clone_is_another_disk_and_finds_its_parent_elsewhere(
    store: DiskStore, disk: DatastorePath, tmp_path: Path, root: Path
) -> None:
    target = DatastorePath("two", "clone.vmdk")
    clone = store.create_child(target, disk, new_uuid=True)
    assert clone.uuid != store.inspect(disk).uuid
    assert clone.parent == disk
    assert [layer.file for layer in clone.layers] == [
        tmp_path / "two" / "clone-delta.vmdk",
        root / "a-flat.vmdk",
    ]
    text = (tmp_path / "two" / "clone.vmdk").read_text()
    assert 'parentFileNameHint="/vmfs/volumes/one/a.vmdk"\n' in text


def test_a_chain_of_children(store: DiskStore, disk: DatastorePath, root: Path) -> None:
    store.create_child(one("b.vmdk"), disk)
    info = store.create_child(one("c.vmdk"), one("b.vmdk"))
    assert [layer.file.name for layer in info.layers] == [
        "c-delta.vmdk",
        "b-delta.vmdk",
        "a-flat.vmdk",
    ]
    with pytest.raises(FileExists):
        store.create_child(one("c.vmdk"), disk)
    with pytest.raises(FileMissing):
        store.create_child(one("d.vmdk"), one("nothing.vmdk"))


def test_a_chain_without_an_end_is_refused(
    store: DiskStore, disk: DatastorePath, root: Path
) -> None:
    for name in ("b", "c"):
        store.create_child(one(f"{name}.vmdk"), disk)
    cids = {name: store.inspect(one(f"{name}.vmdk")).cid for name in ("b", "c")}
    for name, other in (("b", "c"), ("c", "b")):
        file = root / f"{name}.vmdk"
        text = re.sub("parentCID=.*", f"parentCID={cids[other]}", file.read_text())
        file.write_text(text.replace('Hint="a.vmdk"', f'Hint="{other}.vmdk"'))
    with pytest.raises(InvalidDisk, match="no end"):
        store.inspect(one("b.vmdk"))


def test_a_parent_that_was_replaced_is_noticed(store: DiskStore, disk: DatastorePath) -> None:
    store.create_child(one("b.vmdk"), disk)
    store.create(disk, 8 * MIB, force=True)
    with pytest.raises(InvalidDisk, match="modified since"):
        store.inspect(one("b.vmdk"))
    store.delete(disk)
    with pytest.raises(FileMissing, match=re.escape("[one] a.vmdk")):
        store.inspect(one("b.vmdk"))


@pytest.mark.parametrize(
    "hint", ["/etc/passwd", "../a.vmdk", "/vmfs/volumes/one/../../x", "/vmfs/volumes/three/a", ".."]
)
def test_a_parent_outside_the_datastores_is_refused(
    store: DiskStore, disk: DatastorePath, root: Path, hint: str
) -> None:
    store.create_child(one("b.vmdk"), disk)
    text = (root / "b.vmdk").read_text()
    (root / "b.vmdk").write_text(text.replace('Hint="a.vmdk"', f'Hint="{hint}"'))
    with pytest.raises(InvalidDisk, match="outside the datastores"):
        store.inspect(one("b.vmdk"))


# --- what is no disk --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"hello", "not a VMDK"),
        (os.urandom(100_000), "not a VMDK"),
        (b"QFI\xfb" + bytes(600), "qcow2"),
        (b"KDMV", "truncated"),
        (b"KDMV" + bytes(10_000), "version 0"),
        (b"COWD" + bytes(2000), "ESX's own"),
        (b"\x1f\x8b\x08" + bytes(100), "gzip"),
    ],
)
def test_what_is_no_disk_is_refused_with_a_reason(
    store: DiskStore, root: Path, content: bytes, reason: str
) -> None:
    (root / "x.vmdk").write_bytes(content)
    for attempt in (
        lambda: store.inspect(one("x.vmdk")),
        lambda: store.copy(one("x.vmdk"), one("y.vmdk")),
        lambda: store.move(one("x.vmdk"), one("y.vmdk")),
        lambda: store.delete(one("x.vmdk")),
        lambda: store.extend(one("x.vmdk"), GIB),
        lambda: store.create_child(one("y.vmdk"), one("x.vmdk")),
        lambda: store.export_stream(one("x.vmdk"), lambda _: None),
    ):
        with pytest.raises(InvalidDisk, match=reason):
            attempt()
    assert names(root) == ["x.vmdk"]


@pytest.mark.parametrize("extent", ["/etc/passwd", "../secret", "sub/secret", "..", "x.vmdk"])
def test_an_extent_elsewhere_is_never_opened(
    store: DiskStore, disk: DatastorePath, root: Path, tmp_path: Path, extent: str
) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"canary" * 2_000_000)
    text = (root / "a.vmdk").read_text()
    (root / "x.vmdk").write_text(text.replace("a-flat.vmdk", extent))
    for attempt in (
        lambda: store.inspect(one("x.vmdk")),
        lambda: store.copy(one("x.vmdk"), one("y.vmdk")),
        lambda: store.delete(one("x.vmdk")),
        lambda: store.export_stream(one("x.vmdk"), lambda _: None),
    ):
        with pytest.raises(InvalidDisk, match=r"outside its folder|names itself"):
            attempt()
    assert secret.exists()
    assert names(root) == ["a-flat.vmdk", "a.vmdk", "x.vmdk"]


def test_an_extent_that_is_a_link_out_is_never_opened(
    store: DiskStore, disk: DatastorePath, root: Path
) -> None:
    (root / "a-flat.vmdk").unlink()
    (root / "a-flat.vmdk").symlink_to("/etc/passwd")
    with pytest.raises(InvalidDisk, match="outside its folder"):
        store.inspect(disk)


def test_data_that_is_missing_short_or_no_file(
    store: DiskStore, disk: DatastorePath, root: Path
) -> None:
    flat = root / "a-flat.vmdk"
    os.truncate(flat, 8 * MIB - 512)
    with pytest.raises(InvalidDisk, match="8388096 bytes"):
        store.inspect(disk)
    flat.unlink()
    with pytest.raises(FileMissing, match="a-flat"):
        store.inspect(disk)
    os.mkfifo(flat)
    with pytest.raises(InvalidDisk, match="ordinary"):
        store.inspect(disk)


def test_a_split_disk_is_refused(store: DiskStore, disk: DatastorePath, root: Path) -> None:
    text = (root / "a.vmdk").read_text()
    more = 'RW 16384 VMFS "a-flat.vmdk"\n'
    (root / "a.vmdk").write_text(text.replace(more, more * 2))
    with pytest.raises(InvalidDisk, match="split"):
        store.inspect(disk)


# --- extend, delete, uuid ---------------------------------------------------------------------


def test_a_disk_grows_and_keeps_its_content(
    store: DiskStore, disk: DatastorePath, root: Path
) -> None:
    before = (root / "a-flat.vmdk").read_bytes()
    old = store.inspect(disk)
    info = store.extend(disk, 3 * GIB)
    assert info.capacity_bytes == 3 * GIB == (root / "a-flat.vmdk").stat().st_size
    assert (info.uuid, info.cid, info.provisioning) == (old.uuid, old.cid, "thin")
    with (root / "a-flat.vmdk").open("rb") as file:
        assert file.read(8 * MIB) == before
        assert file.read(MIB) == bytes(MIB)
    assert 'ddb.geometry.heads = "255"' in (root / "a.vmdk").read_text()
    assert store.extend(disk, 3 * GIB).capacity_bytes == 3 * GIB


def test_what_lay_behind_the_end_does_not_appear(
    store: DiskStore, disk: DatastorePath, root: Path
) -> None:
    with (root / "a-flat.vmdk").open("ab") as file:
        file.write(b"leftover")
    store.extend(disk, 9 * MIB)
    assert (root / "a-flat.vmdk").read_bytes()[8 * MIB :] == bytes(MIB)


@pytest.mark.parametrize(("eager", "expected"), [(True, "eagerZeroedThick"), (False, "thick")])
def test_a_thick_disk_grows_in_earnest(
    store: DiskStore, root: Path, eager: bool, expected: Provisioning
) -> None:
    store.create(one("x.vmdk"), MIB, provisioning="eagerZeroedThick")
    info = store.extend(one("x.vmdk"), 16 * MIB, eager=eager)
    assert info.provisioning == expected
    assert occupied(root / "x-flat.vmdk") >= 16 * MIB


def test_what_cannot_be_extended(store: DiskStore, disk: DatastorePath, root: Path) -> None:
    with pytest.raises(InvalidDisk, match="cannot shrink"):
        store.extend(disk, 4 * MIB)
    store.create_child(one("b.vmdk"), disk)
    with pytest.raises(InvalidDisk, match="delta"):
        store.extend(one("b.vmdk"), GIB)
    assert (root / "a-flat.vmdk").stat().st_size == 8 * MIB
    assert store.inspect(one("b.vmdk")).capacity_bytes == 8 * MIB


def test_an_extension_beyond_the_quota_changes_nothing(root: Path) -> None:
    root.mkdir()
    store = DiskStore(Volumes({"one": root}, capacity_bytes=4 * MIB))
    store.create(one("x.vmdk"), MIB, provisioning="thick")
    before = (root / "x.vmdk").read_bytes()
    with pytest.raises(NoSpace):
        store.extend(one("x.vmdk"), 64 * MIB)
    assert (root / "x-flat.vmdk").stat().st_size == MIB
    assert (root / "x.vmdk").read_bytes() == before


def test_deletion_takes_what_is_the_disks_own(
    store: DiskStore, disk: DatastorePath, root: Path
) -> None:
    store.create_child(one("b.vmdk"), disk)
    store.delete(one("b.vmdk"))
    assert names(root) == ["a-flat.vmdk", "a.vmdk"]
    (root / "a-flat.vmdk").unlink()  # as before an upload in its place
    store.delete(disk)
    assert names(root) == []
    with pytest.raises(FileMissing):
        store.delete(disk)


def test_a_disk_can_be_given_another_uuid(store: DiskStore, disk: DatastorePath) -> None:
    before = store.inspect(disk)
    store.set_uuid(disk, "6000C293-7ba0-3a03-9f22-562993b72754")
    after = store.inspect(disk)
    assert after.uuid == "60 00 C2 93 7b a0 3a 03-9f 22 56 29 93 b7 27 54"
    assert after.cid == before.cid
    with pytest.raises(InvalidDisk, match="32 hexadecimal"):
        store.set_uuid(disk, "x")


# --- export, memory ---------------------------------------------------------------------------


def test_an_export_comes_back_whole(
    store: DiskStore, disk: DatastorePath, root: Path, tmp_path: Path
) -> None:
    file = exported(store, disk, tmp_path / "x.vmdk")
    info = store.import_file(file, one("b.vmdk"))
    assert (root / "b-flat.vmdk").read_bytes() == (root / "a-flat.vmdk").read_bytes()
    assert (info.kind, info.provisioning, info.capacity_bytes) == ("flat", "thin", 8 * MIB)
    assert occupied(root / "b-flat.vmdk") <= 512 * 1024


def test_an_export_tells_how_far_it_is(store: DiskStore, disk: DatastorePath) -> None:
    told: list[int] = []
    store.export_stream(disk, lambda _: None, told.append)
    assert told[0] == 0
    assert told[-1] == 100
    assert told == sorted(set(told))


@pytest.mark.parametrize("adapter", ["lsiLogic", "busLogic", "ide"])
def test_the_adapter_survives_export_and_import(
    store: DiskStore, tmp_path: Path, adapter: Adapter
) -> None:
    store.create(one("a.vmdk"), MIB, adapter=adapter)
    file = exported(store, one("a.vmdk"), tmp_path / "x.vmdk")
    assert store.import_file(file, one("b.vmdk")).adapter == adapter


def test_memory_does_not_grow_with_the_disk(store: DiskStore, root: Path, tmp_path: Path) -> None:
    store.create(one("a.vmdk"), 2048 * GIB)
    noise = os.urandom(MIB)
    write_at(root / "a-flat.vmdk", {n * 40 * GIB: noise for n in range(40)})
    tracemalloc.start()
    try:
        file = exported(store, one("a.vmdk"), tmp_path / "x.vmdk")
        store.import_file(file, one("b.vmdk"))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 16 * MIB
    assert occupied(root / "b-flat.vmdk") < 41 * MIB
