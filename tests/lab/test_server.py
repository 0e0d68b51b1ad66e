"""The lab as a whole: what a start makes, what a restart keeps, what a kill leaves."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import socket
import stat
import threading
import time
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from pyVmomi import vim

from tests.lab.client import Session, context
from vmops.lab import Lab, LabSettings
from vmops.lab.state import LabRunsAlready, StateError, StateLock, running_pid

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any


@pytest.fixture
def settings(tmp_path: Path) -> LabSettings:
    return LabSettings(state_dir=tmp_path / "lab", hypervisor="none")


@contextmanager
def client(lab: Lab) -> Iterator[Any]:
    """The service content, in a session, from a client that verifies the certificate."""
    session = Session(lab)
    try:
        yield session.content
    finally:
        session.drop()


def test_a_start_makes_a_private_state_folder(settings: LabSettings) -> None:
    with Lab.run(settings) as lab:
        assert stat.S_IMODE(settings.state_dir.stat().st_mode) == 0o700
        for file in (settings.key_file, settings.password_file, settings.identity_file):
            assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert len(lab.password) >= 24
        with client(lab) as content:
            assert content.about.apiType == "VirtualCenter"
        assert lab.datastore_root("datastore1").is_dir()
        assert lab.wire_log.methods()["Login"] == 1


def test_a_single_host(tmp_path: Path) -> None:
    with Lab.run(LabSettings(state_dir=tmp_path, esx=True, hypervisor="none")) as lab:
        assert lab.username == "root"
        with client(lab) as content:
            assert content.about.apiType == "HostAgent"
            assert content.propertyCollector._moId == "ha-property-collector"


def test_a_restart_keeps_what_clients_know(settings: LabSettings) -> None:
    known = []
    for _ in range(2):
        with Lab.run(settings) as lab, client(lab) as content:
            about = content.about.instanceUuid
            known.append((lab.url, lab.password, lab.thumbprint, about))
    assert known[0] == known[1]


def test_another_port_if_somebody_has_taken_it(settings: LabSettings) -> None:
    with Lab.run(settings) as lab:
        before = lab.url
    port = json.loads(settings.identity_file.read_text())["port"]
    with socket.create_server(("127.0.0.1", port)), Lab.run(settings) as lab:
        assert lab.url != before
        with client(lab):
            pass


def test_a_port_that_is_asked_for_is_had_or_not(settings: LabSettings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        asked = replace(settings, port=taken)
        with pytest.raises(StateError, match=str(taken)), Lab.run(asked):
            pass
    with Lab.run(asked) as lab:
        assert lab.url == f"https://127.0.0.1:{taken}/sdk"


def test_one_lab_for_a_folder(settings: LabSettings) -> None:
    with Lab.run(settings) as lab:
        with pytest.raises(LabRunsAlready), Lab.run(settings):
            pass
        with client(lab):
            pass
    with Lab.run(settings):
        pass


def test_a_folder_keeps_its_kind(settings: LabSettings) -> None:
    with Lab.run(settings):
        pass
    other = LabSettings(state_dir=settings.state_dir, hypervisor="none", esx=True)
    with pytest.raises(StateError, match="vCenter"), Lab.run(other):
        pass


def test_a_damaged_identity_is_told(settings: LabSettings) -> None:
    with Lab.run(settings):
        pass
    settings.identity_file.write_text("{")
    with pytest.raises(StateError, match="damaged"), Lab.run(settings):
        pass


def test_it_listens_on_this_machine_only(settings: LabSettings) -> None:
    with Lab.run(settings):
        port = json.loads(settings.identity_file.read_text())["port"]
        listening = [
            line.split()[1]
            for line in Path("/proc/net/tcp").read_text().splitlines()[1:]
            if line.split()[3] == "0A" and line.split()[1].endswith(f":{port:04X}")
        ]
        assert listening == [f"0100007F:{port:04X}"]


def test_plain_http_gets_nothing(settings: LabSettings) -> None:
    with Lab.run(settings):
        port = json.loads(settings.identity_file.read_text())["port"]
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        connection.request("GET", "/")
        with pytest.raises((http.client.HTTPException, OSError)):
            connection.getresponse()
        connection.close()


def test_a_start_is_quick(settings: LabSettings) -> None:
    with Lab.run(settings):
        pass
    started = time.perf_counter()
    with Lab.run(settings):
        took = time.perf_counter() - started
    assert took < 1.0


def test_a_kill_saves_nothing_and_tells_nobody(settings: LabSettings) -> None:
    stopped = []

    async def watch(kernel: Any) -> None:
        async def hook() -> None:
            stopped.append(True)

        kernel.on_stop(hook)

    with Lab.run(settings) as lab:
        lab.on_loop(watch)
        with client(lab) as content:
            lab.kill()
            with pytest.raises((OSError, http.client.HTTPException)):
                content.viewManager.CreateListView([])
        lab.kill()
    assert not stopped
    with Lab.run(settings) as again, client(again):
        pass


@contextmanager
def silent_client(lab: Lab, connection: str) -> Iterator[socket.socket]:
    """The TCP connection of a client that had an answer over TLS and says no goodbye."""
    port = int(lab.url.rsplit(":", 1)[1].removesuffix("/sdk"))
    head = f"Host: localhost\r\nConnection: {connection}\r\n\r\n"
    tcp = socket.create_connection(("127.0.0.1", port), timeout=5)
    with context(lab.certificate_file).wrap_socket(tcp, server_hostname="localhost") as client:
        client.sendall(f"GET /sdk/vimServiceVersions.xml HTTP/1.1\r\n{head}".encode())
        assert client.recv(65536).startswith(b"HTTP/1.1 200")
        with socket.socket(fileno=os.dup(client.fileno())) as beneath:
            beneath.settimeout(5)
            yield beneath


@pytest.mark.parametrize("connection", ["keep-alive", "close"])
def test_a_stop_ends_the_connection_of_a_client_that_stays(
    settings: LabSettings, connection: str
) -> None:
    """With "close" the server has begun to close, and waits for the client's goodbye."""
    with ExitStack() as clients:
        with Lab.run(settings) as lab:
            beneath = clients.enter_context(silent_client(lab, connection))
            started = time.perf_counter()
        assert time.perf_counter() - started < 2
        while beneath.recv(65536):
            pass


@pytest.mark.parametrize("turns", range(6))
def test_a_stop_while_a_connection_is_lost(settings: LabSettings, turns: int) -> None:
    """However many turns ago the loop saw it, what is lost already is left alone."""
    with Lab.run(settings) as lab, ExitStack() as clients:
        clients.enter_context(silent_client(lab, "keep-alive"))

        async def leave_and_stop(_kernel: Any) -> None:
            clients.close()
            for _ in range(turns):
                await asyncio.sleep(0)
            await lab.stop()

        lab.on_loop(leave_and_stop)


def test_the_loop_can_be_asked(settings: LabSettings) -> None:
    async def count(kernel: Any) -> int:
        return sum(1 for _ in kernel.registry.of_wire_type(vim.Datacenter))

    with Lab.run(settings) as lab:
        assert lab.on_loop(count) == 1


def test_looking_whether_a_lab_runs_keeps_none_from_starting(settings: LabSettings) -> None:
    with Lab.run(settings):
        pass
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            running_pid(settings)

    lookers = [threading.Thread(target=look) for _ in range(2)]
    for each in lookers:
        each.start()
    try:
        for _ in range(20):
            StateLock(settings).release()
    finally:
        done.set()
        for each in lookers:
            each.join()
