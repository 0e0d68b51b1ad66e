"""Plain HTTP requests in the session: datastore files and screens."""

from __future__ import annotations

import http.client
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from vmops.errors import (
    FileLocked,
    FileNotFound,
    NoDiskSpace,
    NoPermission,
    NotAuthenticated,
    TransferFailed,
    VMOpsError,
)
from vmops.vsphere.client import Client


class HttpAccess:
    """Requests with the session's cookie, over the session's connections."""

    def __init__(self, client: Client) -> None:
        self.client = client

    @contextmanager
    def exchange(
        self, method: str, target: str, headers: Mapping[str, str] | None = None
    ) -> Iterator[http.client.HTTPResponse]:
        """One request without a body. A session that ended is renewed once.

        Raises:
            ConnectionLost: see `ConnectionPool.borrow`.
        """
        seen = self.client.logins
        with self._once(method, target, headers) as response:
            if response.status != http.HTTPStatus.UNAUTHORIZED:
                yield response
                response.read()
                return
            response.read()
        self.client.login_again(seen)
        with self._once(method, target, headers) as response:
            yield response
            response.read()

    @contextmanager
    def _once(
        self, method: str, target: str, headers: Mapping[str, str] | None
    ) -> Iterator[http.client.HTTPResponse]:
        with self.client.pool.borrow() as connection:
            connection.request(
                method, target, headers={**(headers or {}), "Cookie": self.client.cookie}
            )
            with connection.getresponse() as response:
                yield response
                if response.will_close:
                    connection.close()


def refusal(status: int, what: str, doing: str) -> VMOpsError:
    """The error for an HTTP status of 400 or more; ``what`` is the file, ``doing`` "uploading"."""
    match status:
        case 401:
            return NotAuthenticated(f"The server refuses the session for {doing} {what}.")
        case 403:
            return NoPermission(f"The user may not do this: {doing} {what}.")
        case 404:
            return FileNotFound(what)
        case 423:
            return FileLocked(f"The file {what} is in use.")
        case 507:
            return NoDiskSpace(f"The datastore is full: {doing} {what} was refused.")
    return TransferFailed(f"The server answers HTTP status {status} to {doing} {what}.", status)
