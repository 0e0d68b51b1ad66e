"""The lab's HTTP side: SOAP under ``/sdk``, and the routes of files, leases and screens."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from aiohttp import web
from aiohttp.typedefs import Middleware

from vmops.lab.kernel.kernel import Kernel
from vmops.lab.kernel.session_manager import SessionManager
from vmops.lab.kernel.sessions import Exchange
from vmops.lab.wire.connections import count_requests, known
from vmops.lab.wire.dispatch import Dispatcher
from vmops.lab.wire.gate import only_from_here
from vmops.lab.wire.session import SESSION_COOKIE, SESSIONS, cookie_session, require_session
from vmops.lab.wire.soap_body import START_BYTES, SoapBody
from vmops.lab.wire.wire_log import WireLog
from vmops.lab.wire.wsdl import service_versions, wsdl

__all__ = ["application", "require_session"]

_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>vmops lab</title></head>
<body><h1>vmops lab</h1><p>A vSphere API endpoint: clients connect to <code>/sdk</code>.</p>
</body></html>
"""


def application(
    kernel: Kernel,
    sessions: SessionManager,
    wire_log: WireLog,
    routes: Iterable[web.AbstractRouteDef] = (),
    middlewares: Iterable[Middleware] = (),
) -> web.Application:
    """The web application; `routes` are those of the other protocols."""
    app = web.Application(
        client_max_size=START_BYTES, middlewares=[count_requests, only_from_here, *middlewares]
    )
    app[SESSIONS] = sessions
    soap = Soap(Dispatcher(kernel, wire_log))
    app.add_routes(
        [
            web.post("/sdk", soap.answer),
            web.post("/sdk/", soap.answer),
            web.post("/sdk/vimService", soap.answer),
            web.get("/sdk/vimService.wsdl", _wsdl),
            web.get("/sdk/vimServiceVersions.xml", _versions),
            web.get("/", _page),
            *routes,
        ]
    )
    return app


class Soap:
    """The SOAP endpoint of a service."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher

    async def answer(self, request: web.Request) -> web.Response:
        before = cookie_session(request)
        exchange = Exchange(
            request.remote or "",
            request.headers.get("User-Agent", ""),
            before,
            lambda: request.transport is not None and not request.transport.is_closing(),
        )
        body = SoapBody.of(request)
        status, content = await self._dispatcher.answer(
            body, request.headers.get("SOAPAction", ""), exchange
        )
        answer = _xml(status, content)
        if not body.is_whole:
            answer.force_close()  # what is left of the request is not read
        if exchange.session is not None:
            known(request)
        if exchange.session is not None and exchange.session is not before:
            answer.headers["Set-Cookie"] = (
                f'{SESSION_COOKIE}="{exchange.session.token}"; Path=/; HttpOnly; Secure;'
                " SameSite=Strict"
            )
        return answer


def _xml(status: int, content: bytes) -> web.Response:
    return web.Response(
        status=status,
        body=content,
        content_type="text/xml",
        charset="utf-8",
        headers={"Cache-Control": "no-cache"},
    )


async def _wsdl(request: web.Request) -> web.Response:
    # Making it takes some tenths of a second, and only suds asks for it.
    content = await asyncio.to_thread(wsdl, f"{request.url.origin()}/sdk")
    return _xml(200, content)


async def _versions(_request: web.Request) -> web.Response:
    return _xml(200, service_versions())


async def _page(_request: web.Request) -> web.Response:
    return web.Response(text=_PAGE, content_type="text/html")
