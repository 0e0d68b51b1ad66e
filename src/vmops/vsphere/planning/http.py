"""The HTTP of a planning session: files are looked at and read, and nothing is written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self
from urllib.parse import parse_qs, quote, unquote, urlsplit

from vmops.errors import InvalidName
from vmops.model.datastore_path import DatastorePath
from vmops.vsphere.planning.client import planner_of, world_of
from vmops.vsphere.planning.plan import PlannedCall
from vmops.vsphere.wire.http_access import HttpAccess
from vmops.vsphere.wire.pool import ConnectionPool
from vmops.vsphere.wire.transfer import Progress, Upload

_ROOT = "/folder/"


class Answer:
    """An answer to a request that was not sent: a status without a body."""

    will_close = False
    length = 0

    def __init__(self, status: int) -> None:
        self.status = status
        self.headers: dict[str, str] = {}

    def read(self, size: int = -1) -> bytes:
        """Give the body, which is empty."""
        return b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        """Let go of nothing."""


class PlanningHttp(HttpAccess):
    """Looks at files and reads them; what would be written or deleted is recorded."""

    @contextmanager
    def exchange(
        self, method: str, target: str, headers: Mapping[str, str] | None = None
    ) -> Iterator[Any]:
        """See `HttpAccess.exchange`."""
        path = _file_of(target)
        there = None if path is None else self._look(path)
        if method not in {"GET", "HEAD"}:
            yield self._plan(method, target, path, there)
        elif isinstance(there, bool):
            yield Answer(200 if there else 404)
        else:
            asked = target if there is None else _at(target, there)
            with super().exchange(method, asked, headers) as response:
                yield response

    def send(self, upload: Upload, progress: Progress, pool: ConnectionPool | None = None) -> int:
        """See `HttpAccess.send`."""
        world, path = world_of(self.client), _file_of(upload.target)
        world.plan.record(
            PlannedCall(
                method=upload.method,
                target=str(path or unquote(upload.target)),
                arguments={"bytes": upload.size_bytes},
            )
        )
        if path is not None:
            world.files.made(path)
        return 201

    @contextmanager
    def fetch(
        self, target: str, pool: ConnectionPool, headers: Mapping[str, str] | None = None
    ) -> Iterator[Any]:
        """See `HttpAccess.fetch`; only leases are read from like this, and those are planned."""
        yield Answer(200)

    def _look(self, path: DatastorePath) -> bool | DatastorePath:
        files = world_of(self.client).files
        there = files.look(path)
        if isinstance(there, DatastorePath) and there in files.emptied:
            if planner_of(self.client).is_empty(there):
                files.gone(there)
                return False
            files.emptied.discard(there)
        return there

    def _plan(
        self,
        method: str,
        target: str,
        path: DatastorePath | None,
        there: bool | DatastorePath | None,
    ) -> Answer:
        world = world_of(self.client)
        call = PlannedCall(method=method, target=str(path or unquote(target)))
        world.plan.record(call)
        if isinstance(there, DatastorePath):
            with super().exchange("HEAD", _at(target, there)) as response:
                there = response.status != 404
        if there is False:
            call.note = "it is not there"
            return Answer(404)
        if path is not None:
            world.files.gone(path)
        return Answer(204)


def _file_of(target: str) -> DatastorePath | None:
    """The file that a URL's path and query name, None if they name none."""
    parts = urlsplit(target)
    names = parse_qs(parts.query).get("dsName")
    if not names or not parts.path.startswith(_ROOT):
        return None
    try:
        return DatastorePath(names[0], unquote(parts.path[len(_ROOT) :]))
    except InvalidName:
        return None


def _at(target: str, path: DatastorePath) -> str:
    """The same URL for another file; datastores between which files are moved are of one place."""
    query = parse_qs(urlsplit(target).query)
    datacenter = quote(query.get("dcPath", [""])[0], safe="")
    return f"{_ROOT}{quote(path.path)}?dcPath={datacenter}&dsName={quote(path.datastore, safe='')}"
