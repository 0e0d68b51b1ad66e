"""Copying, moving and importing disks: what arrives, and what a failure leaves."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.unit.lab.storage.conftest import MIB, names, one, write_all, write_at
from vmops.lab.storage.disks import DiskStore, Provisioning
from vmops.lab.storage.errors import CopyCancelled, FileExists, FileMissing, InvalidDisk, NoSpace
from vmops.lab.storage.paths import DatastorePath
from vmops.lab.storage.volumes import Volumes

CONTENT = {0: b"boot" * 128, 3 * MIB: b"data" * 50_000, 8 * MIB - 512: b"tail" * 128}


def two(path: str) -> DatastorePath:
    return DatastorePath("two", path)


@pytest.fixture
def disk(store: DiskStore, root: Path) -> DatastorePath:
    store.create(one("a.vmdk"), 8 * MIB, adapter="busLogic")
    write_at(root / "a-flat.vmdk", CONTENT)
    return one("a.vmdk")


@pytest.fixture
def flat_content(disk: DatastorePath, root: Path) -> bytes:
    return (root / "a-flat.vmdk").read_bytes()


@pytest.fixture
def stream(store: DiskStore, disk: DatastorePath, tmp_path: Path) -> Path:
    """The disk as a streamOptimized file outside the datastores."""
    file = tmp_path / "upload"
    with file.open("wb") as opened:
        store.export_stream(disk, partial(write_all, opened))
    return file


def test_a_copy_is_a_disk_of_its_own(
    store: DiskStore, disk: DatastorePath, flat_content: bytes, tmp_path: Path
) -> None:
    told: list[int] = []
    old, new = store.inspect(disk), store.copy(disk, two("b.vmdk"), progress=told.append)
    flat = tmp_path / "two" / "b-flat.vmdk"
    assert flat.read_bytes() == flat_content
    assert flat.stat().st_blocks * 512 <= 512 * 1024
    assert (new.kind, new.provisioning, new.adapter) == ("flat", "thin", "busLogic")
    assert new.uuid != old.uuid
    assert new.cid != old.cid
    assert told == sorted(set(told))
    assert told[-1] == 100


@pytest.mark.parametrize("provisioning", ["thick", "eagerZeroedThick"])
def test_a_copy_can_change_provisioning_and_adapter(
    store: DiskStore,
    disk: DatastorePath,
    flat_content: bytes,
    root: Path,
    provisioning: Provisioning,
) -> None:
    new = store.copy(disk, one("b.vmdk"), provisioning=provisioning, adapter="ide")
    assert (new.provisioning, new.adapter) == (provisioning, "ide")
    assert (root / "b-flat.vmdk").read_bytes() == flat_content
    assert (root / "b-flat.vmdk").stat().st_blocks * 512 >= 8 * MIB
    again = store.copy(one("b.vmdk"), one("c.vmdk"))
    assert again.provisioning == provisioning
    thin = store.copy(one("b.vmdk"), one("d.vmdk"), provisioning="thin")
    assert thin.provisioning == "thin"
    assert (root / "d-flat.vmdk").stat().st_blocks * 512 <= 512 * 1024


def test_a_chain_is_copied_flattened(
    store: DiskStore,
    disk: DatastorePath,
    flat_content: bytes,
    root: Path,
    qemu_io: Callable[..., str],
) -> None:
    store.create_child(one("b.vmdk"), disk)
    store.create_child(one("c.vmdk"), one("b.vmdk"))
    for name, offset, byte in (("b", "1M", 7), ("c", "3M", 8)):
        qemu_io(
            "--image-opts",
            "-c",
            f"write -P {byte} {offset} 64k",
            f"driver=qcow2,file.driver=file,file.filename={root / f'{name}-delta.vmdk'}",
        )
    info = store.copy(one("c.vmdk"), one("flat.vmdk"))
    expected = bytearray(flat_content)
    expected[MIB : MIB + 65536] = b"\x07" * 65536
    expected[3 * MIB : 3 * MIB + 65536] = b"\x08" * 65536
    assert (root / "flat-flat.vmdk").read_bytes() == bytes(expected)
    assert info.parent is None
    assert (root / "a-flat.vmdk").read_bytes() == flat_content


@pytest.mark.parametrize("subformat", ["streamOptimized", "monolithicSparse"])
def test_a_sparse_file_on_a_datastore_is_copied_to_a_flat_disk(
    store: DiskStore,
    disk: DatastorePath,
    flat_content: bytes,
    root: Path,
    qemu_img: Callable[..., str],
    subformat: str,
) -> None:
    options = ("-f", "raw", "-O", "vmdk", "-o", f"subformat={subformat},adapter_type=ide")
    qemu_img("convert", *options, root / "a-flat.vmdk", root / "x-sparse.vmdk")
    uploaded = store.inspect(one("x-sparse.vmdk"))
    kind = "streamOptimized" if subformat == "streamOptimized" else "sparse"
    assert (uploaded.kind, uploaded.layers) == (kind, ())
    assert uploaded.files == (one("x-sparse.vmdk"),)
    assert uploaded.adapter == "ide"

    info = store.copy(one("x-sparse.vmdk"), one("x.vmdk"), provisioning="thin")
    assert (info.kind, info.capacity_bytes, info.adapter) == ("flat", 8 * MIB, "ide")
    assert (root / "x-flat.vmdk").read_bytes() == flat_content
    with pytest.raises(InvalidDisk, match="cannot be a parent"):
        store.create_child(one("y.vmdk"), one("x-sparse.vmdk"))
    with pytest.raises(InvalidDisk, match="cannot be extended"):
        store.extend(one("x-sparse.vmdk"), 16 * MIB)
    store.delete(one("x-sparse.vmdk"))
    assert not (root / "x-sparse.vmdk").exists()


@pytest.mark.parametrize("subformat", ["streamOptimized", "monolithicSparse"])
def test_import_of_what_qemu_writes(
    store: DiskStore,
    flat_content: bytes,
    root: Path,
    tmp_path: Path,
    qemu_img: Callable[..., str],
    subformat: str,
) -> None:
    file = tmp_path / "x.vmdk"
    options = ("-f", "raw", "-O", "vmdk", "-o", f"subformat={subformat}")
    qemu_img("convert", *options, root / "a-flat.vmdk", file)
    store.import_file(file, one("b.vmdk"))
    assert (root / "b-flat.vmdk").read_bytes() == flat_content


def test_qemu_converts_an_export_to_the_same_content(
    store: DiskStore, stream: Path, root: Path, qemu_img: Callable[..., str]
) -> None:
    shown = qemu_img("info", "-f", "vmdk", stream)
    assert "streamOptimized" in shown
    assert "identical" in qemu_img(
        "compare", "-f", "vmdk", "-F", "raw", stream, root / "a-flat.vmdk"
    )


# --- in the way -------------------------------------------------------------------------------


def test_without_force_nothing_is_replaced(
    store: DiskStore, disk: DatastorePath, stream: Path, root: Path
) -> None:
    store.create(one("b.vmdk"), MIB)
    before = {name: (root / name).read_bytes() for name in names(root)}
    for attempt in (
        lambda: store.copy(disk, one("b.vmdk")),
        lambda: store.move(disk, one("b.vmdk")),
        lambda: store.import_file(stream, one("b.vmdk")),
    ):
        with pytest.raises(FileExists, match=re.escape("[one] b")):
            attempt()
    assert {name: (root / name).read_bytes() for name in names(root)} == before


def test_force_replaces_a_disk_of_another_kind(
    store: DiskStore, disk: DatastorePath, flat_content: bytes, root: Path
) -> None:
    store.create_child(one("b.vmdk"), disk)
    store.create(one("c.vmdk"), MIB)
    write_at(root / "c-flat.vmdk", {0: b"c"})
    info = store.copy(one("c.vmdk"), one("b.vmdk"), force=True)
    assert (info.kind, info.capacity_bytes) == ("flat", MIB)
    assert names(root) == [
        "a-flat.vmdk", "a.vmdk", "b-flat.vmdk", "b.vmdk", "c-flat.vmdk", "c.vmdk",
    ]  # fmt: skip
    assert (root / "a-flat.vmdk").read_bytes() == flat_content


def test_a_disk_is_not_copied_over_itself_or_what_it_stands_on(
    store: DiskStore, disk: DatastorePath, flat_content: bytes, root: Path
) -> None:
    store.create_child(one("b.vmdk"), disk)
    for target in ("b.vmdk", "a.vmdk", "a-flat.vmdk", "b-delta.vmdk"):
        with pytest.raises(InvalidDisk, match="below it"):
            store.copy(one("b.vmdk"), one(target), force=True)
    assert (root / "a-flat.vmdk").read_bytes() == flat_content


def test_one_of_two_who_come_at_once_loses_and_leaves_nothing(
    store: DiskStore, disk: DatastorePath, flat_content: bytes, root: Path
) -> None:
    """The other one finishes while this copy is under way."""
    done = False

    def meanwhile(_: int) -> None:
        nonlocal done
        if not done:
            done = True
            store.create(one("b.vmdk"), MIB)

    with pytest.raises(FileExists):
        store.copy(disk, one("b.vmdk"), progress=meanwhile)
    assert store.inspect(one("b.vmdk")).capacity_bytes == MIB
    assert names(root) == ["a-flat.vmdk", "a.vmdk", "b-flat.vmdk", "b.vmdk"]


# --- failures ---------------------------------------------------------------------------------


def cancel_after(count: int) -> Callable[[], bool]:
    asked = iter(range(count))
    return lambda: next(asked, None) is None


def test_a_cancelled_transfer_leaves_nothing(
    store: DiskStore, disk: DatastorePath, stream: Path, root: Path
) -> None:
    before = names(root)
    with pytest.raises(CopyCancelled):
        store.copy(disk, one("b.vmdk"), cancelled=cancel_after(2))
    with pytest.raises(CopyCancelled):
        store.import_file(stream, one("b.vmdk"), cancelled=cancel_after(2))
    with pytest.raises(CopyCancelled):
        store.export_stream(disk, lambda _: None, cancelled=cancel_after(2))
    assert names(root) == before


@pytest.mark.parametrize("quota", [0, 100_000, 200_000])
def test_a_full_datastore_leaves_nothing(
    store: DiskStore, stream: Path, tmp_path: Path, quota: int
) -> None:
    root = tmp_path / "small"
    root.mkdir()
    small = DiskStore(Volumes({"one": root}, capacity_bytes=quota))
    with pytest.raises(NoSpace):
        small.import_file(stream, one("b.vmdk"))
    assert names(root) == []


def test_a_file_system_that_is_full_leaves_nothing(
    store: DiskStore, disk: DatastorePath, root: Path
) -> None:
    """No file may have more than 16 TiB on ext4, 8 EiB on others: EFBIG where it applies."""
    before = names(root)
    try:
        store.create(one("b.vmdk"), 62 * 1024**4)
    except NoSpace:
        assert names(root) == before
    else:
        assert (root / "b-flat.vmdk").stat().st_size == 62 * 1024**4


@pytest.mark.parametrize("kept", [0, 3, 512, 5_000, 70_000, 100_000])
def test_a_truncated_upload_leaves_nothing(
    store: DiskStore, stream: Path, root: Path, kept: int
) -> None:
    before = names(root)
    stream.write_bytes(stream.read_bytes()[: min(kept, stream.stat().st_size - 1)])
    with pytest.raises(InvalidDisk, match=r"truncated|empty"):
        store.import_file(stream, one("b.vmdk"))
    assert names(root) == before


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "empty"), (b"x" * 2000, "not a VMDK"), (b"# Disk DescriptorFile\n", "truncated")],
)
def test_what_cannot_be_imported(
    store: DiskStore, root: Path, tmp_path: Path, content: bytes, reason: str
) -> None:
    file = tmp_path / "upload"
    file.write_bytes(content)
    with pytest.raises(InvalidDisk, match=reason):
        store.import_file(file, one("b.vmdk"))
    with pytest.raises(FileMissing):
        store.import_file(tmp_path / "nothing", one("b.vmdk"))
    assert names(root) == []


def test_a_descriptor_naming_a_secret_is_not_imported(
    store: DiskStore, disk: DatastorePath, root: Path, tmp_path: Path
) -> None:
    file = tmp_path / "upload"
    text = (root / "a.vmdk").read_text().replace("a-flat.vmdk", "/etc/passwd")
    file.write_text(text + "#" * 600)
    with pytest.raises(InvalidDisk, match="not a VMDK"):
        store.import_file(file, one("b.vmdk"))
    assert names(root) == ["a-flat.vmdk", "a.vmdk"]


def test_a_failed_forced_copy_leaves_the_old_disk(
    store: DiskStore, disk: DatastorePath, root: Path
) -> None:
    store.create(one("b.vmdk"), MIB)
    write_at(root / "b-flat.vmdk", {0: b"old"})
    before = {name: (root / name).read_bytes() for name in names(root)}
    with pytest.raises(CopyCancelled):
        store.copy(disk, one("b.vmdk"), force=True, cancelled=cancel_after(2))
    assert {name: (root / name).read_bytes() for name in names(root)} == before


# --- move -------------------------------------------------------------------------------------


@pytest.fixture(params=["one", "two"])
def elsewhere(request: pytest.FixtureRequest, tmp_path: Path) -> DatastorePath:
    """A place in another folder, of the same and of another datastore."""
    target = DatastorePath(request.param, "folder/moved.vmdk")
    (tmp_path / target.datastore / "folder").mkdir()
    return target


@pytest.fixture
def file_systems_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if each folder were a file system of its own."""
    link = os.link

    def link_inside(file: Path, second_name: Path, *, follow_symlinks: bool) -> None:
        if file.parent != second_name.parent:
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        link(file, second_name, follow_symlinks=follow_symlinks)

    monkeypatch.setattr(os, "link", link_inside)


@pytest.fixture(params=["linked", "copied"])
def way_of_moving(request: pytest.FixtureRequest) -> None:
    if request.param == "copied":
        request.getfixturevalue("file_systems_apart")


@pytest.mark.usefixtures("way_of_moving")
def test_a_moved_disk_is_the_same_disk(
    store: DiskStore, disk: DatastorePath, flat_content: bytes, elsewhere: DatastorePath, root: Path
) -> None:
    old = store.inspect(disk)
    store.move(disk, elsewhere)
    new = store.inspect(elsewhere)
    assert (new.uuid, new.cid, new.adapter) == (old.uuid, old.cid, old.adapter)
    assert new.files == (elsewhere, elsewhere.sibling("moved-flat.vmdk"))
    flat = store.volumes.resolve(new.files[1])
    assert flat.read_bytes() == flat_content
    assert flat.stat().st_blocks * 512 <= 512 * 1024
    assert not [name for name in names(root) if name.startswith("a")]
    assert len(names(store.volumes.root(elsewhere.datastore) / "folder")) == 2


@pytest.mark.usefixtures("way_of_moving")
def test_a_moved_delta_still_finds_its_parent(
    store: DiskStore, disk: DatastorePath, flat_content: bytes, elsewhere: DatastorePath
) -> None:
    store.create_child(one("b.vmdk"), disk)
    store.create_child(one("c.vmdk"), one("b.vmdk"))
    store.move(one("c.vmdk"), elsewhere)
    info = store.inspect(elsewhere)
    assert info.parent == one("b.vmdk")
    assert [layer.file.name for layer in info.layers] == [
        "moved-delta.vmdk",
        "b-delta.vmdk",
        "a-flat.vmdk",
    ]
    copied = store.copy(elsewhere, one("all.vmdk"))
    assert store.volumes.resolve(copied.files[1]).read_bytes() == flat_content


def test_children_of_a_moved_disk_name_it_by_path(store: DiskStore, disk: DatastorePath) -> None:
    store.create_child(one("b.vmdk"), disk)
    store.move(disk, one("moved.vmdk"))
    with pytest.raises(FileMissing, match=re.escape("[one] a.vmdk")):
        store.inspect(one("b.vmdk"))
    store.move(one("moved.vmdk"), disk)
    assert store.inspect(one("b.vmdk")).parent == disk


def test_a_folder_moved_with_its_chain_stays_whole(
    store: DiskStore, root: Path, flat_content: bytes
) -> None:
    (root / "vm").mkdir()
    store.copy(one("a.vmdk"), one("vm/a.vmdk"))
    store.create_child(one("vm/b.vmdk"), one("vm/a.vmdk"))
    (root / "vm").rename(root / "renamed")
    assert store.inspect(one("renamed/b.vmdk")).parent == one("renamed/a.vmdk")


def test_a_sparse_disk_moves_as_its_one_file(
    store: DiskStore, stream: Path, root: Path, tmp_path: Path
) -> None:
    content = stream.read_bytes()
    (root / "x.vmdk").write_bytes(content)
    store.move(one("x.vmdk"), two("y.vmdk"))
    assert names(tmp_path / "two") == ["y.vmdk"]
    assert (tmp_path / "two" / "y.vmdk").read_bytes() == content
    assert not (root / "x.vmdk").exists()


def test_a_disk_without_its_data_is_not_moved(
    store: DiskStore, disk: DatastorePath, root: Path
) -> None:
    (root / "a-flat.vmdk").unlink()
    with pytest.raises(FileMissing, match="a-flat"):
        store.move(disk, one("b.vmdk"))
    with pytest.raises(FileMissing, match="a-flat"):
        store.copy(disk, one("b.vmdk"))
    assert names(root) == ["a.vmdk"]


def test_a_move_with_force_replaces(store: DiskStore, disk: DatastorePath, root: Path) -> None:
    uuid = store.inspect(disk).uuid
    store.create(one("b.vmdk"), MIB)
    store.move(disk, one("b.vmdk"), force=True)
    assert store.inspect(one("b.vmdk")).uuid == uuid
    assert names(root) == ["b-flat.vmdk", "b.vmdk"]
    with pytest.raises(FileExists):
        store.move(one("b.vmdk"), one("b.vmdk"), force=True)


@pytest.mark.usefixtures("file_systems_apart")
def test_a_cancelled_or_refused_move_leaves_the_disk_where_it_is(
    store: DiskStore, disk: DatastorePath, flat_content: bytes, root: Path, tmp_path: Path
) -> None:
    with pytest.raises(CopyCancelled):
        store.move(disk, two("b.vmdk"), cancelled=cancel_after(2))
    with pytest.raises(FileMissing, match="nowhere"):
        store.move(disk, two("nowhere/b.vmdk"))
    assert names(tmp_path / "two") == []
    assert names(root) == ["a-flat.vmdk", "a.vmdk"]
    assert (root / "a-flat.vmdk").read_bytes() == flat_content
