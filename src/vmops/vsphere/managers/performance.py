"""Performance counters: the server's latest figures of an object.

See: vSphere Web Services API, PerformanceManager; the counters' names and units are those of
"Performance Counters Reference" there, written ``group.name.rollup``.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any

from pyVmomi import vim

from vmops.errors import InvalidArgument, NotSupported
from vmops.vsphere.live.properties import Properties
from vmops.vsphere.wire.client import Client
from vmops.vsphere.wire.moref import Moref

REALTIME_S = 20
"""ESXi takes a sample every so many seconds, and keeps them for an hour."""

Samples = dict[tuple[str, str], int]
"""Values by counter and instance; the instance "" is the whole object."""


class Performance:
    """The performance manager of one endpoint."""

    def __init__(self, client: Client, properties: Properties) -> None:
        self._client = client
        self._properties = properties
        self._guard = threading.Lock()
        self._known: dict[str, int] | None = None

    def latest(self, moref: Moref, counters: Iterable[str]) -> Samples:
        """The newest sample of each counter, for the object and its parts; one call.

        The first question asks which counters there are, one call more. A counter that the server
        does not have or has no sample of is absent; all are where it has no such service.

        Raises:
            ManagedObjectNotFound: the object is gone.
        """
        ids = self._ids()
        wanted = {ids[name]: name for name in counters if name in ids}
        if not wanted:
            return {}
        query = vim.PerformanceManager.QuerySpec(
            entity=moref,
            maxSample=1,
            intervalId=REALTIME_S,
            format="normal",
            metricId=[
                vim.PerformanceManager.MetricId(counterId=counter, instance=instance)
                for counter in wanted
                for instance in ("", "*")
            ],
        )
        manager = self._client.content.perfManager
        try:
            answer = self._client.call(manager, "QueryPerf", querySpec=[query])
        except (InvalidArgument, NotSupported):  # nothing is sampled of this object
            return {}
        return {
            (wanted[series.id.counterId], str(series.id.instance or "")): int(series.value[-1])
            for found in answer or ()
            for series in getattr(found, "value", None) or ()
            if series.id.counterId in wanted and getattr(series, "value", None)
        }

    def _ids(self) -> dict[str, int]:
        """The server's numbers of its counters; they are the same as long as it runs."""
        with self._guard:
            if self._known is None:
                manager = getattr(self._client.content, "perfManager", None)
                found = {} if manager is None else self._read(manager)
                self._known = {
                    f"{each.groupInfo.key}.{each.nameInfo.key}.{each.rollupType}": int(each.key)
                    for each in found.get("perfCounter") or ()
                }
            return self._known

    def _read(self, manager: Moref) -> dict[str, Any]:
        return self._properties.read_one(manager, "perfCounter")
