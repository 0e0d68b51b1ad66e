"""Files of an image store that are being written, and those whose writer died.

Beside each is a small file that its writer has locked and renews now and then (`vmops.in_flight`).
A lock is the system's and goes with the process, whatever PID namespace that is in: a file of this
boot whose lock can be had is a dead one's. Of another boot, or where the file system has no locks,
the small file is watched instead.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path

from vmops import in_flight
from vmops.errors import FileNotFound
from vmops.in_flight import Judgment, Verdict

_PREFIX = ".image"
_SUFFIX = ".part"
_DATA = ".data"
_OPERATION = "image add"


@contextlib.contextmanager
def temporary_file(directory: Path) -> Iterator[Path]:
    """The name of a new file in the directory, which is not there afterwards.

    Raises:
        LeaseLost: another one has taken it.
        OSError: the directory cannot be written to.
    """
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock, descriptor = _new_lock(directory)
    data = _data_of(lock)

    def renew(_: str, new: str) -> None:
        if not _is_at(lock, descriptor):
            raise FileNotFound(str(lock))
        os.pwrite(descriptor, f"{in_flight.boot()} {new}\n".encode(), 0)

    try:
        with in_flight.holding(in_flight.Lease(str(data), _OPERATION, renew, group=renew)):
            yield data
    finally:
        data.unlink(missing_ok=True)
        if _is_at(lock, descriptor):
            lock.unlink(missing_ok=True)
        os.close(descriptor)


def _new_lock(directory: Path) -> tuple[Path, int]:
    """A new locked file, and its descriptor: the lock lasts as long as that."""
    while True:
        lock = directory / f"{in_flight.unique_name(_PREFIX)}{_SUFFIX}"
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        os.pwrite(descriptor, f"{in_flight.boot()}\n".encode(), 0)
        held = _try_lock(descriptor)
        if held is not False and _is_at(lock, descriptor):
            return lock, descriptor
        # Somebody who looks for dead ones was faster with the lock.
        lock.unlink(missing_ok=True)
        os.close(descriptor)


def _try_lock(descriptor: int) -> bool | None:
    """Lock it; False if another has done so, None if the file system has no locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _is_at(file: Path, descriptor: int) -> bool:
    with contextlib.suppress(OSError):
        return os.path.samestat(file.stat(), os.fstat(descriptor))
    return False


def _data_of(lock: Path) -> Path:
    return lock.with_name(lock.name + _DATA)


def unfinished(directory: Path) -> Iterator[tuple[Path, Judgment]]:
    """Each file that is being written, or was when its process died, and what is known of that."""
    for file in sorted(directory.glob(f"{_PREFIX}-*{_SUFFIX}")):
        with _locked(file) as (is_free, content):
            judgment = _judge(file, is_free=is_free, content=content)
        if judgment is not None:
            yield file, judgment


def remove_unfinished(file: Path, judgment: Judgment, spare: Collection[str] = ()) -> None:
    """Remove what a dead process left; one that is locked after all, or was renewed, stays.

    Other names of the same file go with it, but for those in ``spare``.
    """
    with _locked(file) as (is_free, content):
        now = _judge(file, is_free=is_free, content=content)
        if now is not None and now.may_be_taken and now.mark == judgment.mark:
            for each in (_data_of(file), file):
                _remove(each, spare)


def _remove(file: Path, spare: Collection[str]) -> None:
    with contextlib.suppress(FileNotFoundError):
        there = file.stat()
        for each in file.parent.iterdir():
            is_other = each != file and each.name not in spare
            if is_other and os.path.samestat(each.lstat(), there):
                each.unlink(missing_ok=True)
        file.unlink(missing_ok=True)


def _judge(file: Path, *, is_free: bool | None, content: str) -> Judgment | None:
    mark = in_flight.named_mark(file.name, _OPERATION, sign=content)
    if mark is None:
        return None
    judgment = in_flight.judge(mark)
    if is_free is False:
        return replace(judgment, verdict=Verdict.ALIVE)
    boot = content.partition(" ")[0]
    is_certain = is_free and bool(boot) and boot == in_flight.boot()
    return replace(judgment, verdict=Verdict.DEAD) if is_certain else judgment


@contextlib.contextmanager
def _locked(file: Path) -> Iterator[tuple[bool | None, str]]:
    """Have the lock inside if it can be had: see `_try_lock`; and what is written in the file."""
    try:
        descriptor = os.open(file, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        yield False, ""
        return
    try:
        yield _try_lock(descriptor), _content(descriptor)
    finally:
        os.close(descriptor)


def _content(descriptor: int) -> str:
    return os.pread(descriptor, 400, 0).decode("utf-8", "replace").strip()
