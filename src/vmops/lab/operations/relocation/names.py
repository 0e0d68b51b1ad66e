"""Which files a relocation moves, and what they are called at the new place."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from vmops.lab.operations.relocation.files import (
    CHILD_ONLY,
    CONSOLIDATE,
    DISALLOW_SHARING,
    DiskMove,
    FilePlan,
    LinkMove,
)
from vmops.lab.storage.disks import DiskInfo, DiskStore, Provisioning
from vmops.lab.storage.paths import DatastorePath


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskWish:
    """Where one disk of the machine is to be, and how."""

    key: int
    chain: tuple[DiskInfo, ...]
    datastore: str
    move_type: str
    provisioning: Provisioning | None


def plan_files(
    store: DiskStore,
    vmx: DatastorePath,
    home_datastore: str,
    wishes: Sequence[DiskWish],
    needed: Collection[DatastorePath],
    own: Mapping[DatastorePath, object],
) -> FilePlan:
    """Decide the new name of every file. Blocking, as it looks for free names.

    ``needed`` are disks that other machines have or stand on, ``own`` those that are the machine's
    or its snapshots', children before parents.
    """
    home = vmx
    if home_datastore != vmx.datastore:
        home = _free_home(store, vmx, home_datastore, wishes)
    names = _Names(store, home)
    moves = [_disk_move(wish, needed, names) for wish in wishes]
    disks = tuple(disk for disk in moves if disk.links)
    kept = {info.path for wish in wishes for info in wish.chain}
    return FilePlan(
        vmx=vmx,
        home=home,
        disks=disks,
        branches=_branches([path for path in own if path not in kept][::-1], disks, names, vmx),
    )


def _branches(
    paths: Sequence[DatastorePath], disks: Sequence[DiskMove], names: _Names, vmx: DatastorePath
) -> tuple[tuple[LinkMove, DatastorePath | None], ...]:
    """Let disks that only snapshots have go where what they stand on goes, or the machine."""
    moved = {link.source: link.target for disk in disks for link in disk.links}
    found = []
    for path in paths:
        parent = names.store.inspect(path).parent
        if parent in moved:
            datastore = moved[parent].datastore
        elif names.home.datastore not in {vmx.datastore, path.datastore}:
            datastore = names.home.datastore
        else:
            continue
        moved[path] = names.of(path, datastore)
        below = None if parent is None else moved.get(parent, parent)
        found.append((LinkMove(source=path, target=moved[path], stays=False), below))
    return tuple(found)


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
            stays=info.path in needed or (info.uuid != top.uuid and not info.is_copied),
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
