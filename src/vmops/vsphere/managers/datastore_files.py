"""The contents of files on datastores, over HTTPS: ``/folder/<path>?dcPath=...&dsName=...``."""

from __future__ import annotations

import io
from collections.abc import Generator
from http import HTTPStatus
from typing import BinaryIO
from urllib.parse import quote

from vmops import units
from vmops.context import tell
from vmops.errors import FileNotFound, TransferFailed, VMOpsError
from vmops.model.datastore_path import DatastorePath
from vmops.numbers import whole_number
from vmops.vsphere.managers.datacenters import Datacenters
from vmops.vsphere.wire.http_access import HttpAccess, refusal
from vmops.vsphere.wire.transfer import BLOCK_BYTES, Progress, Upload, body

_RANGE_NOT_SATISFIABLE = 416
_REFUSED = 400
_SMALL_BYTES = 4 * units.MIB


class DatastoreFiles:
    """Uploads, downloads, and looks at files.

    All raise DatastoreNotFound for a path on a datastore that does not exist, FileNotFound for a
    file that does not, TransferFailed (with the HTTP status) for what has no class of its own.
    """

    def __init__(self, http: HttpAccess, datacenters: Datacenters) -> None:
        self._http = http
        self._datacenters = datacenters

    def within(self, datacenter: str) -> DatastoreFiles:
        """The same for datastores of one datacenter, given by its moid."""
        return DatastoreFiles(self._http, Datacenters(self._datacenters.inventory, datacenter))

    def target(self, path: DatastorePath) -> str:
        """The path and query of a file's URL."""
        datacenter = self._datacenters.info(path).inventory_path
        return (
            f"/folder/{quote(path.path)}"
            f"?dcPath={quote(datacenter, safe='')}&dsName={quote(path.datastore, safe='')}"
        )

    def upload(
        self, source: BinaryIO, size_bytes: int, path: DatastorePath, *, name: str = ""
    ) -> None:
        """Write a file: exactly ``size_bytes`` from ``source``. What was there is replaced.

        A source that can seek is sent once more if the session had expired.

        Raises:
            TransferFailed: the source is shorter or longer, or the server answers with a status
                that says so; what the datastore has then is not to be used.
            NoDiskSpace: the datastore is full.
            ConnectionLost: the server went away; a part of the file may be there.
        """
        target = self.target(path)
        seekable = source.seekable() if hasattr(source, "seekable") else False
        start = source.tell() if seekable else 0
        client = self._http.client
        seen = client.logins
        put = Upload(
            method="PUT",
            target=target,
            headers={"Content-Type": "application/octet-stream"},
            source=source,
            size_bytes=size_bytes,
        )
        status = self._http.send(put, Progress(tell, name or path.name, size_bytes))
        if status == 401 and seekable:
            client.login_again(seen)
            source.seek(start)
            status = self._http.send(put, Progress(tell, name or path.name, size_bytes))
        if status >= _REFUSED or status < 200:
            raise _transfer_error(refusal(status, str(path), "uploading"), status)

    def download(
        self,
        path: DatastorePath,
        *,
        start: int = 0,
        end: int | None = None,
        most_bytes: int | None = None,
    ) -> Generator[bytes, None, None]:
        """The file's bytes from ``start`` up to, without, ``end`` (None: all), in blocks.

        A start behind the file's end gives nothing; more than ``most_bytes`` is never taken.

        Raises:
            TransferFailed: the connection ended before the announced size, the file has more than
                ``most_bytes``, or the server gave another part than it was asked for.
        """
        headers = {}
        if start or end is not None:
            headers["Range"] = f"bytes={start}-{'' if end is None else end - 1}"
        with self._http.exchange("GET", self.target(path), headers) as response:
            if response.status == _RANGE_NOT_SATISFIABLE:
                return
            if response.status >= _REFUSED:
                raise refusal(response.status, str(path), "downloading")
            if start and response.status != HTTPStatus.PARTIAL_CONTENT:
                raise TransferFailed(f"The server gives no parts of files, such as {path}.")
            if end is not None:
                most_bytes = end - start
            yield from body(response, str(path), most_bytes)

    def read(self, path: DatastorePath) -> bytes:
        """A small file's bytes.

        Raises:
            TransferFailed: it is not small, or did not come whole.
        """
        return b"".join(self.download(path, most_bytes=_SMALL_BYTES))

    def write(self, path: DatastorePath, data: bytes) -> None:
        """Write a small file."""
        self.upload(io.BytesIO(data), len(data), path)

    def tail(self, path: DatastorePath, max_bytes: int) -> bytes:
        """The file's last bytes, at most so many."""
        headers = {"Range": f"bytes=-{max_bytes}"}
        with self._http.exchange("GET", self.target(path), headers) as response:
            if response.status == _RANGE_NOT_SATISFIABLE:  # an empty file
                return b""
            if response.status >= _REFUSED:
                raise refusal(response.status, str(path), "downloading")
            kept = b""
            while block := response.read(BLOCK_BYTES):
                # A server that knows no ranges sends all of it.
                kept = (kept + block)[-max_bytes:]
            return kept

    def size(self, path: DatastorePath) -> int:
        """The file's size in bytes.

        Raises:
            TransferFailed: the server says none.
        """
        with self._http.exchange("HEAD", self.target(path)) as response:
            if response.status >= _REFUSED:
                raise refusal(response.status, str(path), "looking at")
            said = response.headers.get("Content-Length", "0")
            if (size := whole_number(said)) is None:
                raise TransferFailed(f"The server gives {path} no size that is a number.")
            return size

    def exists(self, path: DatastorePath) -> bool:
        """Whether the file or folder is there."""
        with self._http.exchange("HEAD", self.target(path)) as response:
            if response.status == 404:
                return False
            if response.status >= _REFUSED:
                raise refusal(response.status, str(path), "looking at")
            return True

    def delete(self, path: DatastorePath, *, missing_ok: bool = False) -> None:
        """Delete a file.

        Raises:
            FileNotFound: it is not there, and ``missing_ok`` was not given.
            FileLocked: a virtual machine uses it.
        """
        with self._http.exchange("DELETE", self.target(path)) as response:
            status = response.status
        if status == 404 and missing_ok:
            return
        if status >= _REFUSED:
            raise refusal(status, str(path), "deleting")


def _transfer_error(error: VMOpsError, status: int) -> VMOpsError:
    """A file that cannot be written because it is not there: its folder or datastore is not."""
    if isinstance(error, FileNotFound):
        return TransferFailed(f"The folder to upload to does not exist: {error.name}.", status)
    return error
