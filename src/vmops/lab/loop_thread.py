"""An event loop on a thread of its own, for callers that are not asynchronous."""

from __future__ import annotations

import asyncio
import atexit
import os
import selectors
import socket
import stat
import threading
import warnings
from collections.abc import Coroutine
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")

_abandoned: list[tuple[asyncio.AbstractEventLoop, set[asyncio.Task[object]]]] = []
"""Loops that were stopped dead. Were their tasks collected, their clean-up would run after all."""


class LoopThread:
    """Runs coroutines on another thread's loop."""

    def __init__(self, name: str) -> None:
        self._selector = selectors.DefaultSelector()
        self._loop = asyncio.SelectorEventLoop(self._selector)
        self._thread = threading.Thread(target=self._loop.run_forever, name=name, daemon=True)
        self._thread.start()

    def call(self, work: Coroutine[None, None, T], timeout_s: float | None = None) -> T:
        """Run to the end and hand on what it returns or raises."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout_s)

    def close(self) -> None:
        """End the loop in order."""
        self.call(self._loop.shutdown_default_executor())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def abandon(self) -> None:
        """Stop the loop where it stands, its sockets closed, as if the process had died."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task._log_destroy_pending = False  # type: ignore[attr-defined]
        if not _abandoned:
            # At the end of the process what was left open on purpose is not worth a warning.
            atexit.register(warnings.simplefilter, "ignore", ResourceWarning)
        _abandoned.append((self._loop, tasks))
        for key in list(self._selector.get_map().values()):
            # What the other end sees is what counts: the descriptors themselves are still held.
            if stat.S_ISSOCK(os.fstat(key.fd).st_mode):
                with suppress(OSError), socket.socket(fileno=os.dup(key.fd)) as end:
                    end.shutdown(socket.SHUT_RDWR)
