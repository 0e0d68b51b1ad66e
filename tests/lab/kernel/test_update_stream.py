"""A stream of updates that ends while somebody waits for it."""

from __future__ import annotations

import asyncio

import pytest

from vmops.lab.kernel.updates import UpdateStream


class Gone(Exception):
    pass


def test_whoever_waits_hears_of_the_end() -> None:
    async def run() -> None:
        stream = UpdateStream()
        waiting = asyncio.create_task(stream.wait("", None, None))
        await asyncio.sleep(0)
        stream.end(Gone())
        with pytest.raises(Gone):
            await asyncio.wait_for(waiting, 1)

    asyncio.run(run())


def test_a_cancellation_reaches_who_was_woken_in_the_same_moment() -> None:
    async def run() -> None:
        stream = UpdateStream()
        waiting = asyncio.create_task(stream.wait("", None, None))
        await asyncio.sleep(0)
        stream._wake()  # a change came that this one is not told of
        stream.cancel(Gone())
        with pytest.raises(Gone):
            await asyncio.wait_for(waiting, 1)
        later = asyncio.create_task(stream.wait("", None, 0.01))
        assert await later is None  # who comes afterwards is not cancelled

    asyncio.run(run())


def test_who_was_woken_in_the_same_moment_hears_of_it_too() -> None:
    async def run() -> None:
        stream = UpdateStream()
        waiting = asyncio.create_task(stream.wait("", None, None))
        await asyncio.sleep(0)
        stream._wake()  # a change came, and the waiting one has not looked yet
        stream.end(Gone())
        with pytest.raises(Gone):
            await asyncio.wait_for(waiting, 1)

    asyncio.run(run())


def test_who_comes_later_does_not_wait() -> None:
    async def run() -> None:
        stream = UpdateStream()
        stream.end(Gone())
        with pytest.raises(Gone):
            await asyncio.wait_for(stream.wait("", None, None), 1)

    asyncio.run(run())
