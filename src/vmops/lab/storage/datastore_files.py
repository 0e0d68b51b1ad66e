"""Files and folders of the datastores: make, delete, move and copy.

All functions block and are meant for a thread. A copy is made under a temporary name that no
client can see or say, and renamed when it is whole; so a target is either the old file or the
complete new one.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from vmops.lab import listing
from vmops.lab.storage.errors import (
    FileExists,
    FileMissing,
    InvalidDatastorePath,
    StorageError,
    host_errors,
)
from vmops.lab.storage.locks import refuse_if_in_use
from vmops.lab.storage.paths import DatastorePath
from vmops.lab.storage.volumes import Volumes
from vmops.lab.storage.writing import write_sparsely
from vmops.lab.whole_files import is_partial, partial_beside

_COPY_BLOCK = 1024 * 1024
_STAT_BLOCK = 512  # bytes that st_blocks counts in, whatever the file system's block is

# "Is the name free? Then rename" must not be interrupted by another thread that does the same.
_namespace = threading.Lock()


class CannotDelete(StorageError):
    """What is asked to be deleted is not a file or folder of its own."""


def find(volumes: Volumes, path: DatastorePath) -> Path:
    """Return where a path is on this machine; it need not exist.

    Raises:
        UnknownDatastore: no datastore has this name.
        InvalidDatastorePath: the path leads out of the datastore, or to a file being written.
    """
    if any(is_partial(name) for name in path.segments):
        raise InvalidDatastorePath(path, "the name is reserved")
    return volumes.resolve(path)


def existing(volumes: Volumes, path: DatastorePath) -> Path:
    """Return where an existing file or folder is; raises FileMissing if it is not there."""
    file = find(volumes, path)
    if not file.exists():
        raise FileMissing(path)
    return file


def allocated_bytes(file: Path) -> int:
    """Count the bytes a file, or all files below a folder, take on the disk."""
    if not file.is_dir():
        return file.stat().st_blocks * _STAT_BLOCK
    blocks = 0
    for folder, _, names in listing.tree(file):
        for name in names:
            seen = listing.status(folder / name)
            blocks += 0 if seen is None else seen.st_blocks
    return blocks * _STAT_BLOCK


def make_directory(volumes: Volumes, path: DatastorePath, *, parents: bool) -> None:
    """Create a folder.

    Raises:
        FileExists: there is a file or folder of this name already.
        FileMissing: the folder above is missing and ``parents`` is false.
    """
    folder = find(volumes, path)
    try:
        folder.mkdir(parents=parents)
    except FileExistsError as error:
        raise FileExists(path) from error
    except (FileNotFoundError, NotADirectoryError) as error:
        raise FileMissing(path.parent) from error


def delete(volumes: Volumes, path: DatastorePath) -> None:
    """Delete a file, or a folder with all that is in it; symbolic links are not followed.

    Raises:
        FileMissing: there is nothing of this name.
        FileInUse: a guest or a disk operation holds it, or a disk in it.
        CannotDelete: the path is the datastore itself.
    """
    if not path.path:
        raise CannotDelete(f"{path} is the datastore itself")
    file = existing(volumes, path)
    _refuse_if_held(file, path)
    with host_errors(path, path.datastore):
        if file.is_dir() and not file.is_symlink():
            # At one moment for all who look; and what a lab that dies leaves, the next one sweeps.
            aside = partial_beside(file)
            file.rename(aside)
            listing.remove_tree(aside)
        else:
            file.unlink()


def move(volumes: Volumes, source: DatastorePath, target: DatastorePath, *, force: bool) -> None:
    """Rename a file or folder, also to another datastore.

    Args:
        volumes: the datastores.
        source: what is moved.
        target: its new full name, not the folder it goes into.
        force: replace an existing file; an existing folder is never replaced.

    Raises:
        FileMissing: the source, or the target's folder, is missing.
        FileExists: the target is there.
        FileInUse: a guest or a disk operation holds one of them.
        NoSpace: it does not fit on the other datastore.
        StorageError: the source is a datastore itself, or a folder that the target lies in.
    """
    before = existing(volumes, source)
    after = find(volumes, target)
    if before == after:
        return
    if not source.path or after.is_relative_to(before):
        raise StorageError(f"{source} cannot be moved into itself")
    _check_target(before, after, target, force=force)
    _refuse_if_held(before, source)
    if source.datastore != target.datastore:
        volumes.require(target.datastore, allocated_bytes(before))
    try:
        _put_in_place(before, after, target, force=force)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        copy(volumes, source, target, force=force)
        delete(volumes, source)


def copy(
    volumes: Volumes,
    source: DatastorePath,
    target: DatastorePath,
    *,
    force: bool,
    progress: Callable[[float], None] | None = None,
) -> None:
    """Copy a file, or a folder with all that is in it; holes stay holes.

    Args:
        volumes: the datastores.
        source: what is copied; symbolic links in it are left out.
        target: the copy's full name, not the folder it goes into.
        force: replace an existing file; an existing folder is never replaced.
        progress: called with the percentage done; may raise to give up.

    Raises:
        As `move`.
    """
    before = existing(volumes, source)
    after = find(volumes, target)
    if before == after:
        return
    if not source.path or after.is_relative_to(before):
        raise StorageError(f"{source} cannot be copied into itself")
    _check_target(before, after, target, force=force)
    total = allocated_bytes(before)
    volumes.require(target.datastore, total)
    done = 0

    def spend(count: int) -> None:
        nonlocal done
        volumes.spend(target.datastore, count)
        done += count
        if progress is not None:
            progress(min(99, done * 100 / max(total, 1)))

    temporary = partial_beside(after)
    try:
        with host_errors(target, target.datastore):
            if before.is_dir():
                _copy_tree(before, temporary, spend)
            else:
                _copy_file(before, temporary, spend)
        _put_in_place(temporary, after, target, force=force)
    finally:
        _discard(temporary)


def remove_partial(volumes: Volumes, datastore: str) -> None:
    """Remove what was being written or copied when the lab ended in the middle of it."""
    for folder, folders, names in listing.tree(volumes.root(datastore)):
        for name in filter(is_partial, names):
            (folder / name).unlink(missing_ok=True)
        for name in list(filter(is_partial, folders)):
            shutil.rmtree(folder / name, ignore_errors=True)
            folders.remove(name)


def _check_target(before: Path, after: Path, target: DatastorePath, *, force: bool) -> None:
    if not after.parent.is_dir():
        raise FileMissing(target.parent)
    _check_free(before, after, target, force=force)
    if after.exists():
        _refuse_if_held(after, target)


def _check_free(before: Path, after: Path, target: DatastorePath, *, force: bool) -> None:
    if after.exists() and (not force or after.is_dir() or before.is_dir()):
        raise FileExists(target)


def _put_in_place(before: Path, after: Path, target: DatastorePath, *, force: bool) -> None:
    with _namespace:
        _check_free(before, after, target, force=force)
        before.rename(after)


def _refuse_if_held(file: Path, path: DatastorePath) -> None:
    if not file.is_dir():
        refuse_if_in_use(file, path)
        return
    for disk in listing.below(file, ".vmdk"):
        if disk.is_file():
            refuse_if_in_use(disk, f"{path}/{disk.relative_to(file)}")


def _discard(temporary: Path) -> None:
    if temporary.is_dir():
        shutil.rmtree(temporary, ignore_errors=True)
    else:
        temporary.unlink(missing_ok=True)


def _copy_tree(source: Path, target: Path, spend: Callable[[int], None]) -> None:
    target.mkdir()
    for folder, folders, names in listing.tree(source):
        place = target / folder.relative_to(source)
        for name in folders:
            if not (folder / name).is_symlink() and not is_partial(name):
                (place / name).mkdir()
        folders[:] = [name for name in folders if not is_partial(name)]
        for name in names:
            seen = listing.status(folder / name)
            if seen is not None and stat.S_ISREG(seen.st_mode) and not is_partial(name):
                with suppress(FileNotFoundError):  # deleted while we copy the others
                    _copy_file(folder / name, place / name, spend)


def _copy_file(source: Path, target: Path, spend: Callable[[int], None]) -> None:
    with source.open("rb") as reader, target.open("xb") as writer:
        size = os.fstat(reader.fileno()).st_size
        offset = 0
        while offset < size:
            try:
                offset = os.lseek(reader.fileno(), offset, os.SEEK_DATA)
            except OSError as error:
                if error.errno == errno.ENXIO:
                    break  # only a hole is left
                raise
            end = os.lseek(reader.fileno(), offset, os.SEEK_HOLE)
            while offset < end:
                block = os.pread(reader.fileno(), min(_COPY_BLOCK, end - offset), offset)
                if not block:
                    break
                write_sparsely(writer.fileno(), offset, block, spend)
                offset += len(block)
        os.ftruncate(writer.fileno(), size)
