"""Whom the lab listens to: who names it by an address or a local name, and no page of others.

A page can make a browser send requests, and a name of its own can lead to this machine (DNS
rebinding); neither is to reach the lab with what the browser knows.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from aiohttp import web

HOSTS_DOMAIN = ".lab.local"
"""Of the names that the lab's hosts have; public name services have nothing below it."""

_NAME = re.compile(r"[a-z0-9._-]+")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@web.middleware
async def only_from_here(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse by 403 what a browser sends for another site, and 400 without one Host header."""
    hosts = request.headers.getall("Host", [])
    if len(hosts) > 1 or (not hosts and request.version >= (1, 1)):
        raise web.HTTPBadRequest(text="There must be one Host header.")
    if hosts and not is_own_name(hosts[0]):
        raise web.HTTPForbidden(text="The lab is asked by an address or a local name only.")
    for origin in request.headers.getall("Origin", []):
        if not hosts or origin.lower() != f"https://{hosts[0].lower()}":
            raise web.HTTPForbidden(text="The lab answers no pages of other sites.")
    if request.headers.get("Sec-Fetch-Site", "none") not in {"none", "same-origin"}:
        raise web.HTTPForbidden(text="The lab answers no pages of other sites.")
    return await handler(request)


def is_own_name(host: str) -> bool:
    """Whether a Host header is one that no name service from outside can point here.

    Names without a dot are those of this machine and its network. Addresses of the machine
    differ by who looks at it, from a guest or through a tunnel.
    """
    try:
        parts = urlsplit(f"//{host}")
        name = parts.hostname or ""
        _ = parts.port  # raises ValueError for what is no port
        if parts.netloc != host or "@" in host or parts.path or parts.query or parts.fragment:
            return False
        if _NAME.fullmatch(name) and ("." not in name or name.endswith(HOSTS_DOMAIN)):
            return True
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
