"""Where a vSphere endpoint is."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from vmops.errors import InvalidArgument

HTTPS_PORT = 443


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

    def at(self, host: str, port: int | None = None) -> ServerAddress:
        """Another host of the same endpoint: an ESXi that serves a file or a lease."""
        return ServerAddress(host, port or HTTPS_PORT, self.path)
