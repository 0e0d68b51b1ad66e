"""``/folder``: the files of the datastores over HTTP.

``/folder/<path>?dcPath=<inventory path of the datacenter>&dsName=<datastore>``; shorter forms are
pages that list folders, datastores and datacenters. On an ESXi ``dcPath`` may be left out.
"""

from __future__ import annotations

import asyncio
import logging
import os
import stat
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path

from aiohttp import web

from vmops.lab.kernel.kernel import Kernel
from vmops.lab.objects.datastore_paths import datastores_of
from vmops.lab.operations.files_in_use import files_in_use
from vmops.lab.storage import datastore_files
from vmops.lab.storage.errors import FileExists, FileInUse, FileMissing, StorageError
from vmops.lab.storage.paths import DatastorePath
from vmops.lab.storage.volumes import Volumes
from vmops.lab.storage.writing import FileWriter
from vmops.lab.wire.folder_pages import folder_page, inventory_page
from vmops.lab.wire.folder_target import Place, place_of
from vmops.lab.wire.http_refusals import refused
from vmops.lab.wire.ranges import RangeNotSatisfiable, http_date, is_unchanged, requested_range
from vmops.lab.wire.session import require_session
from vmops.lab.wire.upload import receive, wait_for_handler

log = logging.getLogger(__name__)

_BLOCK_BYTES = 1024 * 1024


def routes(kernel: Kernel) -> list[web.RouteDef]:
    """Return the routes of ``/folder``."""
    folder = _Folder(kernel)
    return [
        route
        for path in ("/folder", r"/folder/{path:[\s\S]*}")
        for route in (
            web.get(path, folder.get, allow_head=False),
            web.head(path, folder.get),
            web.put(path, folder.put, expect_handler=wait_for_handler),
            web.delete(path, folder.delete),
        )
    ]


class _Folder:
    """The handlers. All of them need a session."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._volumes = kernel.service(Volumes)

    async def get(self, request: web.Request) -> web.StreamResponse:
        """Send a file, part of a file, or a page that lists a folder."""
        require_session(request)
        place = place_of(self._kernel, request)
        if place.datastore is None:
            return inventory_page(self._kernel, place)
        path = place.path
        try:
            if str(path) in files_in_use(self._kernel).exclusive:
                raise FileInUse(path)
            file = await self._kernel.blocking(datastore_files.existing, self._volumes, path)
            if file.is_dir():
                return await folder_page(self._kernel, place, file)
            descriptor = await self._kernel.blocking(_open, file)
        except (StorageError, OSError) as error:
            raise refused(error) from error
        try:
            return await _send(request, descriptor)
        finally:
            os.close(descriptor)

    async def put(self, request: web.Request) -> web.Response:
        """Create or replace a file: 201 or 200. Until all of the body is there nothing changes."""
        require_session(request)
        place = self._file(request)
        if "Content-Range" in request.headers:
            raise web.HTTPBadRequest(text="A part of a file cannot be put.")
        path = place.path
        try:
            files_in_use(self._kernel).check_changeable(path)
            is_new = await self._kernel.blocking(self._is_new, path)
            length = request.content_length or 0
            await self._kernel.blocking(self._volumes.require, path.datastore, length)
            made = await self._kernel.blocking(_make_folders, self._volumes, path.parent)
            try:
                await self._receive(request, path)
            except BaseException:
                for folder in reversed(made):
                    _remove_if_empty(folder)
                raise
        except (StorageError, OSError) as error:
            raise refused(error) from error
        finally:
            self._changed(path)
        return web.Response(status=HTTPStatus.CREATED if is_new else HTTPStatus.OK)

    async def delete(self, request: web.Request) -> web.Response:
        """Delete a file, not a folder: 204."""
        require_session(request)
        path = self._file(request).path
        try:
            files_in_use(self._kernel).check_changeable(path)
            file = await self._kernel.blocking(datastore_files.existing, self._volumes, path)
            if file.is_dir():
                raise FileExists(path)
            await self._kernel.blocking(datastore_files.delete, self._volumes, path)
        except (StorageError, OSError) as error:
            raise refused(error) from error
        self._changed(path)
        return web.Response(status=HTTPStatus.NO_CONTENT)

    def _file(self, request: web.Request) -> Place:
        place = place_of(self._kernel, request)
        if place.datastore is None or not place.path.path:
            raise web.HTTPMethodNotAllowed(request.method, ["GET", "HEAD"])
        return place

    def _is_new(self, path: DatastorePath) -> bool:
        return not datastore_files.find(self._volumes, path).exists()

    async def _receive(self, request: web.Request, path: DatastorePath) -> None:
        writer: FileWriter = await self._kernel.blocking(self._volumes.open_for_write, path)
        try:
            await receive(request, writer.write)
            await self._kernel.blocking(writer.commit)
        except BaseException:
            writer.abort()
            raise

    def _changed(self, path: DatastorePath) -> None:
        for datastore in datastores_of(self._kernel, path):
            datastore.storage_changed()


def _open(file: Path) -> int:
    # O_NONBLOCK: a named pipe must not make the opening wait for its other end.
    descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise FileMissing(file.name)
    return descriptor


async def _send(request: web.Request, descriptor: int) -> web.StreamResponse:
    status = os.fstat(descriptor)
    etag = f'"{status.st_mtime_ns:x}-{status.st_size:x}-{status.st_ino:x}"'
    headers = {
        "Accept-Ranges": "bytes",
        "ETag": etag,
        "Last-Modified": http_date(status.st_mtime),
        "Content-Type": "application/octet-stream",
    }
    start, end = 0, status.st_size
    code = HTTPStatus.OK
    asked = request.headers.get("Range") if request.method == "GET" else None
    if is_unchanged(request.headers.get("If-Range"), etag, status.st_mtime):
        try:
            part = requested_range(asked, status.st_size)
        except RangeNotSatisfiable as error:
            raise web.HTTPRequestRangeNotSatisfiable(
                headers={"Content-Range": f"bytes */{status.st_size}"}
            ) from error
        if part is not None:
            start, end = part
            code = HTTPStatus.PARTIAL_CONTENT
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{status.st_size}"
    response = web.StreamResponse(status=code, headers=headers)
    response.content_length = end - start
    try:
        await response.prepare(request)
        if request.method == "GET":
            await _send_bytes(request, response, descriptor, start, end)
        await response.write_eof()
    except ConnectionError:
        log.debug("the client of %s is gone", request.rel_url.raw_path)
    return response


async def _send_bytes(
    request: web.Request, response: web.StreamResponse, descriptor: int, start: int, end: int
) -> None:
    while start < end:
        size = min(_BLOCK_BYTES, end - start)
        block = await asyncio.to_thread(os.pread, descriptor, size, start)
        if not block:
            # The file was cut meanwhile: the client must not take what it has for the whole.
            if request.transport is not None:
                request.transport.abort()
            return
        await response.write(block)
        start += len(block)


def _make_folders(volumes: Volumes, path: DatastorePath) -> list[Path]:
    """Create a folder and those above it, as vCenter does for an upload; return the new ones.

    Raises:
        FileExists: a file stands where a folder is needed.
    """
    folder = datastore_files.find(volumes, path)
    missing = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    if not folder.is_dir():
        raise FileExists(path)
    missing.reverse()
    for each in missing:
        each.mkdir(exist_ok=True)
    return missing


def _remove_if_empty(folder: Path) -> None:
    with suppress(OSError):
        folder.rmdir()
