"""The files of a relocation: which go where, made there, and at the end deleted here."""

from __future__ import annotations

import itertools
import logging
import os
import shutil
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vmops.lab.objects.file_faults import storage_faults
from vmops.lab.objects.virtual_machine_files import scan
from vmops.lab.storage.disks import DiskInfo, DiskStore, Provisioning
from vmops.lab.storage.errors import StorageError, host_errors
from vmops.lab.storage.paths import DatastorePath
from vmops.lab.storage.relocating import (
    Watched,
    bring_flattened,
    bring_link,
    make_twin,
    occupied,
)

log = logging.getLogger(__name__)


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
    made: list[DatastorePath] = field(default_factory=list)
    """Disks at the new place."""
    home_files: list[tuple[DatastorePath, DatastorePath]] = field(default_factory=list)
    """The machine's other files, old and new name, that are at both places."""
    folders: list[Path] = field(default_factory=list)

    @property
    def moves_home(self) -> bool:
        """Whether the .vmx file gets another place."""
        return self.vmx != self.home

    def datastores(self) -> set[str]:
        """Names of all datastores that files come to or go from."""
        moved = [link for disk in self.disks for link in disk.links]
        names = {path.datastore for link in moved for path in (link.source, link.target)}
        return names | {self.vmx.datastore, self.home.datastore}

    def check_room(self, store: DiskStore) -> None:
        """Raise vim.fault.NoDiskSpace where the files would not fit. Blocking."""
        needed: dict[str, int] = {}
        for disk in self.disks:
            for link in disk.links:
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
        except BaseException:
            self.undo(store)
            raise

    def _prepare_disk(
        self, store: DiskStore, disk: DiskMove, *, running: bool, watched: Watched
    ) -> None:
        volumes = store.volumes
        for link, parent in disk.parents():
            if link.target in self.made:
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
                    bring_link(
                        volumes,
                        link.source,
                        link.target,
                        parent=parent,
                        stays=link.stays,
                        watched=watched,
                    )
                self.made.append(link.target)

    def bring_home(self, store: DiskStore, devices: Sequence[Any], *, running: bool) -> None:
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
        for path in reversed(self.made):
            if path not in keep:
                with suppress(StorageError, OSError):
                    store.delete(path)
        self.made = [path for path in self.made if path in keep]
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
        for disk in self.disks:
            for link in disk.links:
                if link.stays or not store.volumes.resolve(link.source).exists():
                    continue
                try:
                    store.delete(link.source)
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


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskWish:
    """Where one disk of the machine is to be, and how."""

    key: int
    chain: tuple[DiskInfo, ...]
    datastore: str
    move_type: str
    provisioning: Provisioning | None


CHILD_ONLY = "moveChildMostDiskBacking"
CONSOLIDATE = "moveAllDiskBackingsAndConsolidate"
ALLOW_SHARING = "moveAllDiskBackingsAndAllowSharing"
DISALLOW_SHARING = "moveAllDiskBackingsAndDisallowSharing"
MOVE_TYPES = (ALLOW_SHARING, DISALLOW_SHARING, CHILD_ONLY, CONSOLIDATE)


def plan_files(
    store: DiskStore,
    vmx: DatastorePath,
    home_datastore: str,
    wishes: Sequence[DiskWish],
    needed: Collection[DatastorePath],
) -> FilePlan:
    """Decide the new name of every file. Blocking, as it looks for free names.

    ``needed`` are disks that other machines have or stand on.
    """
    home = vmx
    if home_datastore != vmx.datastore:
        home = _free_home(store, vmx, home_datastore, wishes)
    names = _Names(store, home)
    disks = [_disk_move(wish, needed, names) for wish in wishes]
    return FilePlan(vmx=vmx, home=home, disks=tuple(disk for disk in disks if disk.links))


def _free_home(
    store: DiskStore, vmx: DatastorePath, datastore: str, wishes: Sequence[DiskWish]
) -> DatastorePath:
    plain = vmx.parent.name or vmx.name.rpartition(".")[0]
    own = {info.path.parent for wish in wishes for info in wish.chain[:1]}
    for number in itertools.count():
        folder = DatastorePath(datastore, f"{plain}_{number}" if number else plain)
        file = folder.joined(vmx.name)
        place = store.volumes.resolve(folder)
        if not place.exists() or (folder in own and not store.volumes.resolve(file).exists()):
            return file
    raise AssertionError


@dataclass(slots=True)
class _Names:
    """Gives free names, each once."""

    store: DiskStore
    home: DatastorePath
    given: dict[DatastorePath, DatastorePath] = field(default_factory=dict)

    def of(self, source: DatastorePath, datastore: str) -> DatastorePath:
        if source in self.given:
            return self.given[source]
        folder = self.home.parent
        if datastore != folder.datastore:
            folder = DatastorePath(datastore, folder.path or self.home.name.rpartition(".")[0])
        stem = source.name.removesuffix(".vmdk")
        taken = set(self.given.values())
        for number in itertools.count():
            target = folder.joined(f"{stem}_{number}.vmdk" if number else f"{stem}.vmdk")
            flat = target.sibling(target.name.replace(".vmdk", "-flat.vmdk"))
            resolve = self.store.volumes.resolve
            if target not in taken and not resolve(target).exists() and not resolve(flat).exists():
                self.given[source] = target
                return target
        raise AssertionError


def _disk_move(wish: DiskWish, needed: Collection[DatastorePath], names: _Names) -> DiskMove:
    chain = wish.chain
    moved: Sequence[DiskInfo] = chain
    flattens = wish.move_type == CONSOLIDATE and len(chain) > 1
    top = chain[0]
    converts = wish.provisioning is not None and (flattens or len(chain) == 1)
    converts = converts and (flattens or wish.provisioning != top.provisioning)
    if not flattens and not converts:
        if wish.move_type == CHILD_ONLY:
            moved = chain[:1]
        moved = _leaving(moved, wish, needed)
    links = tuple(
        LinkMove(
            source=info.path,
            target=names.of(info.path, wish.datastore),
            # What a linked clone stands on is a disk of its own, and somebody else's.
            stays=info.path in needed or info.uuid != top.uuid,
        )
        for info in moved
    )
    below = chain[len(moved)].path if len(moved) < len(chain) else None
    return DiskMove(
        key=wish.key,
        links=links,
        below=below,
        flattens=flattens,
        provisioning=wish.provisioning if converts else None,
    )


def _leaving(
    chain: Sequence[DiskInfo], wish: DiskWish, needed: Collection[DatastorePath]
) -> Sequence[DiskInfo]:
    """Return the upper part of a chain that has to move; what is under it stays."""
    for count in range(len(chain), 0, -1):
        info = chain[count - 1]
        foreign = info.path in needed or info.uuid != chain[0].uuid
        shared = foreign and wish.move_type == DISALLOW_SHARING and count > 1
        if info.path.datastore != wish.datastore or shared:
            return chain[:count]
    return ()
