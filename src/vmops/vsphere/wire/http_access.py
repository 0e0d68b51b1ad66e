"""Plain HTTP requests in the session: datastore files and screens."""

from __future__ import annotations

import http.client
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from vmops import in_flight
from vmops.errors import (
    ConnectionLost,
    FileLocked,
    FileNotFound,
    NoDiskSpace,
    NoPermission,
    NotAuthenticated,
    TransferFailed,
    VMOpsError,
)
from vmops.vsphere.wire.answers import drain, refuse_encoded
from vmops.vsphere.wire.client import Client
from vmops.vsphere.wire.pool import ConnectionPool, HttpsConnection
from vmops.vsphere.wire.transfer import Progress, Upload, send

_READS = frozenset({"GET", "HEAD"})


class HttpAccess:
    """Requests with the session's cookie, over the session's connections: the one door for them."""

    def __init__(self, client: Client) -> None:
        self.client = client

    @contextmanager
    def exchange(
        self, method: str, target: str, headers: Mapping[str, str] | None = None
    ) -> Iterator[http.client.HTTPResponse]:
        """One request without a body. A session that ended is renewed once.

        Raises:
            ConnectionLost: see `ConnectionPool.borrow`.
            LeaseLost: it would change what another one has taken from the operation meanwhile.
        """
        if method not in _READS:
            in_flight.check()
        seen = self.client.logins
        with self._once(method, target, headers) as response:
            if response.status != http.HTTPStatus.UNAUTHORIZED:
                yield response
                drain(response)
                return
            drain(response)
        self.client.login_again(seen)
        with self._once(method, target, headers) as response:
            yield response
            drain(response)

    def send(self, upload: Upload, progress: Progress, pool: ConnectionPool | None = None) -> int:
        """One request with a body, and the status of its answer; raises as `transfer.send`.

        ``pool``: the connections to another server. The cookie goes to nobody but the session's.
        An operation that loses what it has for itself meanwhile sends no more.
        """
        in_flight.check()
        chosen = pool or self.client.pool
        headers = {**upload.headers, **self._cookie(chosen)}
        with self._borrow(upload.method, upload.target, chosen) as connection:
            return send(connection, replace(upload, headers=headers), progress).status

    @contextmanager
    def fetch(
        self, target: str, pool: ConnectionPool, headers: Mapping[str, str] | None = None
    ) -> Iterator[http.client.HTTPResponse]:
        """GET from this server or another one; what the body leaves unread is the caller's.

        Raises:
            ConnectionLost: see `ConnectionPool.borrow`.
        """
        with self._once("GET", target, headers, pool) as response:
            yield response

    @contextmanager
    def _once(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str] | None,
        pool: ConnectionPool | None = None,
    ) -> Iterator[http.client.HTTPResponse]:
        chosen = pool or self.client.pool
        with self._borrow(method, target, chosen) as connection:
            asked = {**(headers or {}), **self._cookie(chosen)}
            with connection.ask(method, target, asked) as response:
                refuse_encoded(response)
                connection.begin_transfer(response)
                yield response
                if response.will_close or not response.isclosed():
                    connection.close()

    @contextmanager
    def _borrow(self, method: str, target: str, pool: ConnectionPool) -> Iterator[HttpsConnection]:
        """A connection; whether the session's server answers is seen by this, too."""
        if pool is not self.client.pool:
            with pool.borrow() as connection:
                yield connection
            return
        vigil = self.client.vigil
        vigil.admit(f"{method} {target.partition('?')[0]}")
        begin = time.monotonic()
        patience = self.client.patience_for(is_change=method not in _READS)
        try:
            with pool.borrow(patience) as connection:
                yield connection
        except ConnectionLost:
            vigil.note_loss(begin)
            raise
        vigil.note_answer()

    def _cookie(self, pool: ConnectionPool) -> dict[str, str]:
        return {"Cookie": self.client.cookie} if pool is self.client.pool else {}


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
