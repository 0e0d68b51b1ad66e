"""Find and remove what operations left whose process died, or whose server went away.

Four things can be left: a VM marked as being spawned, the VM of an image import, the snapshot of an
instance whose image was being made, and a temporary folder in a datastore's image cache. Each tells
the process that made it (`vmops.in_flight`); what belongs to a living process, or to one on another
machine, is left alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vmops import in_flight
from vmops.errors import FileNotFound
from vmops.model import extra_config
from vmops.model.datastore_path import DatastorePath
from vmops.ops.engine.settings import EngineSettings
from vmops.ops.instances.destroy import remove
from vmops.ops.instances.snapshot import SNAPSHOT_PREFIX
from vmops.vsphere.objects.snapshots import Snapshot
from vmops.vsphere.objects.virtual_machine import VirtualMachine
from vmops.vsphere.session import Session

if TYPE_CHECKING:
    from vmops.specs.wire_types import SnapshotInfo

_MARK = f'config.extraConfig["{extra_config.OPERATION}"]'
_IMPORT_PREFIX = "vmops-import-"
_TEMPORARY_PREFIX = "tmp-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Leftover:
    """One thing that an operation left behind."""

    kind: str
    name: str
    vm: VirtualMachine | None = None
    folder: DatastorePath | None = None
    snapshot: Snapshot | None = None


def find_leftovers(session: Session, settings: EngineSettings) -> list[Leftover]:
    """All leftovers of dead processes: VMs first, then folders."""
    return [*_virtual_machines(session), *_folders(session, settings)]


def _virtual_machines(session: Session) -> list[Leftover]:
    found: list[Leftover] = []
    there = session.properties.read_container("VirtualMachine", ("name", "snapshot", _MARK))
    for moref, properties in there.items():
        name = str(properties.get("name", ""))
        found += _snapshots(session, name, properties.get("snapshot"))
        option = properties.get(_MARK)
        mark = str(option.value) if option is not None else ""
        if mark and in_flight.owner_is_gone(mark):  # only a spawn leaves one: see `WORKER`
            kind = f"unfinished {mark.split()[0]}"
        elif name.startswith(_IMPORT_PREFIX) and in_flight.owner_is_gone(name):
            kind = "unfinished image import"
        else:
            continue
        found.append(Leftover(kind=kind, name=name, vm=VirtualMachine.of(session, moref)))
    return found


def _snapshots(session: Session, vm_name: str, info: SnapshotInfo | None) -> Iterator[Leftover]:
    """Those in a VM's tree that were made for an image."""
    trees = list(info.rootSnapshotList) if info is not None else []
    while trees:
        tree = trees.pop()
        trees.extend(tree.childSnapshotList or ())
        if str(tree.name).startswith(SNAPSHOT_PREFIX) and in_flight.owner_is_gone(tree.name):
            yield Leftover(
                kind="unfinished snapshot",
                name=f"{vm_name}: {tree.name}",
                snapshot=Snapshot(session, tree.snapshot),
            )


def _folders(session: Session, settings: EngineSettings) -> list[Leftover]:
    found = []
    for datastore in session.inventory.datastores():
        if not datastore.accessible:
            continue
        cache = DatastorePath(datastore.name, settings.cache_folder)
        try:
            files = session.browse(cache)
        except FileNotFound:
            continue
        found += [
            Leftover(
                kind="unfinished image transfer",
                name=str(cache.joined(file.name)),
                folder=cache.joined(file.name),
            )
            for file in files
            if file.name.startswith(_TEMPORARY_PREFIX) and in_flight.owner_is_gone(file.name)
        ]
    return found


def remove_leftover(session: Session, leftover: Leftover) -> None:
    """Remove one leftover; that it is gone already is fine.

    Raises:
        LeftBehind: it could not be removed.
        Conflict: a snapshot is still being read; a reader that died is given up after five minutes.
    """
    if leftover.snapshot is not None:
        leftover.snapshot.remove(missing_ok=True)
    if leftover.vm is not None:
        remove(session, leftover.vm, destroy_disks=True)
    if leftover.folder is not None:
        session.file_manager.delete(leftover.folder, missing_ok=True)
