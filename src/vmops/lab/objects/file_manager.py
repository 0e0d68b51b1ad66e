"""FileManager: files and folders of datastores by name."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

from pyVmomi import vim
from pyVmomi.VmomiSupport import ManagedObject as Reference

from vmops.lab.inventory.file_faults import storage_faults
from vmops.lab.kernel.kernel import ManagedObject
from vmops.lab.kernel.task import TaskRun, start_task
from vmops.lab.objects.datastore_paths import datastore_path, datastores_of, source_and_target
from vmops.lab.operations.files_in_use import files_in_use
from vmops.lab.storage import datastore_files
from vmops.lab.storage.errors import CopyCancelled
from vmops.lab.storage.paths import DatastorePath
from vmops.lab.storage.volumes import Volumes


class FileManager(ManagedObject):
    """The service's one FileManager.

    Names are resolved by `datastore_path`, in the tasks' methods before the task starts, so that
    a missing datacenter is the method's own fault as in vCenter.
    """

    wire_type = vim.FileManager

    async def MakeDirectory(
        self,
        name: str,
        datacenter: Reference | None = None,
        createParentDirectories: bool | None = None,
    ) -> None:
        """Create a folder.

        Raises:
            vim.fault.FileAlreadyExists: something of this name is there.
            vim.fault.FileNotFound: the folder above is missing and is not to be created.
        """
        path = datastore_path(self.kernel, name, datacenter)
        with storage_faults(path):
            make = partial(datastore_files.make_directory, parents=bool(createParentDirectories))
            await self.kernel.blocking(make, self._volumes, path)

    def DeleteDatastoreFile_Task(self, name: str, datacenter: Reference | None = None) -> vim.Task:
        """Delete a file, or a folder with its content; of a disk only the file named.

        Raises (in the task):
            vim.fault.FileNotFound: there is nothing of this name.
            vim.fault.FileLocked: a running virtual machine holds it, or a file in it.
            vim.fault.CannotDeleteFile: it is a datastore.
        """
        path = datastore_path(self.kernel, name, datacenter)

        async def run(_: TaskRun) -> None:
            with storage_faults(path):
                files_in_use(self.kernel).check_changeable(path)
                await self.kernel.blocking(datastore_files.delete, self._volumes, path)
            self._changed(path)

        return start_task(self, "FileManager.deleteFile", run, cancelable=False)

    def MoveDatastoreFile_Task(
        self,
        sourceName: str,
        sourceDatacenter: Reference | None = None,
        destinationName: str = "",
        destinationDatacenter: Reference | None = None,
        force: bool | None = None,
    ) -> vim.Task:
        """Move a file or folder; the destination is its full new name.

        Without a destination datacenter it is the source's.

        Raises (in the task):
            vim.fault.FileNotFound: the source, or the destination's folder, is missing.
            vim.fault.FileAlreadyExists: the destination is there and is not to be replaced;
                folders never are.
            vim.fault.FileLocked: a running virtual machine holds one of them.
            vim.fault.NoDiskSpace: it does not fit.
        """
        source, target = source_and_target(
            self.kernel,
            sourceName,
            sourceDatacenter,
            destinationName,
            destinationDatacenter,
            "destinationDatacenter",
        )

        async def run(_: TaskRun) -> None:
            with storage_faults(target):
                in_use = files_in_use(self.kernel)
                in_use.check_changeable(source)
                in_use.check_changeable(target)
                move = partial(datastore_files.move, force=bool(force))
                await self.kernel.blocking(move, self._volumes, source, target)
            self._changed(source, target)

        return start_task(self, "FileManager.move", run, cancelable=False)

    def CopyDatastoreFile_Task(
        self,
        sourceName: str,
        sourceDatacenter: Reference | None = None,
        destinationName: str = "",
        destinationDatacenter: Reference | None = None,
        force: bool | None = None,
    ) -> vim.Task:
        """Copy a file or folder; faults as those of moving.

        A replaced file is the old one until the copy is whole; a cancelled or failed copy leaves
        nothing.
        """
        source, target = source_and_target(
            self.kernel,
            sourceName,
            sourceDatacenter,
            destinationName,
            destinationDatacenter,
            "destinationDatacenter",
        )

        async def run(run: TaskRun) -> None:
            with storage_faults(target):
                in_use = files_in_use(self.kernel)
                in_use.check_readable(source)
                in_use.check_changeable(target)
                copy = partial(
                    datastore_files.copy, force=bool(force), progress=thread_progress(run)
                )
                await self.kernel.blocking(copy, self._volumes, source, target)
            self._changed(target)

        return start_task(self, "FileManager.copy", run)

    @property
    def _volumes(self) -> Volumes:
        return self.kernel.service(Volumes)

    def _changed(self, *paths: DatastorePath) -> None:
        for datastore in datastores_of(self.kernel, *paths):
            datastore.storage_changed()


def thread_progress(run: TaskRun) -> Callable[[float], None]:
    """Return a function for a worker thread: it publishes percent and stops a cancelled task.

    The function raises CopyCancelled once a client has cancelled the task.
    """
    loop = asyncio.get_running_loop()

    def report(percent: float) -> None:
        if run.cancelled:
            raise CopyCancelled
        loop.call_soon_threadsafe(run.progress, int(percent))

    return report
