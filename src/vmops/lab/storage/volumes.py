"""The datastores' root directories: where a datastore path lies, and how much room there is.

The quota of a datastore counts what its files occupy on this machine (allocated blocks), so thin
disks cost what is written to them. The count is a walk over the folder, kept for a moment; what is
written through `Volumes.spend` in between is added to it, so writers cannot run past the quota.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from vmops.lab import listing
from vmops.lab.storage.errors import InvalidDatastorePath, NoSpace, UnknownDatastore, host_errors
from vmops.lab.storage.paths import DatastorePath
from vmops.lab.storage.writing import FileWriter
from vmops.lab.whole_files import is_partial

_USAGE_KEPT_S = 2.0
_BLOCK = 512  # the unit of st_blocks, whatever the file system's own


@dataclass(slots=True)
class _Usage:
    """What a datastore occupies, as last counted, plus what was written since."""

    counted_bytes: int = 0
    since_bytes: int = 0
    counted_at: float = float("-inf")
    lock: threading.Lock = field(default_factory=threading.Lock)


class Volumes:
    """Maps datastore names to directories. Safe to use from several threads."""

    def __init__(self, roots: Mapping[str, Path], capacity_bytes: int | None = None) -> None:
        self._roots = {name: Path(root) for name, root in roots.items()}
        self._quota = capacity_bytes
        self._usage = {name: _Usage() for name in self._roots}

    @property
    def names(self) -> tuple[str, ...]:
        """All datastores, in the order they were given."""
        return tuple(self._roots)

    def add(self, datastore: str, root: Path) -> None:
        """Make ``root``, an existing directory, known as a datastore."""
        self._usage[datastore] = _Usage()
        self._roots[datastore] = Path(root)

    def root(self, datastore: str) -> Path:
        """The directory of a datastore.

        Raises:
            UnknownDatastore: there is none of that name.
        """
        try:
            return self._roots[datastore]
        except KeyError:
            raise UnknownDatastore(datastore) from None

    def resolve(self, path: DatastorePath) -> Path:
        """The host's path of a datastore path, whether or not anything is there.

        Raises:
            UnknownDatastore: there is no such datastore.
            InvalidDatastorePath: a symbolic link leads out of the datastore.
        """
        root = self.root(path.datastore)
        file = root.joinpath(*path.segments)
        try:
            inside = file.resolve().is_relative_to(root.resolve())
        except (OSError, RuntimeError) as error:  # RuntimeError: a loop of symbolic links
            raise InvalidDatastorePath(path, "it cannot be followed") from error
        if not inside:
            raise InvalidDatastorePath(path, "it leaves the datastore")
        return file

    def locate(self, file: Path) -> DatastorePath:
        """The datastore path of a host file: the inverse of `resolve`.

        Raises:
            InvalidDatastorePath: the file is on no datastore.
        """
        for name, root in self._roots.items():
            for candidate, base in ((file, root), (file.resolve(), root.resolve())):
                if candidate.is_relative_to(base) and ".." not in candidate.parts:
                    relative = candidate.relative_to(base).as_posix()
                    return DatastorePath(name, "" if relative == "." else relative)
        raise InvalidDatastorePath(file.name, "it is on no datastore")

    def capacity(self, datastore: str) -> int:
        """Bytes the datastore has in all: its quota, or the size of the file system.

        Raises:
            UnknownDatastore: there is no such datastore.
        """
        root = self.root(datastore)
        if self._quota is not None:
            return self._quota
        size = os.statvfs(root)
        return size.f_blocks * size.f_frsize

    def free(self, datastore: str) -> int:
        """Bytes that can still be written, never below zero.

        Raises:
            UnknownDatastore: there is no such datastore.
        """
        size = os.statvfs(self.root(datastore))
        on_disk = size.f_bavail * size.f_frsize
        if self._quota is None:
            return on_disk
        usage = self._usage[datastore]
        with usage.lock:
            return max(0, min(on_disk, self._quota - self._used(datastore, usage)))

    def used(self, datastore: str) -> int:
        """Bytes the datastore's files occupy, up to two seconds old.

        Raises:
            UnknownDatastore: there is no such datastore.
        """
        self.root(datastore)
        usage = self._usage[datastore]
        with usage.lock:
            return self._used(datastore, usage)

    def require(self, datastore: str, needed_bytes: int) -> None:
        """Check, before a long operation, that there is room.

        Raises:
            NoSpace: there is not.
            UnknownDatastore: there is no such datastore.
        """
        free = self.free(datastore)
        if needed_bytes > free:
            self._forget_usage(datastore)  # something may have been deleted just now
            free = self.free(datastore)
        if needed_bytes > free:
            raise NoSpace(datastore, needed_bytes, free)

    def spend(self, datastore: str, count: int) -> None:
        """Account for ``count`` bytes about to be written.

        Raises:
            NoSpace: the quota does not allow them.
            UnknownDatastore: there is no such datastore.
        """
        self.root(datastore)
        if self._quota is None:
            return
        usage = self._usage[datastore]
        with usage.lock:
            if self._used(datastore, usage) + count > self._quota:
                usage.counted_at = float("-inf")
            used = self._used(datastore, usage)
            if used + count > self._quota:
                raise NoSpace(datastore, count, max(0, self._quota - used))
            usage.since_bytes += count

    def open_for_write(
        self, path: DatastorePath, *, atomic: bool = True, replace: bool = True
    ) -> FileWriter:
        """Start writing a file, an upload for instance; use the result in a ``with``.

        Args:
            path: where the file is to be; its folder must exist.
            atomic: the file appears, or replaces the old one, when all is written, and a failure
                leaves what was there. Otherwise it is truncated at once and written in place.
            replace: an existing file may be replaced.

        Raises:
            FileExists: ``replace`` is false and there is a file, or there is a folder.
            FileInUse: a running guest holds the file.
            FileMissing: the folder is not there.
            UnknownDatastore, InvalidDatastorePath: see `resolve`.
        """
        file = self.resolve(path)
        if not path.path:
            raise InvalidDatastorePath(path, "it names no file")
        return FileWriter(path, file, spend=self.spend, atomic=atomic, replace=replace)

    def remove_partial(self) -> int:
        """Remove what writers of a process that died left; returns how many files.

        Only for the start, when nothing writes yet.
        """
        count = 0
        for root in self._roots.values():
            for folder, _, names in listing.tree(root):
                for name in filter(is_partial, names):
                    (folder / name).unlink(missing_ok=True)
                    count += 1
        return count

    def _forget_usage(self, datastore: str) -> None:
        with self._usage[datastore].lock:
            self._usage[datastore].counted_at = float("-inf")

    def _used(self, datastore: str, usage: _Usage) -> int:
        """To be called with the lock held."""
        now = time.monotonic()
        if now - usage.counted_at > _USAGE_KEPT_S:
            with host_errors(f"[{datastore}]", datastore):
                usage.counted_bytes = _occupied(self._roots[datastore])
            usage.since_bytes = 0
            usage.counted_at = now
        return usage.counted_bytes + usage.since_bytes


def _occupied(root: Path) -> int:
    total = 0
    for folder, folders, names in listing.tree(root):
        for name in (*folders, *names):
            seen = listing.status(folder / name)
            total += 0 if seen is None else seen.st_blocks * _BLOCK
    return total
