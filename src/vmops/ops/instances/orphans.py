"""What lies on datastores under our names without a machine that has it.

A server that dies in the middle of CreateVM may leave the folder and the .vmx of a machine that it
never knew; one that dies in CreateSnapshot may leave a layer beside the machine's disks. No machine
tells of them, so they are looked for by their names: folders that are called as instances are, and
have nothing but an instance's files.

Whether one is nobody's is seen by watching it: it has to stand still for as long as a lease lasts.
What a person may keep is not touched: a folder with the note that `destroy` leaves in what it does
not delete, one with any other file, and disks of a machine that was whole.
"""

from __future__ import annotations

import functools
import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from vmops import in_flight
from vmops.errors import (
    Busy,
    Conflict,
    FileNotFound,
    NotSupported,
    Refused,
    TransferFailed,
    VsphereFault,
)
from vmops.images.filling import IMPORT_PREFIX
from vmops.in_flight import Judgment, Mark, Verdict
from vmops.model import extra_config
from vmops.model.datastore_path import DatastorePath
from vmops.model.identity import instance_of
from vmops.model.uuid_text import UUID_TEXT
from vmops.ops.engine.folder_contents import delete_disks, files_of_others
from vmops.ops.engine.kept_note import NOTE
from vmops.ops.engine.own_disks import vm_folder
from vmops.ops.instances.leftovers import Leftover
from vmops.ops.instances.unmerged import find_unmerged, merge
from vmops.vsphere.managers.datastore_browser import FileEntry
from vmops.vsphere.objects import vm_files
from vmops.vsphere.objects.lookup import find_vm_on_server
from vmops.vsphere.objects.vm_files import VmFiles
from vmops.vsphere.session import Session

log = logging.getLogger(__name__)

_UUID = re.compile(UUID_TEXT)
_MARK = re.compile(rf'^{re.escape(extra_config.OPERATION)} = "(?P<mark>[^"]+)"', re.MULTILINE)
_MACHINE = r"(?:vmx~?|vmxf|vmsd|nvram|vmdk|vswp|vmss|vmsn|vmem|hlog|log|lck)"
_OURS = r"(?:ephemeral_\d+|swap)[-\w]*\.vmdk|configdrive\.iso|serial\.log|vmware[-\w]*\.log"
_LAYER = re.compile(r"(?P<base>.+)-\d{6}(?:-delta|-sesparse)?\.vmdk")
_LARGEST_VMX = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class _Said(Judgment):
    """A judgment that is no question of time, in its own words."""

    said: str

    @property
    def why(self) -> str:
        """What was said where it was judged."""
        return self.said


@dataclass(frozen=True, slots=True, kw_only=True)
class _Orphan:
    """A folder that no machine has, or files in a machine's folder that it does not have."""

    kind: str
    name: str
    folder: DatastorePath
    uuid: str
    files: frozenset[str] = frozenset()
    """The files in a machine's folder; none: the folder itself."""
    kept: str = ""
    """Why it is left alone, if it is."""
    owner: str = ""
    """Who made it, where its name tells."""

    def listing(self, session: Session) -> str:
        """What is there, as text that is another one as soon as anything of it changes."""
        entries = sorted(_there(session, self.folder), key=lambda entry: entry.name)
        shown = [e for e in entries if not self.files or e.name in self.files]
        return ";".join(f"{e.name} {e.size_bytes} {e.modified}" for e in shown)

    def is_there(self, session: Session) -> bool:
        """Whether any of it is still there: what a snapshot is about to merge soon is not."""
        try:
            names = {entry.name for entry in session.browse(self.folder)}
        except FileNotFound:
            return False
        return not self.files or bool(self.files & names)

    def leftover(self, session: Session) -> Leftover:
        """It as it stands now."""
        text = f"{self.kind} {self.name} {self.listing(session)}"
        operation = "snapshot" if self.files else "spawn"
        mark = Mark(text=text, operation=operation, owner=self.owner)
        judgment = in_flight.judge(mark)
        if self.kept:
            still_s = judgment.still_s
            judgment = _Said(mark=mark, verdict=Verdict.OWN, still_s=still_s, said=self.kept)
        return Leftover(
            kind=self.kind, name=self.name, judgment=judgment, take=lambda: self.take(session, text)
        )

    def take(self, session: Session, text: str) -> None:
        """Delete it, if it is still what was seen.

        Raises:
            Busy: it has changed, or a machine has it now.
        """
        now = f"{self.kind} {self.name} {self.listing(session)}"
        names = self.files or {entry.name for entry in _there(session, self.folder)}
        taken = files_of_others(session, self.folder, names)
        is_ours = not self.uuid or bool(self.files) or not find_vm_on_server(session, self.uuid)
        if now != text or taken or not is_ours:
            raise Busy(f"{self.name} has changed just now, so somebody is at it.")
        delete_disks(session, self.folder, names)
        if not self.files:
            session.file_manager.delete(self.folder, missing_ok=True)
            return
        for entry in _there(session, self.folder):
            if entry.name in self.files:
                session.file_manager.delete(self.folder.joined(entry.name), missing_ok=True)


@dataclass(slots=True)
class OrphanWatch:
    """Looks for orphans once, and then again and again at those that it found."""

    session: Session
    _found: list[_Orphan] | None = field(default=None)

    def look(self) -> list[Leftover]:
        """Those that are there, each as it stands now; and machines whose disks need merging."""
        if self._found is None:
            self._found = list(_find(self.session))
        else:
            self._found = [each for each in self._found if each.is_there(self.session)]
        unmerged = [
            Leftover(
                kind="unmerged snapshot",
                name=name,
                judgment=_Said(
                    mark=Mark(text=f"unmerged {name}", operation="snapshot", owner=""),
                    verdict=Verdict.DEAD,
                    still_s=0.0,
                    said="its disks need consolidation",
                ),
                vm=vm,
                take=functools.partial(merge, vm),
            )
            for name, vm in find_unmerged(self.session)
        ]
        return [*unmerged, *(each.leftover(self.session) for each in self._found)]


def _find(session: Session) -> Iterator[_Orphan]:
    there = session.properties.read_container("VirtualMachine", vm_files.PATHS)
    machines = [vm_files.files_from(values) for values in there.values()]
    known = {files.instance_uuid.lower() for files in machines}
    layers: dict[DatastorePath, tuple[FileEntry, ...]] = {}
    for datastore in session.inventory.datastores():
        if not datastore.accessible:
            continue
        root = DatastorePath(datastore.name)
        try:
            layers |= session.browse_below(root, "*-0*.vmdk")
            entries = session.browse(root)
        except (Conflict, FileNotFound, NotSupported, Refused, VsphereFault) as failure:
            log.warning("%s cannot be searched: %s", root, failure)
            continue
        for entry in entries:
            folder = DatastorePath(datastore.name, entry.name)
            if not entry.is_folder:
                continue
            if _UUID.fullmatch(entry.name) and entry.name not in known:
                yield from _folder(session, folder)
            elif entry.name.startswith(f"{IMPORT_PREFIX}-"):
                yield from _import(session, folder)
    for files in machines:
        if instance_of(files.instance_uuid, files.extra_config):
            yield from _layers(session, files, layers)


def _folder(session: Session, folder: DatastorePath) -> Iterator[_Orphan]:
    """A folder that no instance's machine is called after, if it has an instance's files alone."""
    uuid = folder.name
    entries = _there(session, folder)
    names = [entry.name for entry in entries]
    ours = re.compile(rf"{re.escape(uuid)}[-\w]*\.{_MACHINE}|{_OURS}")
    is_kept = NOTE in names or not all(ours.fullmatch(name) for name in names)
    if is_kept or files_of_others(session, folder, names):
        return
    has_disks = any(name.endswith(".vmdk") for name in names)
    yield _Orphan(
        kind="unregistered machine" if f"{uuid}.vmx" in names else "folder without a machine",
        name=str(folder),
        folder=folder,
        uuid=uuid,
        kept="it has disks, which somebody may keep: no unfinished spawn is noted in it"
        if has_disks and not _is_unfinished(session, folder, entries)
        else "",
    )


def _import(session: Session, folder: DatastorePath) -> Iterator[_Orphan]:
    """The folder of an import's machine, if that is not there; its name is nobody else's."""
    named = in_flight.named_mark(folder.name, "image import")
    names = [entry.name for entry in _there(session, folder)]
    if named is not None and not files_of_others(session, folder, names):
        yield _Orphan(
            kind="folder of an unfinished image import",
            name=str(folder),
            folder=folder,
            uuid="",
            owner=named.owner,
        )


def _is_unfinished(session: Session, folder: DatastorePath, entries: Iterable[FileEntry]) -> bool:
    """Whether the .vmx in a folder has the mark that a spawn takes off when it is whole."""
    for entry in entries:
        if entry.name == f"{folder.name}.vmx" and entry.size_bytes <= _LARGEST_VMX:
            try:
                text = session.datastore_files.read(folder.joined(entry.name))
            except (FileNotFound, TransferFailed):
                return False
            return _MARK.search(text.decode("utf-8", "replace")) is not None
    return False


def _layers(
    session: Session, files: VmFiles, layers: Mapping[DatastorePath, tuple[FileEntry, ...]]
) -> Iterator[_Orphan]:
    """Layers beside a machine's disks, over disks that it has, and that it does not have."""
    folder = vm_folder(files)
    if folder is None:
        return
    names = [entry.name for entry in layers.get(folder, ())]
    found = {name: match["base"] for name in names if (match := _LAYER.fullmatch(name))}
    chains = {DatastorePath.parse(f).name for d in files.disks for f in (d.file_name, *d.parents)}
    loose = {name for name, base in found.items() if f"{base}.vmdk" in chains}
    if loose:
        loose -= files_of_others(session, folder, loose)
    if loose:
        yield _Orphan(
            kind="layer of no snapshot",
            name=", ".join(str(folder.joined(name)) for name in sorted(loose)),
            folder=folder,
            uuid=files.instance_uuid,
            files=frozenset(loose),
        )


def _there(session: Session, folder: DatastorePath) -> tuple[FileEntry, ...]:
    try:
        return session.browse(folder)
    except FileNotFound:
        return ()
