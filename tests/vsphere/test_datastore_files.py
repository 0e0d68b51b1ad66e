from __future__ import annotations

import gc
import io
import os
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import vmops
from tests.vsphere.conftest import Place
from tests.vsphere.interposer import Interposer
from tests.vsphere.test_calls import end_session
from vmops.context import operation
from vmops.errors import DatastoreNotFound, FileAlreadyExists, FileNotFound, TransferFailed
from vmops.lab import Lab, LabSettings
from vmops.model.datastore_path import DatastorePath
from vmops.progress import Event, TransferProgress
from vmops.units import GIB, MIB
from vmops.vsphere.session import Session

ODD = "a b+ü#?%41&=;'\"~"


@pytest.fixture
def folder(session: Session) -> Iterator[DatastorePath]:
    path = DatastorePath(session.inventory.datastores()[0].name, f"files {ODD}")
    session.file_manager.make_directory(path)
    yield path
    session.file_manager.delete(path, missing_ok=True)


class Zeros(io.BytesIO):
    """So many zeros, of which none is kept in memory."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.left = size

    def readinto(self, block: Any, /) -> int:
        size = min(len(block), self.left)
        self.left -= size
        return size


def test_what_was_written_is_read_and_listed(session: Session, folder: DatastorePath) -> None:
    file = folder.joined(f"file {ODD}")
    data = os.urandom(2 * MIB + 17)
    events: list[Event] = []
    with operation("upload", observe=events.append):
        session.datastore_files.upload(io.BytesIO(data), len(data), file)
    assert session.datastore_files.read(file) == data
    assert session.datastore_files.size(file) == len(data)
    assert b"".join(session.datastore_files.download(file, start=5, end=15)) == data[5:15]
    assert b"".join(session.datastore_files.download(file, start=len(data))) == b""
    assert session.datastore_files.tail(file, 9) == data[-9:]
    (entry,) = session.browse(folder)
    assert (entry.name, entry.size_bytes, entry.is_folder) == (file.name, len(data), False)
    assert events[-1] == TransferProgress(
        name=file.name, done_bytes=len(data), total_bytes=len(data)
    )


def test_empty_files_are_files(session: Session, folder: DatastorePath) -> None:
    file = folder.joined("empty")
    session.datastore_files.write(file, b"")
    assert session.datastore_files.size(file) == 0
    assert session.datastore_files.read(file) == b""
    assert session.datastore_files.tail(file, 10) == b""


def test_a_file_that_is_replaced_is_replaced_whole(session: Session, folder: DatastorePath) -> None:
    file = folder.joined("file")
    session.datastore_files.write(file, b"long and old")
    session.datastore_files.write(file, b"new")
    assert session.datastore_files.read(file) == b"new"


def test_what_is_not_there_is_said(session: Session, folder: DatastorePath) -> None:
    file = folder.joined("missing")
    files = session.datastore_files
    assert not files.exists(file)
    assert files.exists(folder)
    for ask in (files.read, files.size, lambda path: files.tail(path, 1)):
        with pytest.raises(FileNotFound, match="missing"):
            ask(file)
    with pytest.raises(FileNotFound):
        session.browse(file)
    with pytest.raises(DatastoreNotFound, match=folder.datastore):
        files.read(DatastorePath("nope", "x"))


def test_deleting_by_http(lab: Place) -> None:
    with lab.connect() as session:
        file = DatastorePath(session.inventory.datastores()[0].name, "gone.txt")
        session.datastore_files.write(file, b"x")
        session.datastore_files.delete(file)
        assert not session.datastore_files.exists(file)
        session.datastore_files.delete(file, missing_ok=True)
        with pytest.raises(FileNotFound):
            session.datastore_files.delete(file)


@pytest.mark.parametrize("announced", [99, 101, 5 * MIB])
def test_a_source_of_another_size_fails_and_leaves_what_was_there(
    lab: Place, announced: int
) -> None:
    with lab.connect() as session:
        file = DatastorePath(session.inventory.datastores()[0].name, "sized.bin")
        session.datastore_files.write(file, b"before")
        with pytest.raises(TransferFailed):
            session.datastore_files.upload(io.BytesIO(b"x" * 100), announced, file)
        assert session.datastore_files.read(file) == b"before"
        session.datastore_files.delete(file)


def test_an_upload_in_a_session_that_expired_is_sent_once_more(lab: Place) -> None:
    with lab.connect() as session:
        file = DatastorePath(session.inventory.datastores()[0].name, "again.bin")
        session.inventory.wait_fresh()
        session.stream.close()  # which would renew the session first
        end_session(lab, session)
        session.datastore_files.write(file, b"second try")
        assert session.datastore_files.read(file) == b"second try"
        session.datastore_files.delete(file)


def test_a_download_in_a_session_that_expired_works(lab: Place) -> None:
    with lab.connect() as session:
        file = DatastorePath(session.inventory.datastores()[0].name, "expired.bin")
        session.datastore_files.write(file, b"here")
        session.stream.close()
        end_session(lab, session)
        assert session.datastore_files.read(file) == b"here"
        session.datastore_files.delete(file)


def test_a_refused_upload_stops_early(lab: Place) -> None:
    """The server says no at once; it must not take the whole transfer to hear it."""
    with lab.connect() as session:
        name = session.inventory.datastores()[0].name
        source = Zeros(64 * GIB)
        with pytest.raises((TransferFailed, vmops.errors.VMOpsError)):
            session.datastore_files.upload(source, 1 << 60, DatastorePath(name, "huge.bin"))
        assert source.left > 63 * GIB
        assert not session.datastore_files.exists(DatastorePath(name, "huge.bin"))
        assert session.inventory.datastores()


def test_a_refused_upload_leaves_nothing_that_runs_when_the_lab_ends(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Lab.run(LabSettings(state_dir=tmp_path / "state", hypervisor="none")) as lab:
        place = Place("lab", lab.url, lab.username, lab.password, lab.thumbprint)
        with place.connect() as session:
            name = session.inventory.datastores()[0].name
            with pytest.raises(vmops.errors.VMOpsError):
                session.datastore_files.upload(
                    Zeros(64 * GIB), 1 << 60, DatastorePath(name, "huge.bin")
                )
    gc.collect()
    assert "Task was destroyed" not in caplog.text


def test_an_upload_takes_little_memory(lab: Place) -> None:
    with lab.connect() as session:
        file = DatastorePath(session.inventory.datastores()[0].name, "big.bin")
        session.inventory.wait_fresh()
        tracemalloc.start()
        try:
            session.datastore_files.upload(Zeros(64 * MIB), 64 * MIB, file)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        session.datastore_files.delete(file)
    # The lab runs in this process, and what it holds is in the figure.
    assert peak < 24 * MIB


def test_a_lost_connection_in_the_middle_is_said(lab: Place, between: Interposer) -> None:
    with vmops.connect(between.url, lab.username, lab.password, ca_file=between.ca_file) as session:
        file = DatastorePath(session.inventory.datastores()[0].name, "cut.bin")
        between.rule("PUT", "before", "cut")
        with pytest.raises(vmops.errors.ConnectionLost):
            session.datastore_files.write(file, b"x" * MIB)
        assert not session.datastore_files.exists(file)


def test_folders_and_files_are_moved_copied_and_deleted(
    session: Session, folder: DatastorePath
) -> None:
    files, manager = session.datastore_files, session.file_manager
    inner = folder.joined("inner")
    manager.make_directory(inner.joined("deep"), parents=True)
    with pytest.raises(FileAlreadyExists):
        manager.make_directory(inner, parents=False)
    manager.make_directory(inner, exist_ok=True)
    files.write(inner.joined("a"), b"1")
    manager.copy(inner.joined("a"), inner.joined("b"))
    with pytest.raises(FileAlreadyExists):
        manager.copy(inner.joined("a"), inner.joined("b"))
    manager.move(inner, folder.joined("other"))
    assert files.read(folder.joined("other").joined("b")) == b"1"
    assert [entry.name for entry in session.browse(folder) if entry.name == "inner"] == []
    assert {e.name for e in session.browse(folder.joined("other"), "?")} == {"a", "b"}
    manager.delete(folder.joined("other"))
    assert session.browse(folder) == ()
    manager.delete(folder.joined("other"), missing_ok=True)
    with pytest.raises(FileNotFound):
        manager.delete(folder.joined("other"))


def test_disks_are_created_copied_grown_moved_and_deleted(lab: Place) -> None:
    with lab.connect() as session:
        disks = session.virtual_disk_manager
        folder = DatastorePath(session.inventory.datastores()[0].name, "disks")
        session.file_manager.make_directory(folder)
        a, b, c = (folder.joined(f"{name}.vmdk") for name in "abc")
        disks.create(a, 3 * MIB, adapter_type="paraVirtual")
        with pytest.raises(FileAlreadyExists):
            disks.create(a, MIB)
        disks.copy(a, b, disk_type="thin", adapter_type="lsiLogic")
        disks.extend(b, 5 * MIB)
        disks.move(b, c)
        sizes = {entry.name: entry.size_bytes for entry in session.browse(folder, "*-flat.vmdk")}
        assert sizes.keys() == {"a-flat.vmdk", "c-flat.vmdk"}
        assert session.datastore_files.size(c.flat) == 5 * MIB
        disks.delete(a)
        disks.delete(a, missing_ok=True)
        with pytest.raises(FileNotFound):
            disks.delete(a)
        session.file_manager.delete(folder)
