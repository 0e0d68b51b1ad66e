"""Which files there would be on datastores after what was planned so far."""

from __future__ import annotations

from dataclasses import dataclass

from vmops.model.datastore_path import DatastorePath

# What a disk's data files are called behind the descriptor's name.
_DATA = ("flat", "delta", "sesparse", "ctk", "rdm", "rdmp")


@dataclass(frozen=True, slots=True)
class _Made:
    path: DatastorePath


@dataclass(frozen=True, slots=True)
class _Gone:
    path: DatastorePath


@dataclass(frozen=True, slots=True)
class _Moved:
    source: DatastorePath
    target: DatastorePath


class PlannedFiles:
    """The planned changes to files and folders, in order."""

    def __init__(self) -> None:
        self._changes: list[_Made | _Gone | _Moved] = []
        self.emptied: set[DatastorePath] = set()
        """Folders of virtual machines that are to be destroyed; whether anything stays in one has
        to be looked up."""

    def made(self, path: DatastorePath) -> None:
        """A file or folder comes to be."""
        self._changes.append(_Made(path))
        self.emptied.discard(path)

    def gone(self, path: DatastorePath) -> None:
        """A file, or a folder with all that is in it, goes."""
        self._changes.append(_Gone(path))

    def disk_gone(self, path: DatastorePath) -> None:
        """A disk goes: its descriptor, and the files beside it that hold its data."""
        stem = path.path.removesuffix(".vmdk")
        self.gone(path)
        for suffix in _DATA:
            self.gone(DatastorePath(path.datastore, f"{stem}-{suffix}.vmdk"))

    def moved(self, source: DatastorePath, target: DatastorePath) -> None:
        """A file or a whole folder gets another name."""
        self._changes.append(_Moved(source, target))

    def look(self, path: DatastorePath) -> bool | DatastorePath:
        """Whether it would be there; a path if only the server can tell: look there for it."""
        for change in reversed(self._changes):
            match change:
                case _Made(made) if made == path or self._makes(path, made):
                    return True
                case _Gone(gone) if gone == path or path.is_below(gone):
                    return False
                case _Moved(source, target):
                    if path == target or path.is_below(target):
                        path = _below(source, path, target)
                    elif path == source or path.is_below(source):
                        return False
                    elif self._makes(path, target):
                        return True
                case _:
                    pass
        return path

    def _makes(self, folder: DatastorePath, made: DatastorePath) -> bool:
        """Whether a folder is there for what was made below it, if that is there still."""
        return made.is_below(folder) and self.look(made) is not False

    def made_in(self, folder: DatastorePath) -> list[str]:
        """The names in a folder that come to be by the plan, as far as it tells."""
        names = set()
        for change in self._changes:
            made = change.target if isinstance(change, _Moved) else change.path
            if not isinstance(change, _Gone) and made.parent == folder and made != folder:
                names.add(made.name)
        return sorted(name for name in names if self.look(folder.joined(name)) is not False)


def _below(source: DatastorePath, path: DatastorePath, target: DatastorePath) -> DatastorePath:
    """What ``path``, at or below ``target``, was when that still was ``source``."""
    rest = path.path[len(target.path) :]
    return DatastorePath(source.datastore, f"{source.path}{rest}")
