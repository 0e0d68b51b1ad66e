"""Files of a store that are being written: a living writer's stay, a dead one's go, at once."""

from __future__ import annotations

import errno
import fcntl
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest

from tests.marks import ELSEWHERE
from vmops import DirectoryImageStore, in_flight
from vmops.errors import LeaseLost
from vmops.images import temporary_files
from vmops.images.temporary_files import temporary_file, unfinished
from vmops.in_flight import Verdict
from vmops.model.image import DiskType

PROJECT = Path(__file__).parents[3]
_PROGRAM = """
import sys, pathlib
from vmops.images.temporary_files import temporary_file
with temporary_file(pathlib.Path(sys.argv[1])) as file:
    file.write_bytes(b"half of an image")
    print(file, flush=True)
    sys.stdin.readline()
"""
NAMESPACES = {"the same place": (), "another PID namespace": ("-p", "-f", "--mount-proc")}


@contextmanager
def writing(directory: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """A process that is in the middle of a file; in namespaces of its own, with options."""
    command = [sys.executable, "-c", _PROGRAM, str(directory)]
    if options:
        if shutil.which("unshare") is None:
            pytest.skip("there is no unshare here")
        command = ["unshare", "--kill-child", *options, *command]
    with subprocess.Popen(
        command, cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        if not (line := process.stdout.readline().strip()):
            pytest.skip("namespaces are not permitted here")
        try:
            yield process, Path(line)
        finally:
            process.kill()


def add(directory: Path, name: str) -> None:
    source = directory.with_name("source.img")
    source.write_bytes(bytes(1024))
    DirectoryImageStore(directory).add(source, name, disk_type=DiskType.PREALLOCATED)


def verdicts(directory: Path) -> list[Verdict]:
    return [judgment.verdict for _, judgment in unfinished(directory)]


@pytest.mark.parametrize("options", NAMESPACES.values(), ids=NAMESPACES)
def test_one_that_is_being_written_stays_and_a_dead_ones_goes(
    tmp_path: Path, options: tuple[str, ...]
) -> None:
    directory = tmp_path / "images"
    with writing(directory, *options) as (process, file):
        assert verdicts(directory) == [Verdict.ALIVE]
        add(directory, "first")
        assert file.read_bytes() == b"half of an image"
        process.kill()
        process.wait()
        end = time.monotonic() + 10.0
        while verdicts(directory) != [Verdict.DEAD]:  # the process behind unshare follows
            assert time.monotonic() < end
            time.sleep(0.05)
    add(directory, "second")
    assert sorted(each.name for each in directory.iterdir()) == [
        *("first.img", "first.yaml", "second.img", "second.yaml")
    ]


def test_one_that_ends_leaves_nothing(tmp_path: Path) -> None:
    with writing(tmp_path) as (process, _):
        process.communicate("go on\n", timeout=30)
        assert process.returncode == 0
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_a_dead_process_gave_its_file_goes_with_it(tmp_path: Path) -> None:
    """It is an image's only once there is a manifest."""
    with writing(tmp_path) as (process, file):
        (tmp_path / "half.img").hardlink_to(file)
        (tmp_path / "other.img").write_bytes(b"half of an image")
        process.kill()
        process.wait()
    add(tmp_path, "made")
    assert sorted(each.name for each in tmp_path.iterdir()) == [
        *("made.img", "made.yaml", "other.img")
    ]


@pytest.fixture
def no_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(_descriptor: int, _operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)


@pytest.mark.usefixtures("no_locks")
def test_without_locks_a_file_is_watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_flight.TIMING, "lease_s", 0.8)
    lock = tmp_path / f".image-{ELSEWHERE}-1.part"
    data = lock.with_name(f"{lock.name}.data")
    data.write_bytes(b"half of an image")
    for number in range(4):
        lock.write_text(f"0123456789ab image add {ELSEWHERE} {number}\n")
        assert verdicts(tmp_path) == [Verdict.UNKNOWN]
        time.sleep(0.4)
    add(tmp_path, "first")
    assert data.exists()
    time.sleep(0.5)
    add(tmp_path, "second")
    assert not data.exists()
    assert not lock.exists()


@pytest.mark.usefixtures("no_locks")
def test_a_file_that_was_taken_is_lost_to_its_writer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is renewed while it is held, and the loss is known before it becomes an image."""
    monkeypatch.setattr(in_flight.TIMING, "lease_s", 0.6)
    monkeypatch.setattr(in_flight.TIMING, "renew_s", 0.1)
    with temporary_file(tmp_path) as file:
        (lock,) = tmp_path.glob("*.part")
        end = time.monotonic() + 5.0
        while in_flight.owner() not in lock.read_text():
            assert time.monotonic() < end
            time.sleep(0.02)
        lock.unlink()
        file.unlink(missing_ok=True)
        time.sleep(0.5)
        with pytest.raises(LeaseLost):
            in_flight.check()
    assert list(tmp_path.iterdir()) == []


def test_who_finds_its_lock_taken_makes_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody looks for dead ones between the making and the locking of the file."""
    own, taken = temporary_files._try_lock, list[IO[str]]()

    def try_lock(descriptor: int) -> bool | None:
        if not taken:
            (file,) = tmp_path.glob("*.part")
            taken.append(file.open("r+"))
            assert own(taken[0].fileno())
        return own(descriptor)

    monkeypatch.setattr(temporary_files, "_try_lock", try_lock)
    with temporary_file(tmp_path) as file:
        assert verdicts(tmp_path) == [Verdict.ALIVE]
        assert not file.exists()
    taken[0].close()
    assert list(tmp_path.iterdir()) == []
