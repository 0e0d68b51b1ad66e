"""Files and folders on datastores, as wholes: a virtual disk is `VirtualDiskManager`'s."""

from __future__ import annotations

from vmops.errors import AlreadyExists, FileNotFound
from vmops.model.datastore_path import DatastorePath
from vmops.vsphere.live.tasks import Tasks
from vmops.vsphere.managers.datacenters import Datacenters


class FileManager:
    """Creates folders, deletes, moves and copies files. Each is one call.

    All raise DatastoreNotFound for a path on a datastore that does not exist.
    """

    def __init__(self, tasks: Tasks, datacenters: Datacenters) -> None:
        self._tasks = tasks
        self._datacenters = datacenters

    def within(self, datacenter: str) -> FileManager:
        """The same for datastores of one datacenter, given by its moid."""
        return FileManager(self._tasks, Datacenters(self._datacenters.inventory, datacenter))

    def make_directory(
        self, path: DatastorePath, *, parents: bool = True, exist_ok: bool = False
    ) -> None:
        """Create a folder.

        Raises:
            FileAlreadyExists: it is there, and ``exist_ok`` was not given.
            FileNotFound: the folder above is not there, and ``parents`` was refused.
        """
        client = self._tasks.client
        try:
            client.call(
                client.content.fileManager,
                "MakeDirectory",
                name=str(path),
                datacenter=self._datacenters.moref(path),
                createParentDirectories=parents,
            )
        except AlreadyExists:
            if not exist_ok:
                raise

    def delete(self, path: DatastorePath, *, missing_ok: bool = False) -> None:
        """Delete a file, or a folder with everything in it.

        Raises:
            FileNotFound: it is not there, and ``missing_ok`` was not given.
            FileLocked: a virtual machine uses it.
        """
        try:
            self._tasks.run(
                self._tasks.client.content.fileManager,
                "DeleteDatastoreFile_Task",
                name=str(path),
                datacenter=self._datacenters.moref(path),
            )
        except FileNotFound:
            if not missing_ok:
                raise

    def move(
        self, source: DatastorePath, destination: DatastorePath, *, force: bool = False
    ) -> None:
        """Move or rename a file or folder; ``force`` replaces what is at the destination.

        Raises:
            FileAlreadyExists: something is at the destination.
            FileNotFound: the source is not there.
        """
        self._between("MoveDatastoreFile_Task", source, destination, force)

    def copy(
        self, source: DatastorePath, destination: DatastorePath, *, force: bool = False
    ) -> None:
        """Copy a file; raises as `move`."""
        self._between("CopyDatastoreFile_Task", source, destination, force)

    def _between(
        self, method: str, source: DatastorePath, destination: DatastorePath, force: bool
    ) -> None:
        self._tasks.run(
            self._tasks.client.content.fileManager,
            method,
            sourceName=str(source),
            sourceDatacenter=self._datacenters.moref(source),
            destinationName=str(destination),
            destinationDatacenter=self._datacenters.moref(destination),
            force=force,
        )
