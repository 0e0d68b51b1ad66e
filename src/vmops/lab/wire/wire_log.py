"""What came over the wire, counted."""

from __future__ import annotations

from collections import Counter
from threading import Lock

KEPT = 10_000
"""Pairs of method and operation kept; the oldest goes for one more."""
NAME_LENGTH = 128
"""Characters kept of an operation's name."""


class WireLog:
    """Counts SOAP calls by method and by the operationID header. Safe from any thread."""

    def __init__(self) -> None:
        self._calls: Counter[tuple[str, str]] = Counter()
        self._lock = Lock()

    def count(self, method: str, operation_id: str) -> None:
        """Note one call; the operation id is empty where the client sent none."""
        operation_id = operation_id[:NAME_LENGTH]
        with self._lock:
            if len(self._calls) >= KEPT and (method, operation_id) not in self._calls:
                del self._calls[next(iter(self._calls))]
            self._calls[method, operation_id] += 1

    def calls(self) -> Counter[tuple[str, str]]:
        """(method, operation id) to the number of calls since the last `clear`."""
        with self._lock:
            return Counter(self._calls)

    def methods(self, operation_id: str | None = None) -> Counter[str]:
        """Method to number of calls, of one operation or of all."""
        counted: Counter[str] = Counter()
        for (method, operation), number in self.calls().items():
            if operation_id in (None, operation):
                counted[method] += number
        return counted

    def clear(self) -> None:
        """Forget all calls."""
        with self._lock:
            self._calls.clear()
