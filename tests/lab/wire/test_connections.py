"""How long a connection may stay, and how many there are."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import pytest

from tests.lab.client import Client, connect, context
from vmops.lab import Lab
from vmops.lab.wire import connections, soap_body

PARTS = {
    "nothing": b"",
    "half a request line": b"GET / HT",
    "half a head": b"POST /sdk HTTP/1.1\r\nHost: 127.0.0.1\r\n",
    "half a body": b"POST /sdk HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5000\r\n\r\n<a>",
    "half a chunk": b"POST /sdk HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n5000\r\n<a>",
    "half a policy request": b"POST /pbm HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    b"Content-Length: 50\r\n\r\n<a>",
}


@pytest.fixture
def patient_for_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "FIRST_REQUEST_S", 1.0)
    monkeypatch.setattr(connections, "IDLE_UNKNOWN_S", 1.0)
    monkeypatch.setattr(soap_body, "START_S", 1.0)


def plain(lab: Lab) -> socket.socket:
    url = urlsplit(lab.url)
    return socket.create_connection((str(url.hostname), url.port), timeout=15)


def secured(lab: Lab) -> ssl.SSLSocket:
    return context(lab.certificate_file).wrap_socket(plain(lab), server_hostname="127.0.0.1")


def is_hung_up(line: socket.socket) -> bool:
    """Whether the lab ends the connection before we give up."""
    try:
        while line.recv(65536):
            pass
    except TimeoutError:
        return False
    except OSError:
        return True
    return True


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.usefixtures("patient_for_a_second")
def test_who_begins_and_does_not_go_on_is_hung_up_on(own: Client, part: str) -> None:
    with secured(own.lab) as line:
        line.sendall(PARTS[part])
        assert is_hung_up(line)


@pytest.mark.usefixtures("patient_for_a_second")
def test_who_says_one_byte_at_a_time_is_hung_up_on(own: Client) -> None:
    with secured(own.lab) as line:
        begin = time.monotonic()
        with pytest.raises(OSError):  # noqa: PT011  reset, broken pipe or the end of TLS
            for byte in b"GET / HTTP/1.1\r\nX: " + b"x" * 200:
                line.sendall(bytes([byte]))
                time.sleep(0.1)
        assert time.monotonic() - begin < 10


@pytest.mark.usefixtures("patient_for_a_second")
def test_who_does_not_begin_tls_is_hung_up_on(own: Client) -> None:
    with plain(own.lab) as line:
        assert is_hung_up(line)


@pytest.mark.usefixtures("patient_for_a_second")
def test_who_is_logged_in_may_pause(own: Client) -> None:
    connection = own.connection()
    headers = {"Cookie": own.cookie}
    connection.request("GET", own.url(""), headers=headers)
    assert connection.getresponse().read()
    before = connection.sock
    time.sleep(3)
    connection.request("GET", own.url(""), headers=headers)
    assert connection.getresponse().read()
    assert connection.sock is before
    connection.close()


@pytest.fixture
def flood(own: Client) -> Iterator[Callable[[int], list[socket.socket]]]:
    made: list[socket.socket] = []

    def open_many(count: int) -> list[socket.socket]:
        made.extend(plain(own.lab) for _ in range(count))
        return made

    yield open_many
    for each in made:
        each.close()


def test_a_flood_of_connections_keeps_nobody_out(
    own: Client, flood: Callable[[int], list[socket.socket]]
) -> None:
    lines = flood(connections.MOST_UNKNOWN + 50)
    assert own.service.CurrentTime()
    other = connect(own.lab)
    other.close()
    for line in lines[:40]:
        assert is_hung_up(line)
