"""First class disks: disks with an id and a name of their own, whatever machine has them.

A datastore keeps them in its folder ``fcd``, each with a small file ``<id>.vmfd`` beside the disks,
which says its name and where it is; a disk that was registered stays where it was.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from vmops.lab import listing
from vmops.lab.storage.disks import DiskStore
from vmops.lab.storage.errors import FileMissing, StorageError
from vmops.lab.storage.paths import DatastorePath

FOLDER = "fcd"
_ENDING = ".vmfd"
_LARGEST = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstClassDisk:
    """One of them; ``id`` is a UUID in lower case."""

    id: str
    name: str
    path: DatastorePath
    created: datetime
    keep_after_delete_vm: bool


class NoSuchDisk(Exception):
    """The datastore has no first class disk of that id."""


def normal_id(text: str) -> str:
    """Return an id as it is kept.

    Raises:
        NoSuchDisk: it can be nobody's.
    """
    try:
        return str(UUID(text))
    except (ValueError, AttributeError):
        raise NoSuchDisk(text) from None


class FirstClassDisks:
    """The catalogue; it keeps no state but the files. Blocking."""

    def __init__(self, store: DiskStore) -> None:
        self.store = store

    def all(self, datastore: str) -> list[FirstClassDisk]:
        """List those of a datastore, oldest first; files that make no sense are left out."""
        folder = self.store.volumes.resolve(DatastorePath(datastore, FOLDER))
        found = []
        for file in listing.files(folder, _ENDING):
            with suppress(NoSuchDisk):
                found.append(self.get(file.name.removesuffix(_ENDING), datastore))
        return sorted(found, key=lambda each: (each.created, each.id))

    def get(self, text: str, datastore: str) -> FirstClassDisk:
        """Read what is kept of one.

        Raises:
            NoSuchDisk: there is none of that id on the datastore.
        """
        try:
            place = self.store.volumes.resolve(_record(datastore, normal_id(text)))
            with place.open("rb") as stream:
                return _read(json.loads(stream.read(_LARGEST)), datastore)
        except (OSError, ValueError, KeyError, TypeError, StorageError):
            raise NoSuchDisk(text) from None

    def of_path(self, path: DatastorePath) -> FirstClassDisk | None:
        """Return the one whose disk is at a path, None if it is none's."""
        return next((each for each in self.all(path.datastore) if each.path == path), None)

    def save(self, disk: FirstClassDisk) -> None:
        """Keep what is said of one.

        Raises:
            StorageError: it cannot be written.
        """
        folder = self.store.volumes.resolve(DatastorePath(disk.path.datastore, FOLDER))
        folder.mkdir(exist_ok=True)
        kept = {**asdict(disk), "path": disk.path.path, "created": disk.created.isoformat()}
        with self.store.volumes.open_for_write(_record(disk.path.datastore, disk.id)) as file:
            file.write(json.dumps(kept).encode())

    def forget(self, disk: FirstClassDisk) -> None:
        """Keep nothing of one; the disk stays."""
        record = _record(disk.path.datastore, disk.id)
        self.store.volumes.resolve(record).unlink(missing_ok=True)

    def delete(self, disk: FirstClassDisk) -> None:
        """Delete a disk and what is kept of it.

        Raises:
            StorageError: the disk is in use; both stay.
        """
        with suppress(FileMissing):
            self.store.delete(disk.path)
        self.forget(disk)

    def follow(self, moved: Mapping[DatastorePath, DatastorePath]) -> None:
        """Note the new places of disks that were moved."""
        for old, new in moved.items():
            disk = self.of_path(old)
            if disk is not None:
                self.save(replace(disk, path=new))
                if old.datastore != new.datastore:
                    self.forget(disk)


def kept_disks(store: DiskStore, disks: Iterable[DatastorePath]) -> frozenset[DatastorePath]:
    """Return those of a machine's disks that do not go with it. Blocking."""
    catalogue = FirstClassDisks(store)
    found = map(catalogue.of_path, disks)
    return frozenset(each.path for each in found if each and each.keep_after_delete_vm)


def forget_deleted(store: DiskStore, disks: Iterable[DatastorePath]) -> None:
    """Forget those of some disks that are not there any more. Blocking."""
    catalogue = FirstClassDisks(store)
    for path in disks:
        if not store.volumes.resolve(path).exists():
            gone = catalogue.of_path(path)
            if gone is not None:
                catalogue.forget(gone)


def _record(datastore: str, disk_id: str) -> DatastorePath:
    return DatastorePath(datastore, f"{FOLDER}/{disk_id}{_ENDING}")


def _read(kept: Mapping[str, Any], datastore: str) -> FirstClassDisk:
    return FirstClassDisk(
        id=normal_id(kept["id"]),
        name=str(kept["name"]),
        path=DatastorePath(datastore, str(kept["path"])),
        created=datetime.fromisoformat(kept["created"]).astimezone(UTC),
        keep_after_delete_vm=bool(kept["keep_after_delete_vm"]),
    )
