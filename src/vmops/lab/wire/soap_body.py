"""The body of a SOAP request, read in two steps: the start of it, and the rest for who may send it.

Nobody is known before the start is read: it is small, and is soon there or never.
"""

from __future__ import annotations

import asyncio

from aiohttp import ClientError, web

from vmops.lab.wire.strict import invalid_request

MAX_REQUEST_BYTES = 32 * 1024 * 1024
"""Of who is logged in. The largest real requests carry an OVF descriptor of some megabytes."""
START_BYTES = 64 * 1024
"""All that who is not logged in may send; a Login has less than one KiB."""
START_S = 15.0
"""How long the start may take to come."""
REST_S = 120.0
"""How long all the rest may take."""


class SoapBody:
    """A request's body; what was read of it is kept, so that more than one may look at it."""

    def __init__(self, request: web.Request) -> None:
        self._request = request
        self._parts: list[bytes] = []
        self._size = 0
        self.is_whole = False

    @classmethod
    def of(cls, request: web.Request) -> SoapBody:
        """The one body of a request."""
        if (body := request.get(_BODY)) is None:
            body = request[_BODY] = cls(request)
        return body

    async def start(self) -> bytes:
        """Read the first bytes; `is_whole` then tells whether that is all.

        Raises:
            vmodl.fault.InvalidRequest: it does not come in time, or ends early.
        """
        await self._read(START_BYTES, START_S)
        return b"".join(self._parts)

    async def whole(self) -> bytes:
        """Read all of it.

        Raises:
            vmodl.fault.InvalidRequest: it is too large, does not come in time, or ends early.
        """
        await self._read(MAX_REQUEST_BYTES, REST_S)
        if not self.is_whole:
            raise invalid_request(f"The request is larger than {MAX_REQUEST_BYTES} bytes")
        return b"".join(self._parts)

    async def _read(self, limit: int, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                while not self.is_whole and self._size <= limit:
                    part = await self._request.content.readany()
                    self.is_whole = not part
                    self._parts.append(part)
                    self._size += len(part)
        except TimeoutError as error:
            raise invalid_request(f"The request did not come within {seconds:.0f} s") from error
        except (ClientError, web.RequestPayloadError, ConnectionError) as error:
            raise invalid_request("The request ended early or is malformed") from error


_BODY = web.RequestKey("soap_body", SoapBody)
