from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from tests.unit.lab.storage.conftest import MIB, held, names, one
from vmops.lab.storage.errors import (
    FileExists,
    FileInUse,
    FileMissing,
    InvalidDatastorePath,
    NoSpace,
    UnknownDatastore,
)
from vmops.lab.storage.paths import DatastorePath
from vmops.lab.storage.volumes import Volumes
from vmops.lab.whole_files import partial_beside


def upload(volumes: Volumes, path: str, chunks: Iterable[bytes], *, atomic: bool = True) -> None:
    with volumes.open_for_write(one(path), atomic=atomic) as file:
        for chunk in chunks:
            file.write(chunk)


def test_resolve_and_locate_are_inverse(volumes: Volumes, root: Path) -> None:
    for text in ("", "a", "a/b.vmdk"):
        file = volumes.resolve(one(text))
        assert file == root / text
        assert volumes.locate(file) == one(text)


def test_a_link_that_leaves_the_datastore_is_refused(volumes: Volumes, root: Path) -> None:
    (root / "out").symlink_to("/etc")
    (root / "loop").symlink_to("loop")
    (root / "inside").symlink_to("folder")
    for path in ("out", "out/passwd", "loop", "loop/x"):
        with pytest.raises(InvalidDatastorePath):
            volumes.resolve(one(path))
    assert volumes.resolve(one("inside/x")) == root / "inside/x"


def test_a_file_elsewhere_is_on_no_datastore(volumes: Volumes, root: Path) -> None:
    for file in (Path("/etc/passwd"), root / "../other", root.parent):
        with pytest.raises(InvalidDatastorePath):
            volumes.locate(file)


def test_a_datastore_that_is_not_there(volumes: Volumes) -> None:
    with pytest.raises(UnknownDatastore, match="three"):
        volumes.resolve(DatastorePath("three", "x"))
    for ask in (volumes.capacity, volumes.free, volumes.used):
        with pytest.raises(UnknownDatastore):
            ask("three")


def test_without_a_quota_the_file_system_counts(volumes: Volumes, root: Path) -> None:
    size = os.statvfs(root)
    assert volumes.capacity("one") == size.f_blocks * size.f_frsize
    assert 0 < volumes.free("one") <= volumes.capacity("one")


@pytest.fixture
def small(root: Path) -> Volumes:
    root.mkdir()
    return Volumes({"one": root}, capacity_bytes=2 * MIB)


def test_the_quota_counts_what_is_really_occupied(small: Volumes, root: Path) -> None:
    with (root / "sparse").open("wb") as file:
        file.truncate(100 * MIB)
        file.seek(50 * MIB)
        file.write(b"x" * MIB)

    assert small.capacity("one") == 2 * MIB
    assert MIB <= small.used("one") < MIB + 64 * 1024
    assert small.free("one") == 2 * MIB - small.used("one")
    small.require("one", MIB // 2)
    with pytest.raises(NoSpace) as caught:
        small.require("one", MIB + 1)
    assert caught.value.needed_bytes == MIB + 1
    assert caught.value.free_bytes is not None
    assert caught.value.free_bytes <= MIB


def test_what_was_deleted_a_moment_ago_is_free(small: Volumes, root: Path) -> None:
    (root / "file").write_bytes(b"x" * 2 * MIB)
    assert small.free("one") == 0
    (root / "file").unlink()
    small.require("one", MIB)


def test_an_upload_stops_at_the_quota_and_leaves_nothing(small: Volumes, root: Path) -> None:
    with pytest.raises(NoSpace):
        upload(small, "image", [b"x" * (100 * 1024)] * 40)
    assert names(root) == []


def test_writers_at_the_same_time_share_the_quota(small: Volumes, root: Path) -> None:
    outcomes: list[str] = []

    def try_upload(name: str) -> None:
        try:
            upload(small, name, [os.urandom(100 * 1024)] * 12)
            outcomes.append("written")
        except NoSpace:
            outcomes.append("full")

    threads = [threading.Thread(target=try_upload, args=(f"file{n}",)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    occupied = sum(file.stat().st_blocks * 512 for file in root.iterdir())
    assert "full" in outcomes
    assert occupied <= 2 * MIB
    assert len(names(root)) == outcomes.count("written")


def test_an_upload_appears_when_it_is_whole(volumes: Volumes, root: Path) -> None:
    content = b"a" * 100_000 + bytes(300_000) + b"b" * 70_000 + bytes(50_000)
    with volumes.open_for_write(one("image")) as file:
        for start in range(0, len(content), 30_011):
            file.write(memoryview(content)[start : start + 30_011])
        assert not (root / "image").exists()
    assert (root / "image").read_bytes() == content
    assert file.written_bytes == len(content)
    assert names(root) == ["image"]


def test_zeros_that_are_uploaded_occupy_nothing(volumes: Volumes, root: Path) -> None:
    with volumes.open_for_write(one("disk-flat.vmdk")) as file:
        for _ in range(32):
            file.write(bytes(MIB))
    status = (root / "disk-flat.vmdk").stat()
    assert status.st_size == 32 * MIB
    assert status.st_blocks * 512 < MIB


class Broken(Exception):
    pass


def broken() -> Iterator[bytes]:
    yield b"new"
    raise Broken


def test_a_failed_upload_leaves_what_was_there(volumes: Volumes, root: Path) -> None:
    (root / "image").write_bytes(b"old")
    with pytest.raises(Broken):
        upload(volumes, "image", broken())
    assert (root / "image").read_bytes() == b"old"
    assert names(root) == ["image"]


def test_an_upload_in_place_truncates_at_once(volumes: Volumes, root: Path) -> None:
    (root / "image").write_bytes(b"old content")
    with volumes.open_for_write(one("image"), atomic=False):
        assert (root / "image").read_bytes() == b""
    with pytest.raises(Broken):
        upload(volumes, "image", broken(), atomic=False)
    assert (root / "image").read_bytes() == b"new"


def test_an_upload_that_must_not_replace(volumes: Volumes, root: Path) -> None:
    file = volumes.open_for_write(one("x"), replace=False)
    file.write(b"late")
    (root / "x").write_bytes(b"early")
    with pytest.raises(FileExists):
        file.commit()
    assert (root / "x").read_bytes() == b"early"
    assert names(root) == ["x"]
    with pytest.raises(FileExists):
        volumes.open_for_write(one("x"), replace=False)


def test_where_an_upload_cannot_go(volumes: Volumes, root: Path) -> None:
    (root / "folder").mkdir()
    with pytest.raises(FileExists):
        volumes.open_for_write(one("folder"))
    with pytest.raises(FileMissing, match=r"\[one\] nowhere"):
        volumes.open_for_write(one("nowhere/x"))
    with pytest.raises(InvalidDatastorePath):
        volumes.open_for_write(one(""))
    with pytest.raises(UnknownDatastore):
        volumes.open_for_write(DatastorePath("three", "x"))


def test_an_upload_does_not_pull_a_file_from_under_a_guest(volumes: Volumes, root: Path) -> None:
    (root / "x").write_bytes(b"old")
    with held(root / "x", 100), pytest.raises(FileInUse):
        volumes.open_for_write(one("x"))
    file = volumes.open_for_write(one("x"))
    file.write(b"new")
    with held(root / "x", 101), pytest.raises(FileInUse):
        file.commit()
    assert (root / "x").read_bytes() == b"old"
    assert names(root) == ["x"]


def test_what_a_dead_writer_left_is_swept(volumes: Volumes, root: Path) -> None:
    (root / "folder").mkdir()
    partial_beside(root / "folder" / "x.vmdk").write_bytes(b"half")
    (root / "folder" / "kept").write_bytes(b"whole")
    assert volumes.remove_partial() == 1
    assert names(root) == ["folder", "folder/kept"]
