"""Work that must not be left half done, not even by a lab that stops."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


async def to_its_end(work: Awaitable[T], undo: Callable[[T], object] | None = None) -> T:
    """Await some work; when this is cancelled meanwhile, only after the work has ended.

    A thread cannot be interrupted, and what it makes after that could not be taken back. What it
    made before is handed to ``undo`` then.
    """
    running = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait([running])
        # A failure is seen, and the cancellation counts.
        if not running.cancelled() and running.exception() is None and undo is not None:
            undo(running.result())
        raise
