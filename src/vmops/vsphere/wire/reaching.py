"""A TCP connection to a server: by one of its addresses, or through the proxy that leads there.

``HTTPS_PROXY`` and ``NO_PROXY``, in capitals or not, are those of curl and of Go: a proxy is asked
to CONNECT, so that it sees no more than the name of the host. This machine itself is reached
without one.
"""

from __future__ import annotations

import base64
import ipaddress
import socket
import threading
import time
import urllib.request
from dataclasses import dataclass
from typing import TypeAlias
from urllib.parse import unquote, urlsplit

from vmops import units
from vmops.errors import InvalidArgument

_PROXY_PORT = 3128
_MOST_HEAD_BYTES = 16 * units.KIB
_LEAST_S = 0.001
_Address: TypeAlias = tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]
_Found: TypeAlias = tuple[int, int, int, _Address]
"""What a socket is made of, and where it is to connect to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxy:
    """Where it is, and the credentials it wants, which no message shows."""

    host: str
    port: int
    credentials: str = ""

    def __repr__(self) -> str:
        return f"Proxy({self.host}:{self.port})"


def reach(host: str, port: int, end: float) -> socket.socket:
    """Connect until ``end``, by `time.monotonic`; through a proxy if the environment names one.

    Raises:
        OSError: it cannot be reached; TimeoutError if only the time was too short.
        InvalidArgument: the proxy's URL is none that is understood.
    """
    proxy = proxy_for(host)
    if proxy is None:
        return _connect(host, port, end)
    plain = _connect(proxy.host, proxy.port, end)
    try:
        _ask_through(plain, proxy, host, port, end)
    except BaseException:
        plain.close()
        raise
    return plain


def proxy_for(host: str) -> Proxy | None:
    """The proxy that leads to a host; None if the way is direct.

    Raises:
        InvalidArgument: it is no http:// URL with a host.
    """
    url = urllib.request.getproxies_environment().get("https", "")
    if not url or _is_here(host) or urllib.request.proxy_bypass(host):
        return None
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        where, port = parts.hostname or "", parts.port or _PROXY_PORT
    except ValueError:
        where, port, parts = "", 0, urlsplit("")
    if parts.scheme != "http" or not where:
        raise InvalidArgument(
            "HTTPS_PROXY names no proxy that can be used: it is to be http://host:port. Leave it"
            f" out, or name {host} in NO_PROXY."
        )
    user = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
    return Proxy(host=where, port=port, credentials=user if user != ":" else "")


def _is_here(host: str) -> bool:
    address = _address(host)
    return host == "localhost" or (address is not None and address.is_loopback)


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address that a host is named by; None: it has a name."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _connect(host: str, port: int, end: float) -> socket.socket:
    """Connect to the first address that answers; each has its share of the time."""
    found = addresses(host, port, end)
    failure: OSError = OSError("it has no address")
    for left, (family, kind, protocol, address) in zip(
        range(len(found), 0, -1), found, strict=True
    ):
        plain = socket.socket(family, kind, protocol)
        try:
            plain.settimeout(max((end - time.monotonic()) / left, _LEAST_S))
            plain.connect(address)
        except OSError as error:
            plain.close()
            failure = error
        else:
            return plain
    raise failure


def addresses(host: str, port: int, end: float) -> list[_Found]:
    """What `socket.getaddrinfo` finds until ``end``; that itself knows no limit.

    Raises:
        OSError: the name is not known.
        TimeoutError: nobody has answered for it.
    """
    if _address(host) is not None:  # nobody is asked
        return _ask(host, port)
    found: list[_Found] = []
    failure: list[OSError] = []

    def look_up() -> None:
        try:
            found.extend(_ask(host, port))
        except UnicodeError:
            failure.append(OSError("the host has no name that can be asked for"))
        except OSError as error:
            failure.append(error)

    # What is late ends by itself, at the resolver's own limit, and holds up nobody.
    asking = threading.Thread(target=look_up, name="vmops-resolve", daemon=True)
    asking.start()
    asking.join(max(end - time.monotonic(), _LEAST_S))
    if failure:
        raise failure[0]
    if asking.is_alive():
        raise TimeoutError(f"no answer to the question for the address of {host}")
    return found


def _ask(host: str, port: int) -> list[_Found]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [(family, kind, protocol, address) for family, kind, protocol, _, address in found]


def _ask_through(plain: socket.socket, proxy: Proxy, host: str, port: int, end: float) -> None:
    name = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    lines = [f"CONNECT {name} HTTP/1.1", f"Host: {name}"]
    if proxy.credentials:
        lines.append(f"Proxy-Authorization: Basic {_encoded(proxy.credentials)}")
    plain.settimeout(max(end - time.monotonic(), _LEAST_S))
    plain.sendall("\r\n".join([*lines, "", ""]).encode("ascii"))
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        plain.settimeout(max(end - time.monotonic(), _LEAST_S))
        # One by one: what follows the head is the server's.
        byte = plain.recv(1)
        head += byte
        if not byte or len(head) > _MOST_HEAD_BYTES:
            raise OSError(f"the proxy {proxy.host}:{proxy.port} gave no answer that is one")
    status = head.split(b"\r\n")[0].decode("ascii", "replace").split(" ", 2)
    if len(status) < 2 or not status[0].startswith("HTTP/1.") or status[1] != "200":
        said = " ".join(status[1:])[:100] or "nothing"
        raise OSError(f"the proxy {proxy.host}:{proxy.port} refuses to connect to {name}: {said}")


def _encoded(credentials: str) -> str:
    return base64.b64encode(credentials.encode()).decode("ascii")
