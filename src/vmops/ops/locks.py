"""One operation at a time on an instance."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from datetime import datetime

from vmops.errors import Busy


class InstanceLocks:
    """Who works on which instance in this process."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._held: dict[str, tuple[str, datetime]] = {}

    @contextlib.contextmanager
    def exclusive(self, instance_uuid: str, purpose: str) -> Iterator[None]:
        """Hold the instance for one operation, named by ``purpose`` ("spawn").

        Raises:
            Busy: another operation holds it; the message says which one and since when.
        """
        with self._guard:
            if held := self._held.get(instance_uuid):
                other, since = held
                raise Busy(
                    f"Instance {instance_uuid} is busy: {other} has been running"
                    f" since {since:%H:%M:%S}."
                )
            self._held[instance_uuid] = (purpose, datetime.now().astimezone())
        try:
            yield
        finally:
            with self._guard:
                del self._held[instance_uuid]
