"""Work that must not be left half done, not even by a lab that stops."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")


async def to_its_end(work: Awaitable[T]) -> T:
    """Await some work; when the lab stops meanwhile, only after it has ended.

    A thread cannot be interrupted, and what it makes after that could not be taken back.
    """
    running = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait([running])
        if not running.cancelled():
            running.exception()  # seen: the cancellation counts
        raise
