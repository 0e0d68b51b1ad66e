"""What a lab is at that is more than one file, so that the next one can end it if this one dies.

Whoever makes or deletes several files notes them first, in a file of the state folder, and is done
when all is in the inventory's and the machines' own files. What was noted and is named by none of
those files when a lab starts is left of work that did not come to its end, or was to be deleted: it
goes. So work that was cut off is there in full, or not at all.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from secrets import token_hex
from types import TracebackType
from typing import Self

from vmops.lab import listing
from vmops.lab.kernel.kernel import Kernel
from vmops.lab.storage.disks import DiskStore
from vmops.lab.storage.paths import DatastorePath
from vmops.lab.storage.placing import data_path
from vmops.lab.storage.volumes import Volumes
from vmops.lab.whole_files import is_partial, write_whole

log = logging.getLogger(__name__)

Note = dict[str, list[str]]
_ENDING = ".json"


class Journal:
    """The notes of one lab; ``save`` writes the inventory file now if there is anything new."""

    def __init__(self, folder: Path, volumes: Volumes) -> None:
        self.folder = folder
        self.volumes = volumes
        self.save: Callable[[], None] = lambda: None

    def work(self) -> Work:
        """Begin something that is more than one file; use in a ``with``."""
        return Work(self, self.folder / f"{token_hex(8)}{_ENDING}")

    def left(self) -> dict[Path, Note]:
        """Read the notes that a lab left; those that cannot be read are told and dropped."""
        for file in filter(lambda each: is_partial(each.name), listing.files(self.folder)):
            file.unlink(missing_ok=True)
        found = {}
        for file in listing.files(self.folder, _ENDING):
            try:
                found[file] = {
                    str(kind): list(map(str, noted))
                    for kind, noted in json.loads(file.read_text()).items()
                }
            except (OSError, ValueError, AttributeError, TypeError) as error:
                log.error("%s cannot be used: %s", file, error)  # noqa: TRY400 - it is told
                file.unlink(missing_ok=True)
        return found


class Work:
    """Something that is more than one file. What it notes is on the disk when a call returns.

    When its block ends, be it by a failure whose undoing is done, the note goes; the inventory is
    saved before.
    """

    def __init__(self, journal: Journal, file: Path) -> None:
        self._journal = journal
        self._file = file
        self._note: Note = {}

    def comes(self, *files: DatastorePath) -> None:
        """Note files and folders about to be made; what is there already is somebody else's."""
        resolve = self._journal.volumes.resolve
        self._add("files", [path for path in files if not resolve(path).exists()])

    def disk_comes(self, *disks: DatastorePath) -> None:
        """Note disks about to be made, by descriptor."""
        resolve = self._journal.volumes.resolve
        free = [
            path
            for path in disks
            if not any(resolve(part).exists() for part in (path, *data_files(path)))
        ]
        self._add("disks", free)

    def goes(self, *files: DatastorePath) -> None:
        """Note files and folders about to be deleted, or moved away."""
        self._add("files", files)

    def disk_goes(self, *disks: DatastorePath) -> None:
        """Note disks about to be deleted, merged or moved away, by descriptor."""
        self._add("disks", disks)

    def disk_moves(self, source: DatastorePath, target: DatastorePath) -> None:
        """Note a disk that is whole at one of two places, by descriptor."""
        resolve = self._journal.volumes.resolve
        if not any(resolve(part).exists() for part in (target, *data_files(target))):
            self._note["moved"] = [str(source), str(target)]
            self._write()

    def snapshot(self, vmx: DatastorePath, uid: int, before: str, after: str) -> None:
        """Note a snapshot: the .vmx file's text before it, and that of the list with it."""
        self._note["snapshot"] = [str(vmx), str(uid), before, after]
        self._write()

    def temporary_snapshot(self, vmx: DatastorePath, uid: int) -> None:
        """Note a snapshot that is to go again."""
        self._note["temporary"] = [str(vmx), str(uid)]
        self._write()

    def committed(self) -> None:
        """Save the inventory now: what is noted as going is to go whatever happens."""
        self._journal.save()

    def _add(self, kind: str, paths: Iterable[DatastorePath]) -> None:
        noted = self._note.setdefault(kind, [])
        new = [text for path in paths if (text := str(path)) not in noted]
        if new:
            noted += new
            self._write()

    def _write(self) -> None:
        self._journal.folder.mkdir(mode=0o700, exist_ok=True)
        write_whole(self._file, json.dumps(self._note))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # A lab that is stopped dead, not ended, leaves its coroutines to the collector.
        if kind is not GeneratorExit and any(self._note.values()):
            self._journal.save()
            self._file.unlink(missing_ok=True)


def data_files(disk: DatastorePath) -> tuple[DatastorePath, ...]:
    """Return where the data of a disk may lie, by its descriptor."""
    if not disk.name.endswith(".vmdk") or disk.name == ".vmdk" or '"' in disk.name:
        return ()
    return data_path(disk, "flat"), data_path(disk, "delta")


def journal(kernel: Kernel) -> Journal:
    """Return the lab's one journal, making it when it is first asked for."""
    try:
        return kernel.service(Journal)
    except KeyError:
        folder = kernel.settings.state_dir / "journal"
        kernel.provide(Journal(folder, kernel.service(DiskStore).volumes))
        return kernel.service(Journal)
