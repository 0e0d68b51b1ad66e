"""A loop on a thread, ended in order and dead in its tracks."""

from __future__ import annotations

import asyncio
import gc
import socket

import pytest

from vmops.lab.loop_thread import LoopThread

writers: list[asyncio.StreamWriter] = []
"""Never closed, as by a process that dies."""


def test_results_and_errors_come_back() -> None:
    async def fail() -> None:
        raise ValueError("no")

    thread = LoopThread("test")
    assert thread.call(asyncio.sleep(0, "done")) == "done"
    with pytest.raises(ValueError, match="no"):
        thread.call(fail())
    thread.close()


def test_an_abandoned_loop_cleans_nothing_up_and_hangs_up_on_everybody() -> None:
    near, far = socket.socketpair()
    cleaned: list[str] = []

    async def hold() -> None:
        async def wait(reader: asyncio.StreamReader) -> None:
            try:
                await reader.read()
            finally:
                cleaned.append("up")

        reader, writer = await asyncio.open_connection(sock=near)
        writers.append(writer)
        tasks.append(asyncio.create_task(wait(reader)))

    tasks: list[asyncio.Task[None]] = []
    thread = LoopThread("test")
    thread.call(hold())
    thread.abandon()
    tasks.clear()
    del thread
    gc.collect()
    far.settimeout(5)
    assert far.recv(1) == b""
    assert cleaned == []
    far.close()
