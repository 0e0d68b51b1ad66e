"""The way to a server: through a proxy where the environment names one, by names that are known."""

from __future__ import annotations

import base64
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

import vmops
from tests.vsphere.conftest import Place
from vmops.errors import ConnectionLost, InvalidArgument
from vmops.model.datastore_path import DatastorePath
from vmops.vsphere.session import Session
from vmops.vsphere.wire import reaching

NAME = "vcenter.lab.local"
USER, WORD = "proxy user", "a:secret/ü"


class ConnectProxy:
    """Takes CONNECT requests, and leads each to one port of this machine."""

    def __init__(self, leads_to: int, answer: bytes = b"HTTP/1.1 200 Connected\r\n\r\n") -> None:
        self.heads: list[str] = []
        self._leads_to = leads_to
        self._answer = answer
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> ConnectProxy:
        return self

    def __exit__(self, *_: object) -> None:
        for sock in (self._listener, *self._open):
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._open.append(client)
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += client.recv(1)
            self.heads.append(head.decode())
            client.sendall(self._answer)
            server = socket.create_connection(("127.0.0.1", self._leads_to))
            self._open.append(server)
            for source, target in ((client, server), (server, client)):
                threading.Thread(target=self._pass, args=(source, target), daemon=True).start()

    @staticmethod
    def _pass(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)


@pytest.fixture
def port(lab: Place) -> int:
    return int(lab.url.rpartition(":")[2].partition("/")[0])


@pytest.fixture
def proxy(port: int) -> Iterator[ConnectProxy]:
    with ConnectProxy(port) as running:
        yield running


@pytest.fixture(autouse=True)
def no_other_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)


def connect(place: Place, host: str) -> Session:
    return vmops.connect(
        f"https://{host}", place.username, place.password, thumbprint=place.thumbprint
    )


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy"])
def test_calls_and_files_go_through_the_proxy(
    lab: Place, proxy: ConnectProxy, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
    with connect(lab, NAME) as session:
        datastore = session.inventory.datastores()[0].name
        file = DatastorePath(datastore, "by-proxy.txt")
        session.datastore_files.write(file, b"text")
        assert session.datastore_files.read(file) == b"text"
        session.datastore_files.delete(file)
    assert {head.splitlines()[0] for head in proxy.heads} == {f"CONNECT {NAME}:443 HTTP/1.1"}


def test_a_proxy_gets_its_credentials_and_no_message_does(
    lab: Place, proxy: ConnectProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"127.0.0.1:{proxy.port}")
    assert repr(reaching.proxy_for(NAME)) == f"Proxy(127.0.0.1:{proxy.port})"
    url = f"http://proxy%20user:a%3Asecret%2F%C3%BC@127.0.0.1:{proxy.port}"
    monkeypatch.setenv("HTTPS_PROXY", url)
    assert "secret" not in repr(reaching.proxy_for(NAME))
    connect(lab, NAME).close()
    given = proxy.heads[0].partition("Proxy-Authorization: Basic ")[2].splitlines()[0]
    assert base64.b64decode(given).decode() == f"{USER}:{WORD}"


@pytest.mark.parametrize("left_out", [NAME, ".lab.local", "*", f"other,{NAME}"])
def test_no_proxy_names_hosts_that_are_reached_without(
    lab: Place, proxy: ConnectProxy, monkeypatch: pytest.MonkeyPatch, left_out: str
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
    monkeypatch.setenv("NO_PROXY", left_out)
    with pytest.raises(ConnectionLost):
        connect(lab, NAME)
    assert proxy.heads == []


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.9.9.9"])
def test_this_machine_is_reached_without(
    host: str, proxy: ConnectProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
    assert reaching.proxy_for(host) is None


@pytest.mark.parametrize(
    "url", ["socks5://127.0.0.1:1", "https://127.0.0.1:1", "http://:x", "http://", "http://[::1"]
)
def test_another_kind_of_proxy_is_refused(
    lab: Place, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", url)
    with pytest.raises(InvalidArgument, match=r"HTTPS_PROXY .* http://host:port.* NO_PROXY"):
        connect(lab, NAME)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "407 Proxy Authentication"),
        (b"HTTP/1.1 200 OK", "gave no answer"),
        (b"SSH-2.0\r\n\r\n", "refuses"),
        (b"x" * 20_000, "gave no answer"),
    ],
)
def test_a_proxy_that_refuses_is_told_of(
    lab: Place, port: int, monkeypatch: pytest.MonkeyPatch, answer: bytes, said: str
) -> None:
    with ConnectProxy(port, answer) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
        # The rest of an answer that was cut off never comes.
        limits = vmops.Limits().times(0.1)
        with pytest.raises(ConnectionLost) as raised:
            vmops.connect(
                f"https://{NAME}", lab.username, lab.password, insecure=True, limits=limits
            )
        assert said in str(raised.value) or "no connection within" in str(raised.value)


def test_a_resolver_that_is_silent_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    silent = threading.Event()

    def look_up(*_: object, **__: object) -> list[object]:
        silent.wait(20)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    begin = time.monotonic()
    try:
        with pytest.raises(TimeoutError, match=NAME):
            reaching.reach(NAME, 443, time.monotonic() + 0.2)
    finally:
        silent.set()
    assert time.monotonic() - begin < 10


@pytest.mark.parametrize("host", ["a" * 64 + ".example", "a..b", "\udcff.example"])
def test_a_name_that_is_none_is_an_error(host: str) -> None:
    with pytest.raises(OSError, match=r"(?i)name"):
        reaching.reach(host, 443, time.monotonic() + 5)
