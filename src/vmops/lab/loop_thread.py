"""An event loop on a thread of its own, for callers that are not asynchronous."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

_abandoned: list[tuple[asyncio.AbstractEventLoop, set[asyncio.Task[Any]]]] = []
"""Loops that were stopped dead. Were their tasks collected, their clean-up would run after all."""


class LoopThread:
    """Runs coroutines on another thread's loop."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=name, daemon=True)
        self._thread.start()

    def call(self, work: Coroutine[Any, Any, T], timeout_s: float | None = None) -> T:
        """Run to the end and hand on what it returns or raises."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout_s)

    def close(self) -> None:
        """End the loop in order."""
        self.call(self._loop.shutdown_default_executor())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def abandon(self) -> None:
        """Stop the loop where it stands, as if the process had died."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        _abandoned.append((self._loop, asyncio.all_tasks(self._loop)))
