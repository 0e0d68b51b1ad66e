"""Which files an operation may take back: those that it has made, and no others.

This is the rule of all cleaning after a failure. Whoever is about to make a file either gives it a
name that nobody else can have (`vmops.in_flight.unique_name`), or sees first that nothing is at its
path (`refuse_taken`, `refuse_taken_folder`), while its VM's .vmx or note keeps other operations
away. What comes to that path all the same shows in the server's refusal, and stays: see
`MadeFiles`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from vmops.errors import AlreadyExists, FileAlreadyExists, FileNotFound
from vmops.model.datastore_path import DatastorePath
from vmops.ops.engine.folder_contents import files_of_others
from vmops.vsphere.session import Session

_NAMED = 5


@dataclass(slots=True)
class MadeFiles:
    """What an operation makes on datastores. ``others`` are files that came in its way."""

    others: set[DatastorePath] = field(default_factory=set)

    @contextlib.contextmanager
    def making(self, *paths: DatastorePath) -> Iterator[None]:
        """Make files inside; what the server says is there already is somebody else's."""
        try:
            yield
        except AlreadyExists as refused:
            named = {path for path in paths if str(path) in str(refused)}
            self.others |= named or set(paths)
            raise

    def own(self, paths: Iterable[DatastorePath]) -> list[DatastorePath]:
        """Those of the paths at which nothing is but what this operation has made."""
        return [path for path in paths if path not in self.others]


def refuse_taken(session: Session, path: DatastorePath) -> None:
    """Let only paths through at which nothing is; looked at by HTTP, which is no call of the API.

    Raises:
        FileAlreadyExists: something is there.
    """
    if session.datastore_files.exists(path):
        raise FileAlreadyExists(f"There is a file {path} already. It was not touched.")


def refuse_taken_folder(session: Session, folder: DatastorePath) -> None:
    """Let only folders through that are not there, or have nothing but what is others'.

    Whatever else is found in it later was made by who has the folder now. That a folder is not
    there is seen by HTTP, which is no call of the API.

    Raises:
        FileAlreadyExists: it has files that no machine has.
    """
    if not session.datastore_files.exists(folder):
        return
    with contextlib.suppress(FileNotFound):
        names = [file.name for file in session.browse(folder)]
        others = files_of_others(session, folder, names)
        nobodys = [name for name in names if name not in others]
        if nobodys:
            more = f" and {len(nobodys) - _NAMED} more" if len(nobodys) > _NAMED else ""
            raise FileAlreadyExists(
                f"There is a folder {folder} already, with what no machine has:"
                f" {', '.join(nobodys[:_NAMED])}{more}. It was not touched. See what it is with:"
                " vmops audit"
            )
