"""Where a vSphere endpoint is."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from vmops.errors import InvalidArgument, VsphereFault

HTTPS_PORT = 443
_IN_A_URL = re.compile(r"[!-~]{1,4096}")
_HOST = re.compile(
    r"\*|[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,252})|[0-9A-Fa-f:.]{2,45}(?:%25[A-Za-z0-9._-]+)?"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A host with its port, and what is asked of it: path and query."""

    host: str
    port: int
    target: str


@dataclass(frozen=True, slots=True)
class ServerAddress:
    """Host, port and path of the endpoint; ``username`` is "" unless the URL had one."""

    host: str
    port: int = HTTPS_PORT
    path: str = "/sdk"
    username: str = ""

    @classmethod
    def parse(cls, url: str) -> ServerAddress:
        """Read "https://host[:port][/sdk]", "user@host" or just "host".

        Raises:
            InvalidArgument: it is no such URL, is not https, or has a password in it. The message
                never repeats the URL, because of that password.
        """
        try:
            parts = urlsplit(url.strip() if "://" in url else f"https://{url.strip()}")
            host, port = parts.hostname or "", parts.port
        except ValueError as error:
            raise InvalidArgument(f"The server's URL cannot be read: {error}.") from None
        if parts.password is not None:
            raise InvalidArgument(
                "The server's URL has a password in it; give the password separately, because URLs"
                " end up in logs and process lists."
            )
        if parts.scheme != "https":
            raise InvalidArgument(
                f"The server's URL begins with {parts.scheme}://; vSphere speaks https only."
            )
        if not host or any(c.isspace() for c in host):
            raise InvalidArgument("The server's URL names no host.")
        path = parts.path.rstrip("/") or "/sdk"
        return cls(host, port or HTTPS_PORT, path, unquote(parts.username or ""))

    @property
    def netloc(self) -> str:
        """Host and port as they stand in a URL, the port left out where it is 443."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == HTTPS_PORT else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """The endpoint's URL, without a user name."""
        return f"https://{self.netloc}{self.path}"

    def named(self, url: str) -> Target:
        """Where a URL leads that the server has told: for a lease, a disk, a ticket.

        "*" for its host is "the one you are talking to": an ESXi says so, and vcsim leaves out the
        port. What is in it goes into the line of a request, so nothing but such a URL is taken.

        Raises:
            VsphereFault: it is no https URL of a host and a path, or has a character in it that no
                such URL has.
        """
        try:
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port
        except ValueError:
            host, port, parts = "", None, urlsplit("")
        is_plain = _IN_A_URL.fullmatch(url) is not None and parts.username is None
        if not is_plain or parts.scheme != "https" or not _HOST.fullmatch(host) or port == 0:
            raise VsphereFault(
                "UnreadableAnswer", f"the server names a URL that is none: {url[:200]!r}"
            )
        if host == "*":
            host, port = self.host, port or self.port
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return Target(host=host, port=port or HTTPS_PORT, target=target)

    def at(self, host: str, port: int | None = None) -> ServerAddress:
        """Another host of the same endpoint: an ESXi that serves a file or a lease."""
        return ServerAddress(host, port or HTTPS_PORT, self.path)
