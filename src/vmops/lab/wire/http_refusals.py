"""The one table from a storage error to the HTTP status of ``/folder`` and ``/nfc``."""

from __future__ import annotations

import errno
from http import HTTPStatus

from aiohttp import web

from vmops.lab.storage.datastore_files import CannotDelete
from vmops.lab.storage.errors import (
    FileExists,
    FileInUse,
    FileMissing,
    InvalidDatastorePath,
    InvalidDisk,
    NoSpace,
    StorageError,
    UnknownDatastore,
)


class HTTPLocked(web.HTTPClientError):
    """The file is held by a running virtual machine (RFC 4918, section 11.3)."""

    status_code = HTTPStatus.LOCKED


_STATUS: tuple[tuple[type[StorageError], type[web.HTTPError]], ...] = (
    (FileMissing, web.HTTPNotFound),
    (UnknownDatastore, web.HTTPNotFound),
    (InvalidDatastorePath, web.HTTPBadRequest),
    (InvalidDisk, web.HTTPBadRequest),
    (FileExists, web.HTTPConflict),
    (FileInUse, HTTPLocked),
    (CannotDelete, web.HTTPForbidden),
    (NoSpace, web.HTTPInsufficientStorage),
)
_FULL = (errno.ENOSPC, errno.EDQUOT)
_GONE = (errno.ENOENT, errno.ENOTDIR)


def refused(error: StorageError | OSError) -> web.HTTPError:
    """Return the answer for an error; its text names no path of this machine."""
    if isinstance(error, OSError):
        if error.errno in _FULL:
            return web.HTTPInsufficientStorage(text="The datastore is full.")
        if error.errno in _GONE:  # another request deletes it at this moment
            return web.HTTPNotFound(text="The file is not there any more.")
        return web.HTTPInternalServerError(text=error.strerror or "Input/output error")
    for kind, answer in _STATUS:
        if isinstance(error, kind):
            return answer(text=str(error))
    return web.HTTPInternalServerError(text=str(error))
