"""Keeps the tests on this machine: a socket connects to loopback or not at all."""

from __future__ import annotations

import ipaddress
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

INTERNET = {socket.AF_INET, socket.AF_INET6}


class NetworkDenied(RuntimeError):
    """A test tried to leave this machine.

    Not an `OSError`, so that no code under test takes it for an endpoint that cannot be reached.
    """


@contextmanager
def loopback_only() -> Iterator[None]:
    """Refuse connections, datagrams and listening sockets that are not on loopback.

    Names other than `localhost` resolve to nothing, as on a machine without a network.
    """
    with pytest.MonkeyPatch.context() as patch:
        for method in ("connect", "connect_ex", "bind"):
            patch.setattr(socket.socket, method, guarded(getattr(socket.socket, method)))
        patch.setattr(socket.socket, "sendto", guarded(socket.socket.sendto))
        patch.setattr(socket, "getaddrinfo", local_names_only(socket.getaddrinfo))
        yield


def guarded(original: Any) -> Any:
    def call(self: socket.socket, *args: Any) -> Any:
        if self.family in INTERNET and args and not is_loopback(args[-1][0]):
            raise NetworkDenied(f"{original.__name__} {args[-1]}: tests stay on loopback")
        return original(self, *args)

    return call


def local_names_only(original: Any) -> Any:
    def getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        if name and name != "localhost" and not is_address(name):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known (in a test)")
        return original(host, *args, **kwargs)

    return getaddrinfo


def is_loopback(host: str) -> bool:
    return host == "localhost" or (is_address(host) and ipaddress.ip_address(host).is_loopback)


def is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
