"""Find and remove what operations left whose process died, or whose server went away.

Three things can be left: a VM marked as being spawned, the VM of an image import, and a temporary
folder in a datastore's image cache. Each tells the process that made it (`vmops.in_flight`); what
belongs to a living process, or to one on another machine, is left alone.
"""

from __future__ import annotations

from dataclasses import dataclass

from vmops import in_flight
from vmops.errors import FileNotFound
from vmops.model.datastore_path import DatastorePath
from vmops.ops.destroy import remove
from vmops.ops.settings import EngineSettings
from vmops.progress import Observer, log_event
from vmops.specs import extra_config
from vmops.vsphere.session import Session
from vmops.vsphere.virtual_machine import VirtualMachine

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


def find_leftovers(session: Session, settings: EngineSettings) -> list[Leftover]:
    """All leftovers of dead processes: VMs first, then folders."""
    return [*_virtual_machines(session), *_folders(session, settings)]


def _virtual_machines(session: Session) -> list[Leftover]:
    found = []
    there = session.properties.read_container("VirtualMachine", ("name", _MARK))
    for moref, properties in there.items():
        name = str(properties.get("name", ""))
        option = properties.get(_MARK)
        mark = str(option.value) if option is not None else ""
        if mark and in_flight.owner_is_gone(mark):
            kind = f"unfinished {mark.split()[0]}"
        elif name.startswith(_IMPORT_PREFIX) and in_flight.owner_is_gone(name):
            kind = "unfinished image import"
        else:
            continue
        found.append(Leftover(kind=kind, name=name, vm=VirtualMachine.of(session, moref)))
    return found


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


def remove_leftover(session: Session, leftover: Leftover, observe: Observer = log_event) -> None:
    """Remove one leftover; that it is gone already is fine.

    Raises:
        LeftBehind: it could not be removed.
    """
    if leftover.vm is not None:
        remove(session, leftover.vm, destroy_disks=True, observe=observe)
    if leftover.folder is not None:
        session.file_manager.delete(leftover.folder, missing_ok=True)
