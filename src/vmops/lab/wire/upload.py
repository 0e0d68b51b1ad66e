"""Taking in the body of a request: read on the loop, written on a thread, both at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from aiohttp import ClientError, web
from aiohttp.streams import StreamReader

BLOCK_BYTES = 1024 * 1024
"""Handed to the disk at a time; at most two of them are in memory."""

WAIT_S = 120.0
"""How long a body may have nothing more to say before it is given up."""


async def wait_for_handler(request: web.Request) -> None:
    """Answer ``Expect: 100-continue`` later, in `receive`, when it is known that we want the body.

    To be given to aiohttp as a route's ``expect_handler``.
    """
    expected = request.headers.get("Expect", "")
    if expected.lower() != "100-continue":
        raise web.HTTPExpectationFailed(text=f"Unknown Expect: {expected[:80]!a}")


async def receive(request: web.Request, write: Callable[[bytes], object]) -> int:
    """Hand the body to ``write``, called on threads but never twice at once; return its length.

    What ``write`` raises is raised here.

    Raises:
        web.HTTPBadRequest: the body ended early, or its chunks are malformed.
        web.HTTPLengthRequired: neither a length nor chunks were announced.
        web.HTTPRequestTimeout: nothing more of it comes.
    """
    announced = request.content_length
    chunked = "chunked" in request.headers.get("Transfer-Encoding", "").lower()
    if announced is None and not chunked:
        raise web.HTTPLengthRequired
    if "Expect" in request.headers and request.writer is not None:
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0
    try:
        received = await _pump(request.content, write)
    except (
        ClientError,
        web.RequestPayloadError,
        ConnectionError,
        asyncio.IncompleteReadError,
    ) as e:
        raise web.HTTPBadRequest(text="The body ended early or is malformed.") from e
    except TimeoutError as e:
        raise web.HTTPRequestTimeout(text=f"Nothing more came for {WAIT_S:.0f} s.") from e
    if announced is not None and received != announced:
        raise web.HTTPBadRequest(text=f"{announced} bytes were announced, {received} came.")
    return received


async def _pump(content: StreamReader, write: Callable[[bytes], object]) -> int:
    loop = asyncio.get_running_loop()
    writing: asyncio.Future[object] | None = None
    received = 0
    try:
        while True:
            block = await _block(content)
            if writing is not None:
                await writing
                writing = None
            if not block:
                return received
            received += len(block)
            writing = loop.run_in_executor(None, write, block)
    finally:
        if writing is not None:
            # The thread must be done with the file before anyone closes it.
            with suppress(Exception):
                await asyncio.shield(writing)


async def _block(content: StreamReader) -> bytes:
    """Read until a block is full or the body ends; b"" at the end."""
    parts = []
    size = 0
    while size < BLOCK_BYTES:
        async with asyncio.timeout(WAIT_S):
            part = await content.readany()
        if not part:
            break
        parts.append(part)
        size += len(part)
    return b"".join(parts)
