import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from vmops.lab.storage import datastore_files
from vmops.lab.storage.datastore_files import CannotDelete
from vmops.lab.storage.errors import (
    CopyCancelled,
    FileExists,
    FileInUse,
    FileMissing,
    InvalidDatastorePath,
    NoSpace,
    StorageError,
)
from vmops.lab.storage.locks import exclusive
from vmops.lab.storage.paths import DatastorePath
from vmops.lab.storage.volumes import Volumes
from vmops.lab.whole_files import partial_beside


@pytest.fixture
def roots(tmp_path: Path) -> Path:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    return tmp_path


@pytest.fixture
def volumes(roots: Path) -> Volumes:
    return Volumes({"one": roots / "one", "two": roots / "two"})


def on(text: str) -> DatastorePath:
    return DatastorePath.parse(text)


def names(folder: Path) -> list[str]:
    return sorted(str(each.relative_to(folder)) for each in folder.rglob("*"))


def test_a_folder_needs_the_one_above_unless_asked(volumes: Volumes, roots: Path) -> None:
    with pytest.raises(FileMissing):
        datastore_files.make_directory(volumes, on("[one] a/b"), parents=False)
    datastore_files.make_directory(volumes, on("[one] a/b"), parents=True)
    assert names(roots / "one") == ["a", "a/b"]
    with pytest.raises(FileExists):
        datastore_files.make_directory(volumes, on("[one] a/b"), parents=True)
    (roots / "one/file").write_text("x")
    with pytest.raises(FileMissing):
        datastore_files.make_directory(volumes, on("[one] file/b"), parents=True)


def test_deleting_a_folder_spares_what_a_link_in_it_points_to(
    volumes: Volumes, roots: Path
) -> None:
    outside = roots / "outside"
    outside.mkdir()
    (outside / "precious").write_text("x")
    (roots / "one/a").mkdir()
    (roots / "one/a/link").symlink_to(outside)
    datastore_files.delete(volumes, on("[one] a"))
    assert names(roots / "one") == []
    assert (outside / "precious").read_text() == "x"


def test_a_link_that_leads_out_is_not_followed(volumes: Volumes, roots: Path) -> None:
    (roots / "secret").write_text("x")
    (roots / "one/link").symlink_to(roots / "secret")
    for operation in (
        lambda: datastore_files.existing(volumes, on("[one] link")),
        lambda: datastore_files.delete(volumes, on("[one] link")),
        lambda: datastore_files.copy(volumes, on("[one] link"), on("[one] b"), force=False),
        lambda: datastore_files.move(volumes, on("[one] link"), on("[one] b"), force=False),
    ):
        with pytest.raises(InvalidDatastorePath):
            operation()
    assert (roots / "secret").read_text() == "x"


def test_a_datastore_itself_is_neither_deleted_nor_moved(volumes: Volumes) -> None:
    with pytest.raises(CannotDelete):
        datastore_files.delete(volumes, on("[one]"))
    with pytest.raises(StorageError):
        datastore_files.move(volumes, on("[one]"), on("[two] a"), force=True)


@pytest.mark.parametrize("operation", [datastore_files.copy, datastore_files.move])
def test_a_tree_goes_to_another_datastore_whole(
    volumes: Volumes, roots: Path, operation: Callable[..., None]
) -> None:
    (roots / "one/a/b").mkdir(parents=True)
    (roots / "one/a/b/disk-flat.vmdk").write_bytes(b"x" * 100_000)
    (roots / "one/a/empty").write_bytes(b"")
    operation(volumes, on("[one] a"), on("[two] c"), force=False)
    assert names(roots / "two") == ["c", "c/b", "c/b/disk-flat.vmdk", "c/empty"]
    assert (roots / "two/c/b/disk-flat.vmdk").read_bytes() == b"x" * 100_000
    assert (roots / "one/a").exists() == (operation is datastore_files.copy)


@pytest.mark.parametrize("operation", [datastore_files.copy, datastore_files.move])
def test_an_existing_target_is_replaced_only_by_force_and_only_if_a_file(
    volumes: Volumes, roots: Path, operation: Callable[..., None]
) -> None:
    (roots / "one/a").write_text("new")
    (roots / "one/b").write_text("old")
    (roots / "one/folder").mkdir()
    with pytest.raises(FileExists):
        operation(volumes, on("[one] a"), on("[one] b"), force=False)
    with pytest.raises(FileExists):
        operation(volumes, on("[one] a"), on("[one] folder"), force=True)
    assert (roots / "one/b").read_text() == "old"
    operation(volumes, on("[one] a"), on("[one] b"), force=True)
    assert (roots / "one/b").read_text() == "new"


@pytest.mark.parametrize("operation", [datastore_files.copy, datastore_files.move])
def test_a_folder_cannot_go_into_itself(
    volumes: Volumes, roots: Path, operation: Callable[..., None]
) -> None:
    (roots / "one/a/b").mkdir(parents=True)
    with pytest.raises(StorageError):
        operation(volumes, on("[one] a"), on("[one] a/b/c"), force=False)
    assert names(roots / "one") == ["a", "a/b"]


def test_a_missing_source_or_target_folder_is_named(volumes: Volumes, roots: Path) -> None:
    with pytest.raises(FileMissing, match=r"\[one\] a"):
        datastore_files.move(volumes, on("[one] a"), on("[one] b"), force=False)
    (roots / "one/a").write_text("x")
    with pytest.raises(FileMissing, match=r"\[two\] no"):
        datastore_files.copy(volumes, on("[one] a"), on("[two] no/b"), force=False)


def test_a_copy_keeps_holes(volumes: Volumes, roots: Path) -> None:
    with (roots / "one/a").open("wb") as file:
        file.truncate(64 * 1024**2)
        file.seek(32 * 1024**2)
        file.write(b"data")
    datastore_files.copy(volumes, on("[one] a"), on("[two] a"), force=False)
    copied = roots / "two/a"
    assert copied.stat().st_size == 64 * 1024**2
    assert copied.stat().st_blocks * 512 <= 1024**2
    assert copied.read_bytes() == (roots / "one/a").read_bytes()


def test_a_copy_that_does_not_fit_leaves_nothing(roots: Path) -> None:
    volumes = Volumes({"one": roots / "one", "two": roots / "two"}, capacity_bytes=1024**2)
    (roots / "one/a").write_bytes(b"x" * 700_000)
    (roots / "two/b").write_bytes(b"x" * 700_000)
    for operation in (datastore_files.copy, datastore_files.move):
        with pytest.raises(NoSpace):
            operation(volumes, on("[one] a"), on("[two] a"), force=False)
    assert names(roots / "two") == ["b"]
    assert names(roots / "one") == ["a"]


def test_a_cancelled_copy_leaves_nothing_and_the_old_target(volumes: Volumes, roots: Path) -> None:
    (roots / "one/a").write_bytes(b"x" * 3_000_000)
    (roots / "one/b").write_text("old")

    def stop(percent: float) -> None:
        raise CopyCancelled

    with pytest.raises(CopyCancelled):
        datastore_files.copy(volumes, on("[one] a"), on("[one] b"), force=True, progress=stop)
    assert names(roots / "one") == ["a", "b"]
    assert (roots / "one/b").read_text() == "old"


def test_files_being_written_cannot_be_named_and_go_at_the_start(
    volumes: Volumes, roots: Path
) -> None:
    (roots / "one/a").mkdir()
    file = partial_beside(roots / "one/a/disk")
    file.write_text("x")
    folder = partial_beside(roots / "one/a")
    (folder / "b").mkdir(parents=True)
    with pytest.raises(InvalidDatastorePath):
        datastore_files.existing(volumes, DatastorePath("one", f"a/{file.name}"))
    with pytest.raises(InvalidDatastorePath):
        datastore_files.existing(volumes, DatastorePath("one", f"{folder.name}/b"))
    datastore_files.remove_partial(volumes, "one")
    assert names(roots / "one") == ["a"]


def test_a_disk_that_someone_holds_is_not_touched(volumes: Volumes, roots: Path) -> None:
    (roots / "one/vm").mkdir()
    disk = roots / "one/vm/vm-flat.vmdk"
    disk.write_bytes(b"x")
    with exclusive([(disk, "it")]):
        for path in ("[one] vm/vm-flat.vmdk", "[one] vm"):
            with pytest.raises(FileInUse):
                datastore_files.delete(volumes, on(path))
            with pytest.raises(FileInUse):
                datastore_files.move(volumes, on(path), on("[two] a"), force=True)
    datastore_files.delete(volumes, on("[one] vm"))
    assert names(roots / "one") == []


def test_of_many_moves_to_one_name_one_succeeds(volumes: Volumes, roots: Path) -> None:
    for number in range(20):
        (roots / f"one/{number}").mkdir()
    outcomes = []

    def move(number: int) -> None:
        try:
            datastore_files.move(volumes, on(f"[one] {number}"), on("[one] cache"), force=False)
            outcomes.append("moved")
        except FileExists:
            outcomes.append("exists")

    threads = [threading.Thread(target=move, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["exists"] * 19 + ["moved"]
    assert len(list((roots / "one").iterdir())) == 20
