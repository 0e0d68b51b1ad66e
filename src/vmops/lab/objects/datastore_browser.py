"""HostDatastoreBrowser: searches for files, seen as virtual machines see them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from pyVmomi import vim

from vmops.lab.inventory.file_faults import storage_faults
from vmops.lab.kernel.kernel import ManagedObject
from vmops.lab.kernel.task import start_task
from vmops.lab.objects.datastore_search import Search, search_folder, search_tree
from vmops.lab.operations.files_in_use import files_in_use
from vmops.lab.storage import datastore_files
from vmops.lab.storage.errors import UnknownDatastore
from vmops.lab.storage.paths import DatastorePath
from vmops.lab.storage.volumes import Volumes

if TYPE_CHECKING:
    from pyVmomi.VmomiSupport import ManagedObject as Reference

    from vmops.lab.kernel.kernel import Kernel
    from vmops.lab.kernel.task import TaskRun

_Browser = vim.host.DatastoreBrowser
_Found = list[tuple[DatastorePath, list[_Browser.FileInfo]]]


class HostDatastoreBrowser(ManagedObject):
    """A browser over some datastores: one for each datastore, one for each host.

    ``datastores`` are their references, or a function that returns them now.
    """

    wire_type = vim.host.DatastoreBrowser

    def __init__(
        self,
        kernel: Kernel,
        moid: str,
        datastores: Sequence[Reference] | Callable[[], Sequence[Reference]],
    ) -> None:
        super().__init__(kernel, moid)
        self._datastores = datastores
        browser = vim.host.DatastoreBrowser
        self.properties["supportedType"] = [
            browser.FolderQuery(),
            browser.VmConfigQuery(),
            browser.VmDiskQuery(),
            browser.VmLogQuery(),
            browser.IsoImageQuery(),
        ]
        self.computed["datastore"] = self._references

    def SearchDatastore_Task(
        self, datastorePath: str, searchSpec: _Browser.SearchSpec | None = None
    ) -> vim.Task:
        """Search one folder; the result is a HostDatastoreBrowserSearchResults.

        Raises:
            vim.fault.InvalidDatastorePath: malformed, or not on this browser's datastores.
            vim.fault.FileNotFound: there is no such folder (in the task).
        """
        return self._start("searchDatastore", search_folder, datastorePath, searchSpec)

    def SearchDatastoreSubFolders_Task(
        self, datastorePath: str, searchSpec: _Browser.SearchSpec | None = None
    ) -> vim.Task:
        """Search a folder and all below it; the result is a list with one entry for each folder.

        Raises:
            As SearchDatastore_Task.
        """
        return self._start("searchDatastoreSubFolders", search_tree, datastorePath, searchSpec)

    async def DeleteFile(self, datastorePath: str) -> None:
        """Delete a file or folder.

        Raises:
            As FileManager.DeleteDatastoreFile_Task.
        """
        path = self._parse(datastorePath)
        with storage_faults(path):
            files_in_use(self.kernel).check_changeable(path)
            await self.kernel.blocking(datastore_files.delete, self.kernel.service(Volumes), path)
        self._datastore(path).storage_changed()

    def _references(self) -> list[Reference]:
        return list(self._datastores() if callable(self._datastores) else self._datastores)

    def _parse(self, name: str) -> DatastorePath:
        with storage_faults(name):
            path = DatastorePath.parse(name)
            self._datastore(path)
        return path

    def _datastore(self, path: DatastorePath) -> Any:  # noqa: ANN401 - a Datastore, which knows this class
        for ref in self._references():
            datastore: Any = self.kernel.registry.get(ref)
            if datastore.read("name") == path.datastore:
                return datastore
        raise UnknownDatastore(path.datastore)

    def _start(
        self,
        description: str,
        search: Callable[[Volumes, DatastorePath, Search], _Found],
        name: str,
        spec: _Browser.SearchSpec | None,
    ) -> vim.Task:
        path = self._parse(name)
        datastore = self._datastore(path)
        wanted = Search.of_spec(spec)
        is_tree = search is search_tree

        async def run(_: TaskRun) -> object:
            volumes = self.kernel.service(Volumes)
            with storage_faults(path):
                found = await self.kernel.blocking(search, volumes, path, wanted)
            results = [
                vim.host.DatastoreBrowser.SearchResults(
                    datastore=datastore.ref,
                    folderPath=_folder_text(folder, is_below=is_tree and folder.path != ""),
                    file=files,
                )
                for folder, files in found
            ]
            if is_tree:
                return vim.host.DatastoreBrowser.SearchResults.Array(results)
            return results[0]

        return start_task(datastore, f"HostDatastoreBrowser.{description}", run)


def _folder_text(folder: DatastorePath, *, is_below: bool) -> str:
    # Scripts join folderPath and path; for that a tree's folders end in a slash.
    return f"{folder}/" if is_below else str(folder).strip()
