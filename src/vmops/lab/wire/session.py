"""Who sends an HTTP request: by cookie, by HTTP Basic, or by a one-use ticket."""

from __future__ import annotations

import base64
import binascii
from http.cookies import CookieError, SimpleCookie

from aiohttp import web

from vmops.lab.kernel.session_manager import SessionManager
from vmops.lab.kernel.sessions import Session
from vmops.lab.wire.connections import known

SESSION_COOKIE = "vmware_soap_session"
TICKET_COOKIE = "vmware_cgi_ticket"

SESSIONS = web.AppKey("sessions", SessionManager)


def cookie_session(request: web.Request) -> Session | None:
    """The session of the request's cookie, if it has one that is live."""
    token = _cookies(request).get(SESSION_COOKIE)
    return None if token is None else request.app[SESSIONS].by_token(token)


def require_session(request: web.Request) -> Session:
    """The session a request for files or screens is made in.

    Raises:
        aiohttp.web.HTTPUnauthorized: it names no live session, no ticket for exactly this
            request, and not the account's password.
    """
    sessions = request.app[SESSIONS]
    session = cookie_session(request)
    if session is None and (ticket := _cookies(request).get(TICKET_COOKIE)) is not None:
        session = sessions.by_ticket(
            ticket, request.method, request.path, request.rel_url.raw_query_string
        )
    if session is None and (login := _basic(request)) is not None:
        session = sessions.by_password(*login)
    if session is None:
        raise web.HTTPUnauthorized(headers={"WWW-Authenticate": 'Basic realm="VMware HTTP server"'})
    known(request)
    return session


def _cookies(request: web.Request) -> dict[str, str]:
    # pyVmomi sends the whole Set-Cookie value back, so values are quoted and attributes follow.
    cookies: SimpleCookie = SimpleCookie()
    for header in request.headers.getall("Cookie", ()):
        try:
            cookies.load(header)
        except CookieError:
            continue
    return {name: morsel.value for name, morsel in cookies.items()}


def _basic(request: web.Request) -> tuple[str, str] | None:
    scheme, _, encoded = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, found, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return (user, password) if found else None
