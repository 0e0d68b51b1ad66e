"""Looking at folders, and deleting them, while others make and delete there."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from vmops.lab import listing
from vmops.lab.storage import datastore_files
from vmops.lab.storage.consolidating import children
from vmops.lab.storage.disks import DiskStore
from vmops.lab.storage.errors import StorageError
from vmops.lab.storage.paths import DatastorePath
from vmops.lab.storage.volumes import Volumes

SECONDS = 1.0


def one(path: str) -> DatastorePath:
    return DatastorePath("one", path)


@pytest.fixture
def volumes(tmp_path: Path) -> Volumes:
    return Volumes({"one": tmp_path}, capacity_bytes=1 << 30)


@contextmanager
def somebody(work: Callable[[], None], count: int = 2) -> Iterator[None]:
    """Threads that do this over and over while the block lasts; none may fail."""
    over = threading.Event()

    def run() -> None:
        while not over.is_set():
            work()

    with ThreadPoolExecutor(count) as threads:
        running = [threads.submit(run) for _ in range(count)]
        try:
            yield
        finally:
            over.set()
        for each in running:
            each.result()


def come_and_go(root: Path) -> None:
    """Make folders of some depth with disks in them, and delete them."""
    top = root / f"machine-{threading.get_ident()}"
    for name in ("a", "b/c", "b/d/e"):
        with suppress(FileNotFoundError):
            (top / name).mkdir(parents=True, exist_ok=True)
            (top / name / "disk.vmdk").write_text("no disk")
    shutil.rmtree(top, ignore_errors=True)


def again_and_again(work: Callable[[], object]) -> int:
    end = time.monotonic() + SECONDS
    rounds = 0
    while time.monotonic() < end:
        work()
        rounds += 1
    return rounds


def test_who_stands_on_a_disk_is_found_while_folders_go(volumes: Volumes, tmp_path: Path) -> None:
    (tmp_path / "zz").mkdir()
    store = DiskStore(volumes)
    base, child = one("zz/base.vmdk"), one("zz/child.vmdk")
    store.create(base, 4096)
    store.create_child(child, base)
    found: list[tuple[DatastorePath, ...]] = []
    with somebody(lambda: come_and_go(tmp_path)):
        assert again_and_again(lambda: found.append(children(volumes, base))) > 10
    assert set(found) == {(child,)}


def test_a_datastore_is_listed_counted_and_copied_while_folders_go(
    volumes: Volumes, tmp_path: Path
) -> None:
    (tmp_path / "kept").mkdir()
    kept = tmp_path / "kept" / "disk.vmdk"
    kept.write_bytes(b"x" * 8192)
    copied = tmp_path / "copied"

    def look() -> None:
        assert "kept" in {entry.name for entry in listing.entries(tmp_path)}
        assert kept in set(listing.below(tmp_path, ".vmdk"))
        assert datastore_files.allocated_bytes(tmp_path / "kept") >= 8192
        shutil.rmtree(copied, ignore_errors=True)
        datastore_files.copy(volumes, one("kept"), one("copied"), force=False)

    with somebody(lambda: come_and_go(tmp_path / "kept")):
        assert again_and_again(look) > 5
    assert (copied / "disk.vmdk").read_bytes() == b"x" * 8192


def test_a_folder_is_deleted_by_several_at_once(volumes: Volumes, tmp_path: Path) -> None:
    outcomes: list[str] = []

    def delete() -> None:
        try:
            datastore_files.delete(volumes, one("folder"))
            outcomes.append("deleted")
        except StorageError as error:
            outcomes.append(type(error).__name__)

    for _ in range(100):
        for number in range(5):
            (tmp_path / "folder" / str(number)).mkdir(parents=True)
            (tmp_path / "folder" / str(number) / "x.vmdk").write_text("no disk")
        threads = [threading.Thread(target=delete) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not (tmp_path / "folder").exists()
    assert set(outcomes) <= {"deleted", "FileMissing"}
    assert len(outcomes) == 300


def test_what_is_gone_is_nothing(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    assert listing.entries(gone) == []
    assert listing.files(gone, ".vmdk") == []
    assert list(listing.tree(gone)) == []
    assert list(listing.below(gone, ".vmdk")) == []
    assert listing.status(gone) is None
    listing.remove_tree(gone)


def test_links_are_deleted_and_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file.vmdk").write_text("kept")
    top = tmp_path / "top"
    (top / "below").mkdir(parents=True)
    (top / "link").symlink_to(outside)
    (top / "below" / "link.vmdk").symlink_to(outside / "file.vmdk")
    assert list(listing.below(top, ".vmdk")) == []
    listing.remove_tree(top)
    assert not top.exists()
    assert (outside / "file.vmdk").read_text() == "kept"
