"""Putting a disk's two files in place, whole or not at all.

The data is written under a temporary name and gets its own first, the descriptor that points to
it last. Without ``force`` a name is taken only if it is free, decided by the file system, so of
two who come at once one gets FileExists.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

from vmops.lab.storage.chains import Link, Provisioning, load_link
from vmops.lab.storage.descriptor import Adapter, Descriptor
from vmops.lab.storage.errors import (
    FileExists,
    FileMissing,
    InvalidDatastorePath,
    StorageError,
    host_errors,
)
from vmops.lab.storage.layers import (
    Cancelled,
    DiskFile,
    Layer,
    Progress,
    RawLayer,
    Watch,
    flattened,
)
from vmops.lab.storage.locks import exclusive, refuse_if_in_use
from vmops.lab.storage.paths import DatastorePath
from vmops.lab.storage.volumes import Volumes
from vmops.lab.storage.writing import publish, write_sparsely
from vmops.lab.whole_files import partial_beside

_ALLOCATED_AT_ONCE = 256 * 1024**2
_NO_HARD_LINK = {errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}


@dataclass(frozen=True, slots=True, kw_only=True)
class FlatPlan:
    """What a new flat disk is to be."""

    capacity_bytes: int
    provisioning: Provisioning
    adapter: Adapter
    force: bool


def data_path(path: DatastorePath, kind: Literal["flat", "delta"]) -> DatastorePath:
    """The data file of the disk at ``path``: ``x.vmdk`` has ``x-flat.vmdk``.

    Raises:
        InvalidDatastorePath: a disk cannot have this name.
    """
    if not path.name.endswith(".vmdk") or path.name == ".vmdk" or '"' in path.name:
        raise InvalidDatastorePath(path, "a disk's name ends in .vmdk and has no quotation mark")
    return path.sibling(f"{path.name.removesuffix('.vmdk')}-{kind}.vmdk")


class NewDisk:
    """A disk in the making; leaving the ``with`` without `publish` leaves nothing.

    ``path`` and ``data`` are the same for a disk of a single file.
    """

    def __init__(
        self, volumes: Volumes, path: DatastorePath, data: DatastorePath, *, force: bool = False
    ) -> None:
        """Check the names.

        Raises:
            FileExists: one is taken, by a folder or, without ``force``, by a file.
            FileMissing: their folder is not there.
            FileInUse: the disk to be replaced is in use.
        """
        self.path = path
        self.data = data
        self._volumes = volumes
        self._force = force
        self._file = volumes.resolve(path)
        self._data_file = volumes.resolve(data)
        self._descriptor = -1
        if not self._file.parent.is_dir():
            raise FileMissing(path.parent)
        for name, file in ((path, self._file), (data, self._data_file)):
            if file.is_dir() or (not force and file.exists()):
                raise FileExists(name)
            refuse_if_in_use(file, name)
        self.partial = partial_beside(self._data_file)

    @property
    def descriptor(self) -> int:
        """The data, open for writing under its temporary name."""
        if self._descriptor < 0:
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            with host_errors(self.data, self.data.datastore):
                self._descriptor = os.open(self.partial, flags, 0o600)
        return self._descriptor

    def spend(self, count: int) -> None:
        """Account for data about to be written; see `Volumes.spend`."""
        self._volumes.spend(self.data.datastore, count)

    def publish(self, descriptor: Descriptor | None) -> None:
        """Give the files their names; None where the data is the whole disk.

        Raises:
            FileExists: a name was taken meanwhile.
            FileInUse: a guest was started on the disk to be replaced.
        """
        stale = self._replaced_files() if self._force else []
        with exclusive(stale), host_errors(self.data, self.data.datastore):
            publish(self.partial, self._data_file, replace=self._force)
        try:
            if descriptor is not None:
                write_descriptor(self._volumes, self.path, descriptor, replace=self._force)
        except BaseException:
            if not self._force:
                self._data_file.unlink(missing_ok=True)
            raise
        for file, _ in stale:
            if file not in {self._file, self._data_file}:
                file.unlink(missing_ok=True)

    def _replaced_files(self) -> list[tuple[Path, DatastorePath]]:
        names = {self.path, self.data}
        with suppress(StorageError):  # nothing there, or no disk: then it is just a file
            names.update(load_link(self._volumes, self.path).files)
        return [(self._volumes.resolve(name), name) for name in sorted(names)]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self.partial.unlink(missing_ok=True)


def write_descriptor(
    volumes: Volumes, path: DatastorePath, descriptor: Descriptor, *, replace: bool
) -> None:
    """Write a descriptor file, whole or not at all.

    Raises:
        FileExists: the name is taken and ``replace`` is false.
        NoSpace: the datastore is full.
    """
    with volumes.open_for_write(path, replace=replace) as file:
        file.write(descriptor.render().encode())


def fill_flat(
    new: NewDisk,
    plan: FlatPlan,
    layers: Sequence[Layer],
    progress: Progress | None,
    cancelled: Cancelled | None,
) -> None:
    """Write a flat disk's data: what ``layers`` hold, zeros where there are none.

    Raises:
        InvalidDisk, NoSpace, CopyCancelled: the data is to be thrown away.
    """
    spend = new.spend
    with host_errors(new.data, new.data.datastore):
        os.ftruncate(new.descriptor, plan.capacity_bytes)
        if plan.provisioning != "thin":
            shown = None if layers else progress
            watch = Watch(plan.capacity_bytes, shown, cancelled)
            allocate(new.descriptor, 0, plan.capacity_bytes, spend, watch)
            spend = _spent_already
        for offset, data in flattened(layers, progress, cancelled) if layers else ():
            write_sparsely(new.descriptor, offset, data, spend)
    if progress is not None and not layers and plan.provisioning == "thin":
        progress(100)


def _spent_already(count: int) -> None:
    """Writing into space that is allocated costs no more."""


def allocate(
    descriptor: int, start: int, end: int, spend: Callable[[int], None], watch: Watch
) -> None:
    """Give a file real space, which reads as zeros."""
    for position in range(start, end, _ALLOCATED_AT_ONCE):
        watch.at(position)
        length = min(_ALLOCATED_AT_ONCE, end - position)
        spend(length)
        os.posix_fallocate(descriptor, position, length)
    watch.at(end)


def grow(volumes: Volumes, link: Link, capacity_bytes: int) -> None:
    """Make a flat disk's data longer, by a hole or, if it is not thin, by real space.

    Raises:
        NoSpace: the file is as long as before.
    """
    datastore = link.data.datastore
    more = capacity_bytes - link.capacity_bytes
    if link.provisioning != "thin":
        volumes.require(datastore, more)
    with host_errors(link.data, datastore), link.data_file.open("r+b") as file:
        # What may lie behind the disk's end is not to show up in it.
        file.truncate(link.capacity_bytes)
        try:
            file.truncate(capacity_bytes)
            if link.provisioning != "thin":
                allocate(
                    file.fileno(),
                    link.capacity_bytes,
                    capacity_bytes,
                    lambda count: volumes.spend(datastore, count),
                    Watch(capacity_bytes, None, None),
                )
        except BaseException:
            file.truncate(link.capacity_bytes)
            raise


def bring_file(
    volumes: Volumes,
    link: Link,
    new: NewDisk,
    progress: Progress | None,
    cancelled: Cancelled | None,
) -> None:
    """Get a disk's data file to a new place: by a second name, or by copying where that fails."""
    with host_errors(link.data, link.data.datastore):
        needed = link.data_file.stat().st_blocks * 512
    if link.path.datastore != new.data.datastore:
        volumes.require(new.data.datastore, needed)
    with host_errors(new.data, new.data.datastore):
        if not _link(link.data_file, new.partial):
            _copy_bytes(link, new, progress, cancelled)
        elif progress is not None:
            progress(100)


def _link(file: Path, second_name: Path) -> bool:
    try:
        os.link(file, second_name, follow_symlinks=False)
    except OSError as error:
        if error.errno in _NO_HARD_LINK:
            return False
        raise
    return True


def _copy_bytes(
    link: Link, new: NewDisk, progress: Progress | None, cancelled: Cancelled | None
) -> None:
    source = DiskFile(link.data_file, link.data, locked=False)
    layer = RawLayer(source, source.size_bytes)
    try:
        os.ftruncate(new.descriptor, source.size_bytes)
        for offset, data in flattened([layer], progress, cancelled):
            write_sparsely(new.descriptor, offset, data, new.spend)
    finally:
        layer.close()
