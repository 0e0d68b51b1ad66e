"""What is in a datastore's folder."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pyVmomi import vim

from vmops.model.datastore_path import DatastorePath
from vmops.vsphere.datacenters import Datacenters
from vmops.vsphere.tasks import Tasks

_browser = vim.host.DatastoreBrowser


@dataclass(frozen=True, slots=True, kw_only=True)
class FileEntry:
    """A file or folder; ``modified`` is None where the server does not tell."""

    name: str
    size_bytes: int
    is_folder: bool
    modified: datetime | None


class DatastoreBrowser:
    """Lists folders of datastores."""

    def __init__(self, tasks: Tasks, datacenters: Datacenters, datacenter: str = "") -> None:
        self._tasks = tasks
        self._datacenters = datacenters
        self._only = datacenter

    def within(self, datacenter: str) -> DatastoreBrowser:
        """The same for datastores of one datacenter, given by its moid."""
        return DatastoreBrowser(self._tasks, self._datacenters, datacenter)

    def search(self, folder: DatastorePath, pattern: str = "*") -> tuple[FileEntry, ...]:
        """The entries of a folder whose names match the pattern (``*`` and ``?``).

        Raises:
            FileNotFound: there is no such folder.
            DatastoreNotFound: there is no such datastore.
        """
        datastore = self._datacenters.inventory.datastore(folder.datastore, self._only)
        spec = _browser.SearchSpec(
            matchPattern=[pattern],
            details=_browser.FileInfo.Details(
                fileType=True, fileSize=True, modification=True, fileOwner=False
            ),
        )
        found = self._tasks.run(
            datastore.browser,
            "SearchDatastore_Task",
            datastorePath=f"[{folder.datastore}] {folder.path}",
            searchSpec=spec,
        )
        return tuple(
            FileEntry(
                name=str(entry.path),
                size_bytes=int(entry.fileSize or 0),
                is_folder=isinstance(entry, _browser.FolderInfo),
                modified=entry.modification,
            )
            for entry in found.file or ()
        )
