"""The guard that keeps tests on this machine does keep them there."""

from __future__ import annotations

import socket

import pytest

from tests.guards.network import NetworkDenied

# TEST-NET-1 of RFC 5737: routed nowhere, should the guard ever fail.
OUTSIDE = ("192.0.2.1", 443)


@pytest.mark.parametrize("method", ["connect", "connect_ex", "bind"])
def test_a_socket_does_not_leave_loopback(method: str) -> None:
    with socket.socket() as stream, pytest.raises(NetworkDenied):
        getattr(stream, method)(OUTSIDE)


def test_a_listening_socket_is_not_open_to_others() -> None:
    with socket.socket() as stream, pytest.raises(NetworkDenied):
        stream.bind(("0.0.0.0", 0))  # noqa: S104  the refusal is what is tested


def test_a_datagram_does_not_leave_loopback() -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as datagram, pytest.raises(NetworkDenied):
        datagram.sendto(b"x", OUTSIDE)


def test_names_of_others_do_not_resolve() -> None:
    with pytest.raises(socket.gaierror):
        socket.getaddrinfo("vcenter.example.com", 443)


def test_loopback_stays_usable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()
        with socket.create_connection(("localhost", address[1]), timeout=5) as client:
            client.sendall(b"ping")
            connection, _ = server.accept()
            with connection:
                assert connection.recv(4) == b"ping"
