"""Disks that a running guest holds: by our own locks, and by those of a real QEMU."""

from __future__ import annotations

import fcntl
import os
import struct
import subprocess
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.unit.lab.storage.conftest import MIB, held, names, one, tool
from vmops.lab.storage.disks import DiskStore
from vmops.lab.storage.errors import FileInUse
from vmops.lab.storage.layers import DiskFile
from vmops.lab.storage.locks import exclusive, is_in_use
from vmops.lab.storage.paths import DatastorePath

Hold = Callable[..., AbstractContextManager[None]]


@pytest.fixture
def disk(store: DiskStore) -> DatastorePath:
    store.create(one("a.vmdk"), MIB)
    return one("a.vmdk")


def attempts(store: DiskStore, path: DatastorePath) -> dict[str, Callable[[], object]]:
    """What needs the disk to itself."""
    return {
        "delete": lambda: store.delete(path),
        "move": lambda: store.move(path, one("moved.vmdk")),
        "extend": lambda: store.extend(path, 2 * MIB),
        "replace by create": lambda: store.create(path, MIB, force=True),
        "replace by copy": lambda: store.copy(one("other.vmdk"), path, force=True),
        "upload": lambda: store.volumes.open_for_write(path.sibling("a-flat.vmdk")),
    }


def readings(store: DiskStore, path: DatastorePath) -> dict[str, Callable[[], object]]:
    """What needs the content to stand still."""
    return {
        "copy": lambda: store.copy(path, one("copy.vmdk")),
        "export": lambda: store.export_stream(path, lambda _: None),
    }


def test_a_disk_that_a_guest_runs_on_is_left_alone(
    store: DiskStore, disk: DatastorePath, root: Path, held_by_qemu: Hold
) -> None:
    store.create(one("other.vmdk"), MIB)
    before = names(root)
    with held_by_qemu(root / "a-flat.vmdk"):
        assert is_in_use(root / "a-flat.vmdk")
        for attempt in (attempts(store, disk) | readings(store, disk)).values():
            with pytest.raises(FileInUse, match="a-flat"):
                attempt()
        assert store.inspect(disk).capacity_bytes == MIB
        store.delete(store.create_child(one("child.vmdk"), disk).path)
    assert names(root) == before
    assert not is_in_use(root / "a-flat.vmdk")
    store.delete(disk)


def test_a_parent_that_guests_only_read_can_be_copied_but_not_removed(
    store: DiskStore, disk: DatastorePath, root: Path, held_by_qemu: Hold
) -> None:
    store.create(one("other.vmdk"), MIB)
    with held_by_qemu(root / "a-flat.vmdk", read_only=True):
        for attempt in attempts(store, disk).values():
            with pytest.raises(FileInUse, match="a-flat"):
                attempt()
        for attempt in readings(store, disk).values():
            attempt()
    assert store.inspect(one("copy.vmdk")).capacity_bytes == MIB


def test_a_delta_that_a_guest_runs_on(
    store: DiskStore, disk: DatastorePath, root: Path, held_by_qemu: Hold
) -> None:
    store.create_child(one("b.vmdk"), disk)
    with held_by_qemu(root / "b-delta.vmdk", "qcow2"):
        for attempt in (
            lambda: store.delete(one("b.vmdk")),
            lambda: store.move(one("b.vmdk"), one("c.vmdk")),
            lambda: store.copy(one("b.vmdk"), one("c.vmdk")),
        ):
            with pytest.raises(FileInUse, match="b-delta"):
                attempt()
        assert len(store.inspect(one("b.vmdk")).layers) == 2
        store.copy(disk, one("copy.vmdk"))  # nobody writes to the parent
    store.delete(one("b.vmdk"))


@pytest.mark.parametrize(
    ("byte", "may_read"),
    [(100, True), (101, False), (103, False), (200, False), (201, True), (203, True)],
)
def test_what_each_of_qemus_locks_stands_for(
    store: DiskStore, disk: DatastorePath, root: Path, byte: int, may_read: bool
) -> None:
    """100 and up: reads, writes, -, resizes; 200 and up: lets nobody else do so."""
    store.create(one("other.vmdk"), MIB)
    with held(root / "a-flat.vmdk", byte):
        for attempt in attempts(store, disk).values():
            with pytest.raises(FileInUse, match="a-flat"):
                attempt()
        for attempt in readings(store, disk).values():
            if may_read:
                attempt()
            else:
                with pytest.raises(FileInUse, match="a-flat"):
                    attempt()


def test_no_guest_starts_on_a_disk_that_is_being_read(disk: DatastorePath, root: Path) -> None:
    qemu_io = tool("qemu-io")
    reading = DiskFile(root / "a-flat.vmdk", "a")
    try:
        qemu_io("-r", "-f", "raw", "-c", "length", root / "a-flat.vmdk")
        command = ["qemu-io", "-f", "raw", "-c", "length", str(root / "a-flat.vmdk")]
        refused = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert "lock" in refused.stderr
    finally:
        reading.close()
    qemu_io("-f", "raw", "-c", "length", root / "a-flat.vmdk")


@pytest.mark.parametrize(
    ("byte", "is_free"), [(100, False), (101, True), (201, False), (203, False)]
)
def test_a_reader_says_so_in_qemus_terms(
    disk: DatastorePath, root: Path, byte: int, is_free: bool
) -> None:
    """It reads, and lets nobody write or resize."""
    reading = DiskFile(root / disk.sibling("a-flat.vmdk").name, "a")
    other = os.open(root / "a-flat.vmdk", os.O_RDWR)
    try:
        lock = struct.pack("hhqqi0q", fcntl.F_WRLCK, os.SEEK_SET, byte, 1, 0)
        answer = fcntl.fcntl(other, fcntl.F_OFD_GETLK, lock)
        assert (struct.unpack("hhqqi0q", answer)[0] == fcntl.F_UNLCK) == is_free
    finally:
        os.close(other)
        reading.close()


def test_a_disk_in_use_is_refused_before_any_work(
    store: DiskStore, disk: DatastorePath, root: Path
) -> None:
    store.create(one("other.vmdk"), MIB)
    told: list[int] = []
    with held(root / "a-flat.vmdk", 100), pytest.raises(FileInUse):
        store.copy(one("other.vmdk"), disk, force=True, progress=told.append)
    assert told == []


def test_two_copies_of_a_disk_go_at_once_but_no_deletion_between(
    store: DiskStore, disk: DatastorePath, root: Path
) -> None:
    first = DiskFile(root / "a-flat.vmdk", "a")
    second = DiskFile(root / "a-flat.vmdk", "a")
    try:
        with pytest.raises(FileInUse):
            store.delete(disk)
    finally:
        first.close()
        second.close()
    with exclusive([(root / "a-flat.vmdk", "a")]), pytest.raises(FileInUse):
        store.copy(disk, one("b.vmdk"))
    store.delete(disk)
