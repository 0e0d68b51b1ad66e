"""A lab's state folder: who uses it, and what in it outlives a restart."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shlex
import stat
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from vmops.lab.settings import LabSettings
from vmops.lab.whole_files import write_whole

LOOKED_AT_S = 0.3
"""A lock that is held for longer is held by a lab."""


class StateError(Exception):
    """The state folder cannot be used; the text is fit for a user."""


class LabRunsAlready(StateError):
    """Another process has the state folder."""

    def __init__(self, state_dir: Path, pid: int | None) -> None:
        self.pid = pid
        super().__init__(f"a lab runs already on {state_dir} (process {pid or 'unknown'})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What a client knows a lab by."""

    port: int
    esx: bool
    instance_uuid: str


class StateLock:
    """Holds a state folder for this process until it ends or lets go."""

    def __init__(self, settings: LabSettings) -> None:
        """Take the folder.

        Raises:
            LabRunsAlready: another process, or another lab of this one, has it.
        """
        descriptor = os.open(settings.pid_file, os.O_RDWR | os.O_CREAT, 0o600)
        if not _locked(descriptor):
            os.close(descriptor)
            raise LabRunsAlready(settings.state_dir, _pid(settings))
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        self._descriptor: int | None = descriptor

    def release(self) -> None:
        """Let go; the file stays, so that nobody locks one that is about to vanish."""
        if self._descriptor is not None:
            os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)
            self._descriptor = None


def running_pid(settings: LabSettings) -> int | None:
    """The process that has the folder; None if none has.

    The lock tells, not the number: a number left by a process that died may since have been
    given to another.
    """
    try:
        descriptor = os.open(settings.pid_file, os.O_RDWR)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _pid(settings)
    finally:
        os.close(descriptor)
    return None


@contextmanager
def only_starter(settings: LabSettings) -> Iterator[None]:
    """Keep others from starting a lab on the folder meanwhile; wait while they keep us."""
    descriptor = os.open(settings.state_dir / "lab.starting", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def make_folder(settings: LabSettings) -> None:
    """Make the folder, unless it is there; what only its owner is to read is so afterwards.

    Raises:
        StateError: the folder cannot be made, is a link or no folder, or others than this user
            can write in it.
    """
    folder = settings.state_dir
    try:
        folder.mkdir(mode=0o700, parents=True)
    except FileExistsError:
        pass
    except OSError as error:
        raise StateError(f"cannot make the state folder {folder}: {error.strerror}") from error
    _require_own(folder)
    for file in (
        settings.password_file,
        settings.key_file,
        settings.identity_file,
        settings.inventory_file,
        settings.pid_file,
        settings.log_file,
    ):
        _only_for_owner(file)


def _require_own(folder: Path) -> None:
    """Refuse a folder that another user could exchange, or put files in."""
    found = folder.lstat()
    if stat.S_ISLNK(found.st_mode):
        raise StateError(f"the state folder {folder} is a symbolic link; name the folder itself")
    if not stat.S_ISDIR(found.st_mode):
        raise StateError(f"{folder} is not a folder")
    if found.st_uid != os.geteuid():
        raise StateError(f"the state folder {folder} belongs to another user")
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise StateError(
            f"other users can write in the state folder {folder}; look at what is in it, then"
            f" 'chmod go-w {shlex.quote(str(folder))}', or choose another folder"
        )


def _only_for_owner(file: Path) -> None:
    """Take a file from other users' eyes; refuse one that is a link or another user's."""
    try:
        found = file.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
        raise StateError(f"{file} is not a file of this user's own; remove it")
    if stat.S_IMODE(found.st_mode) & ~0o600:
        file.chmod(0o600)


def ensure_password(settings: LabSettings) -> None:
    """Make the account's password, unless it is there; for who has the folder's lock."""
    if not settings.password_file.exists():
        write_whole(settings.password_file, secrets.token_urlsafe(24))


def load_identity(settings: LabSettings) -> Identity:
    """What the folder says the lab is; a new identity in a new folder.

    Raises:
        StateError: the folder's file is damaged, or it holds the other kind of lab.
    """
    try:
        saved = Identity(**json.loads(settings.identity_file.read_text()))
    except FileNotFoundError:
        return Identity(port=0, esx=settings.esx, instance_uuid=str(uuid.uuid4()))
    except (ValueError, TypeError) as error:
        raise StateError(f"{settings.identity_file} is damaged: {error}") from error
    if saved.esx != settings.esx:
        kind = "an ESXi host" if saved.esx else "a vCenter"
        raise StateError(f"{settings.state_dir} holds {kind}; reset it or choose another folder")
    return saved


def save_identity(settings: LabSettings, identity: Identity) -> None:
    """Keep the identity for the next start."""
    write_whole(settings.identity_file, json.dumps(asdict(identity)))


def _locked(descriptor: int) -> bool:
    """Take the lock; those who only look whether it is held hold it themselves for a moment."""
    deadline = time.monotonic() + LOOKED_AT_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.01)
        else:
            return True


def _pid(settings: LabSettings) -> int | None:
    try:
        return int(settings.pid_file.read_text())
    except (OSError, ValueError):
        return None
