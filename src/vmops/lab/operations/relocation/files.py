"""The files of a relocation: which go where, made there, and at the end deleted here."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from vmops.lab.inventory.file_faults import storage_faults
from vmops.lab.machine.files import scan
from vmops.lab.storage.disks import DiskStore, Provisioning
from vmops.lab.storage.errors import StorageError, host_errors
from vmops.lab.storage.paths import DatastorePath
from vmops.lab.storage.relocating import (
    Watched,
    bring_flattened,
    bring_link,
    make_twin,
    mark_copied,
    occupied,
    remove,
)

if TYPE_CHECKING:
    from pyVmomi.vim.vm.device import VirtualDevice

log = logging.getLogger(__name__)

CHILD_ONLY = "moveChildMostDiskBacking"
CONSOLIDATE = "moveAllDiskBackingsAndConsolidate"
ALLOW_SHARING = "moveAllDiskBackingsAndAllowSharing"
DISALLOW_SHARING = "moveAllDiskBackingsAndDisallowSharing"
MOVE_TYPES = (ALLOW_SHARING, DISALLOW_SHARING, CHILD_ONLY, CONSOLIDATE)


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkMove:
    """One disk of a chain with a new name; ``stays``: others need the old one too."""

    source: DatastorePath
    target: DatastorePath
    stays: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskMove:
    """What happens to one disk of the machine.

    ``links`` are those of its chain that move, top first, and stand on ``below`` afterwards. With
    ``flattens`` the first of them becomes the whole disk, and the rest go.
    """

    key: int
    links: tuple[LinkMove, ...]
    below: DatastorePath | None
    flattens: bool = False
    provisioning: Provisioning | None = None

    def parents(self) -> list[tuple[LinkMove, DatastorePath | None]]:
        """Pair each link that is brought with what it stands on, the lowest first."""
        if self.flattens:
            return [(self.links[0], None)]
        below = [*(link.target for link in self.links[1:]), self.below]
        return list(zip(self.links, below, strict=True))[::-1]


@dataclass(slots=True, kw_only=True)
class FilePlan:
    """All files of a relocation."""

    vmx: DatastorePath
    """The .vmx file now."""
    home: DatastorePath
    """The .vmx file afterwards; the same if it does not move."""
    disks: tuple[DiskMove, ...]
    branches: tuple[tuple[LinkMove, DatastorePath | None], ...] = ()
    """Disks that only snapshots have, each with what it stands on afterwards, parents first."""
    made: list[LinkMove] = field(default_factory=list)
    """Those of the disks that are at the new place."""
    home_files: list[tuple[DatastorePath, DatastorePath]] = field(default_factory=list)
    """The machine's other files, old and new name, that are at both places."""
    folders: list[Path] = field(default_factory=list)

    @property
    def moves_home(self) -> bool:
        """Whether the .vmx file gets another place."""
        return self.vmx != self.home

    def datastores(self) -> set[str]:
        """Names of all datastores that files come to or go from."""
        names = {path.datastore for link in self._links() for path in (link.source, link.target)}
        return names | {self.vmx.datastore, self.home.datastore}

    def renamed_disks(self) -> dict[DatastorePath, DatastorePath]:
        """Return the new name of every disk that moves, a flattened one under its topmost name."""
        names = {
            link.source: disk.links[0].target if disk.flattens else link.target
            for disk in self.disks
            for link in disk.links
        }
        return names | {link.source: link.target for link, _ in self.branches}

    def _links(self) -> list[LinkMove]:
        of_disks = [link for disk in self.disks for link in disk.links]
        return [*of_disks, *(link for link, _ in self.branches)]

    def going(self) -> list[DatastorePath]:
        """List the disks that will not be where they were."""
        return [link.source for link in self._links() if not link.stays]

    def targets(self) -> list[DatastorePath]:
        """List the disks that come."""
        return [link.target for link in self._links()]

    def check_room(self, store: DiskStore) -> None:
        """Raise vim.fault.NoDiskSpace where the files would not fit. Blocking."""
        needed: dict[str, int] = {}
        for link in self._links():
            with storage_faults(link.source):
                if link.target.datastore != link.source.datastore or link.stays:
                    size = occupied(store.volumes, link.source)
                    at = link.target.datastore
                    needed[at] = needed.get(at, 0) + size
        for name, size in needed.items():
            with storage_faults(f"[{name}]"):
                store.volumes.require(name, size)

    def prepare(self, store: DiskStore, *, running: bool, watched: Watched) -> None:
        """Make everything at the new place; the disks of a running guest are made empty. Blocking.

        Raises:
            vim.fault.FileFault or one below it: nothing is left at the new place.
        """
        try:
            if self.moves_home:
                self._make_folder(store, self.home.parent)
            for disk in self.disks:
                self._prepare_disk(store, disk, running=running, watched=watched)
            for link, parent in self.branches:
                self._bring(store, link, parent, watched)
        except BaseException:
            self.undo(store)
            raise

    def _prepare_disk(
        self, store: DiskStore, disk: DiskMove, *, running: bool, watched: Watched
    ) -> None:
        volumes = store.volumes
        for link, parent in disk.parents():
            if link in self.made:
                continue  # two disks may stand on the same one
            with storage_faults(link.target):
                self._make_folder(store, link.target.parent)
                if running and link is disk.links[0]:
                    make_twin(
                        volumes,
                        link.source,
                        link.target,
                        parent=parent,
                        provisioning=disk.provisioning,
                    )
                elif disk.flattens or disk.provisioning is not None:
                    bring_flattened(
                        volumes,
                        link.source,
                        link.target,
                        provisioning=disk.provisioning,
                        watched=watched,
                    )
                else:
                    is_parent = link is not disk.links[0]
                    self._bring(store, link, parent, watched, is_parent=is_parent)
                    continue
                self.made.append(link)

    def _bring(
        self,
        store: DiskStore,
        link: LinkMove,
        parent: DatastorePath | None,
        watched: Watched,
        *,
        is_parent: bool = False,
    ) -> None:
        with storage_faults(link.target):
            self._make_folder(store, link.target.parent)
            bring_link(
                store.volumes,
                link.source,
                link.target,
                parent=parent,
                stays=link.stays,
                watched=watched,
            )
            if link.stays and is_parent:
                mark_copied(store.volumes, link.target)
        self.made.append(link)

    def bring_home(
        self, store: DiskStore, devices: Sequence[VirtualDevice], *, running: bool
    ) -> None:
        """Let the machine's other files be at the new place too; the .vmx is written. Blocking.

        A file the guest has open gets a second name; where the file system cannot do that it
        stays where it is.
        """
        if not self.moves_home:
            return
        volumes = store.volumes
        for file in scan(store, self.vmx, devices):
            if file.path == self.vmx or file.disk_key is not None:
                continue
            target = self.home.sibling(self._renamed(file.path.name))
            before, after = volumes.resolve(file.path), volumes.resolve(target)
            with storage_faults(target), host_errors(target, target.datastore):
                try:
                    os.link(before, after, follow_symlinks=False)
                except FileNotFoundError:
                    continue
                except OSError:
                    if running and file.type == "serial":
                        continue
                    volumes.require(target.datastore, file.allocated)
                    shutil.copyfile(before, after, follow_symlinks=False)
            self.home_files.append((file.path, target))

    def _renamed(self, name: str) -> str:
        return self.home.name if name == self.vmx.name else name

    def undo(self, store: DiskStore, *, keep: Collection[DatastorePath] = ()) -> None:
        """Delete what is at the new place, but for disks in ``keep``. Blocking."""
        for link in reversed(self.made):
            if link.target not in keep:
                with suppress(StorageError, OSError):
                    remove(store, link.target, link.source)
        self.made = [link for link in self.made if link.target in keep]
        if self.moves_home:
            for path in (*(target for _, target in self.home_files), self.home):
                with suppress(StorageError, OSError):
                    store.volumes.resolve(path).unlink(missing_ok=True)
        self.home_files.clear()
        for folder in reversed(self.folders):
            with suppress(OSError):
                folder.rmdir()

    def finish(self, store: DiskStore) -> None:
        """Delete what is at the old place; what cannot be deleted stays, noted in the log."""
        for link in self._links():
            if link.stays or not store.volumes.resolve(link.source).exists():
                continue
            try:
                remove(store, link.source, link.target)
            except (StorageError, OSError) as error:
                log.warning("%s stays: %s", link.source, error)
            self._drop_folder(store, link.source.parent)
        if self.moves_home:
            for path in (*(source for source, _ in self.home_files), self.vmx):
                with suppress(StorageError, OSError):
                    store.volumes.resolve(path).unlink(missing_ok=True)
            self._drop_folder(store, self.vmx.parent)

    @staticmethod
    def _drop_folder(store: DiskStore, folder: DatastorePath) -> None:
        if folder.path:
            with suppress(OSError):
                store.volumes.resolve(folder).rmdir()

    def _make_folder(self, store: DiskStore, folder: DatastorePath) -> None:
        place = store.volumes.resolve(folder)
        with storage_faults(folder), suppress(FileExistsError):
            place.mkdir()
            self.folders.append(place)
