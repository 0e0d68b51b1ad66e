"""What is in a datastore's folder."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from pyVmomi import vim

from vmops.model.datastore_path import DatastorePath
from vmops.vsphere.live.inventory import Inventory
from vmops.vsphere.live.tasks import Tasks
from vmops.vsphere.wire.moref import Moref, moid

_browser = vim.host.DatastoreBrowser


@dataclass(frozen=True, slots=True, kw_only=True)
class FileEntry:
    """A file or folder; ``modified`` is None where the server does not tell."""

    name: str
    size_bytes: int
    is_folder: bool
    modified: datetime | None


class Browsing(Protocol):
    """What of a session a browser uses."""

    @property
    def inventory(self) -> Inventory:
        """Names the datastores' own browsers."""

    @property
    def tasks(self) -> Tasks:
        """Runs the search."""


class DatastoreBrowser:
    """Lists the folders of one datastore."""

    def __init__(self, session: Browsing, datastore: Moref) -> None:
        self._session = session
        self._datastore = datastore

    def search(self, folder: DatastorePath, pattern: str = "*") -> tuple[FileEntry, ...]:
        """The entries of a folder whose names match the pattern (``*`` and ``?``).

        Raises:
            FileNotFound: there is no such folder.
            ManagedObjectNotFound: the datastore is gone.
        """
        (found,) = self._search("SearchDatastore_Task", folder, pattern)
        return _entries(found)

    def search_below(
        self, folder: DatastorePath, pattern: str
    ) -> dict[DatastorePath, tuple[FileEntry, ...]]:
        """The same in a folder and all below it, in one call: by folder, of those that have any.

        Raises:
            As `search`.
        """
        found = self._search("SearchDatastoreSubFolders_Task", folder, pattern)
        return {
            DatastorePath.parse(str(each.folderPath)): _entries(each) for each in found if each.file
        }

    def _search(
        self, method: str, folder: DatastorePath, pattern: str
    ) -> list[vim.host.DatastoreBrowser.SearchResults]:
        """What is found in each folder."""
        datastore = self._session.inventory.datastore_of(moid(self._datastore))
        spec = _browser.SearchSpec(
            matchPattern=[pattern],
            details=_browser.FileInfo.Details(
                fileType=True, fileSize=True, modification=True, fileOwner=False
            ),
        )
        found = self._session.tasks.run(
            datastore.browser,
            method,
            datastorePath=f"[{folder.datastore}] {folder.path}",
            searchSpec=spec,
        )
        return list(found) if isinstance(found, list) else [found]


def _entries(found: vim.host.DatastoreBrowser.SearchResults) -> tuple[FileEntry, ...]:
    return tuple(
        FileEntry(
            name=str(entry.path),
            size_bytes=int(entry.fileSize or 0),
            is_folder=isinstance(entry, _browser.FolderInfo),
            modified=entry.modification,
        )
        for entry in found.file or ()
    )
