"""A server that says nothing, or too little: after how long each call is given up, and how."""

from __future__ import annotations

import io
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from pyVmomi import vim

import vmops
from tests.vsphere.conftest import MakeVm, Place, eventually
from tests.vsphere.silencer import Silencer, Way
from vmops.context import operation
from vmops.errors import ConnectionLost
from vmops.lab import Lab, LabSettings
from vmops.model.datastore_path import DatastorePath
from vmops.units import MIB
from vmops.vsphere.session import Session
from vmops.vsphere.wire import pool
from vmops.vsphere.wire.limits import Limits

# A quarter of the real ones, and transfers that are given up after 2 s.
SHORT = replace(Limits().times(0.25), answer_s=6.0, transfer_silence_s=2.0, least_rate=20_000)
ROOT = vim.ServiceInstance("ServiceInstance")


@pytest.fixture
def silencer(lab: Place, tmp_path: Path) -> Iterator[Silencer]:
    with Silencer(lab.url, tmp_path) as silencer:
        silencer.byte_s = 0.02
        yield silencer


def connect(lab: Place, silencer: Silencer, limits: Limits = SHORT) -> Session:
    return vmops.connect(
        silencer.url,
        lab.username,
        lab.password,
        ca_file=silencer.ca_file,
        timeout_s=limits.answer_s,
        limits=limits,
    )


@pytest.fixture
def session(lab: Place, silencer: Silencer) -> Iterator[Session]:
    with connect(lab, silencer) as connected:
        yield connected


def seconds_until_lost(do: Callable[[], object], match: str | None = None) -> float:
    begin = time.monotonic()
    with pytest.raises(ConnectionLost, match=match):
        do()
    return time.monotonic() - begin


def name_of_root(session: Session) -> str:
    return str(session.properties.read_one(session.content.rootFolder, "name")["name"])


def test_the_numbers_of_the_table() -> None:
    limits = Limits()
    assert limits.handshake_s < limits.window_s
    assert limits.read_silence_s + limits.look_s < 15
    assert limits.window_s + limits.handshake_s < 15
    assert limits.change_silence_s + 3 * limits.look_s < 30
    assert limits.answer_s == limits.transfer_silence_s == 60
    assert limits.least_rate == 1024
    assert limits.times(0.5).answer_s == 30
    assert limits.times(0.5).least_rate == 2048


# A hole before the first read


@pytest.mark.parametrize("way", ["hole", "deaf"])
def test_a_read_from_a_hole_ends(session: Session, silencer: Silencer, way: Way) -> None:
    name_of_root(session)
    silencer.silence_all(way)
    spent = seconds_until_lost(lambda: name_of_root(session), "has not answered anything for 3")
    assert SHORT.read_silence_s <= spent < SHORT.read_silence_s + 1


def test_a_connection_to_a_hole_ends_with_the_handshakes_limit(
    lab: Place, silencer: Silencer
) -> None:
    silencer.silence_all()
    spent = seconds_until_lost(lambda: connect(lab, silencer), "Cannot reach")
    assert SHORT.handshake_s <= spent < SHORT.handshake_s + 1


def test_a_login_at_a_server_that_only_listens_ends(lab: Place, silencer: Silencer) -> None:
    silencer.silence("RetrieveServiceContent")
    spent = seconds_until_lost(lambda: connect(lab, silencer), "has not answered anything")
    assert SHORT.read_silence_s <= spent < SHORT.read_silence_s + 1


def test_a_session_in_a_hole_is_closed_soon(lab: Place, silencer: Silencer) -> None:
    session = connect(lab, silencer)
    session.inventory.wait_fresh()
    silencer.silence_all()
    seconds_until_lost(lambda: name_of_root(session))
    begin = time.monotonic()
    session.close()
    assert time.monotonic() - begin < 1


def test_a_hole_that_ends_is_come_through(session: Session, silencer: Silencer) -> None:
    name_of_root(session)
    silencer.silence("RetrievePropertiesEx", scope="connection")
    begin = time.monotonic()
    assert name_of_root(session)
    # The server answers on another connection, so the question goes there.
    assert SHORT.another_s <= time.monotonic() - begin < SHORT.another_s + 1.5
    assert silencer.calls["RetrievePropertiesEx"] == 2


def test_a_slow_answer_is_waited_for(
    lab: Place, silencer: Silencer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with connect(lab, silencer) as session:
        folder = session.inventory.datacenters()[0].vm_folder
        silencer.silence("CreateFolder", scope="connection")
        spent = seconds_until_lost(
            lambda: session.call(folder, "CreateFolder", name="slow"),
            "did not answer within 6 seconds",
        )
        # Longer than a server is waited for that answers nobody.
        assert SHORT.change_silence_s < 6 <= spent < 7
        assert name_of_root(session)


# A hole after a change


def test_a_change_into_a_hole_ends_and_what_follows_is_not_sent(
    session: Session, silencer: Silencer
) -> None:
    folder = session.inventory.datacenters()[0].vm_folder
    silencer.silence("CreateFolder")
    begin = time.monotonic()
    with operation("test"):
        spent = seconds_until_lost(lambda: session.call(folder, "CreateFolder", name="never"))
        assert SHORT.change_silence_s <= spent < SHORT.change_silence_s + 1
        for _ in range(10):
            seconds_until_lost(
                lambda: session.call(folder, "CreateFolder", name="never"), "was not sent"
            )
            seconds_until_lost(lambda: name_of_root(session), "was not sent")
    assert silencer.calls["CreateFolder"] == 1
    assert time.monotonic() - begin < 30 * 0.25


def test_a_server_that_is_back_is_found_by_the_next_call(
    session: Session, silencer: Silencer
) -> None:
    name_of_root(session)
    silencer.silence_all()
    seconds_until_lost(lambda: name_of_root(session))
    silencer.speak()
    assert name_of_root(session)


def test_an_operations_troubles_are_counted_together(session: Session, silencer: Silencer) -> None:
    name_of_root(session)
    limits = session.client.limits
    with operation("test"):
        for _ in range(3):
            # Each costs more than a third of what the operation may spend.
            silencer.silence("CurrentTime", scope="connection")
            begin = time.monotonic()
            try:
                session.call(ROOT, "CurrentTime")
            except ConnectionLost:
                break
            assert time.monotonic() - begin >= limits.another_s
        else:
            pytest.fail("no trouble was one too many")


# Bytes that trickle


def test_an_answer_that_trickles_has_a_deadline(session: Session, silencer: Silencer) -> None:
    name_of_root(session)
    silencer.silence("RetrievePropertiesEx", way="trickle")
    silencer.byte_s = 0.1
    spent = seconds_until_lost(lambda: name_of_root(session), "did not answer within 6 seconds")
    assert 6 <= spent < 7.5


# Transfers


class Endless(io.BytesIO):
    def readinto(self, block: object, /) -> int:
        return len(block)  # type: ignore[arg-type]


@pytest.mark.parametrize("scope", ["all", "connection"])
@pytest.mark.parametrize("way", ["hole", "deaf"])
def test_an_upload_that_does_not_go_on_ends(
    session: Session, silencer: Silencer, way: Way, scope: str
) -> None:
    file = DatastorePath(session.inventory.datastores()[0].name, "silent.bin")
    silencer.silence("PUT /folder", way=way, where="upload", scope=scope)  # type: ignore[arg-type]
    size = 64 * MIB if way == "deaf" else 2 * MIB
    spent = seconds_until_lost(lambda: session.datastore_files.upload(Endless(), size, file))
    assert SHORT.transfer_silence_s <= spent < SHORT.transfer_silence_s + 2


def big_file(lab: Place) -> DatastorePath:
    with lab.connect() as direct:
        file = DatastorePath(direct.inventory.datastores()[0].name, "big-for-silence.bin")
        direct.datastore_files.write(file, bytes(4 * MIB))
    return file


@pytest.mark.parametrize("way", ["hole", "trickle"])
def test_a_download_that_does_not_go_on_ends(
    lab: Place, session: Session, silencer: Silencer, way: Way
) -> None:
    file = big_file(lab)
    session.inventory.wait_fresh()
    silencer.silence("GET /folder", way=way, where="download", scope="connection")
    spent = seconds_until_lost(
        lambda: session.datastore_files.read(file),
        "moved no byte" if way == "hole" else "moved only",
    )
    assert SHORT.transfer_silence_s <= spent < SHORT.transfer_silence_s + 2.5


def test_a_reader_that_takes_its_time_is_not_the_servers_fault(
    lab: Place, session: Session
) -> None:
    file = big_file(lab)
    size = 0
    for block in session.datastore_files.download(file):
        if not size:
            time.sleep(SHORT.transfer_silence_s + 0.5)
        size += len(block)
    assert size == 4 * MIB


# The stream alone


def test_tasks_and_inventory_are_asked_for_where_the_stream_is_dead(
    lab: Place, silencer: Silencer, make_vm: MakeVm
) -> None:
    silencer.silence("WaitForUpdatesEx", nth=0, scope="connection")
    with connect(lab, silencer) as session:
        begin = time.monotonic()
        vm, uuid = make_vm(session)
        vm.power_on()
        assert vm.power_state() == "poweredOn"
        found = eventually(lambda: session.inventory.vm_by_uuid(uuid))
        assert found.power_state == "poweredOn"
        assert not session.inventory.is_loaded
        vm.power_off()
        vm.destroy()
        eventually(lambda: session.inventory.vm_by_uuid(uuid) is None)
        # Each task ends at once; the rest is the one wait for the stream, and the asking.
        assert time.monotonic() - begin < SHORT.stream_silence_s + 2 * 1.0 + 4 * 1.0


def test_a_tasks_end_is_known_soon_where_the_stream_is_dead(
    tmp_path: Path, make_vm: MakeVm
) -> None:
    task_s = 3.0
    settings = LabSettings(state_dir=tmp_path / "lab", hypervisor="none", task_delay_s=task_s)
    with Lab.run(settings) as slow, Silencer(slow.url, tmp_path) as silencer:
        place = Place("lab", slow.url, slow.username, slow.password, slow.thumbprint)
        silencer.silence("WaitForUpdatesEx", nth=0, scope="connection")
        with connect(place, silencer) as session:
            session.inventory.wait_fresh()
            begin = time.monotonic()
            vm, _ = make_vm(session)
            assert task_s <= time.monotonic() - begin < task_s + 2
            vm.destroy()


def test_an_inventory_that_was_asked_for_is_that_of_the_stream(
    lab: Place, silencer: Silencer
) -> None:
    silencer.silence("WaitForUpdatesEx", nth=0, scope="connection")
    with connect(lab, silencer) as asking, lab.connect() as told:
        for what in ("datacenters", "clusters", "hosts", "datastores", "networks"):
            asked = {each.moid: each for each in getattr(asking.inventory, what)()}
            heard = {each.moid: each for each in getattr(told.inventory, what)()}
            if what == "datastores":
                asked = {n: replace(each, free_bytes=0) for n, each in asked.items()}
                heard = {n: replace(each, free_bytes=0) for n, each in heard.items()}
            assert asked == heard


def test_a_poll_without_an_answer_makes_no_server_away(lab: Place, silencer: Silencer) -> None:
    silencer.silence("WaitForUpdatesEx", nth=0, scope="connection")
    with connect(lab, silencer) as session:
        assert session.inventory.clusters()
        # Nobody calls meanwhile.
        end = time.monotonic() + 2 * SHORT.answer_s
        while not session.client.vigil.is_away and session.counts["WaitForUpdatesEx"] < 2:
            assert time.monotonic() < end
            time.sleep(0.01)
        before = silencer.calls["CurrentTime"]
        assert name_of_root(session)
        assert silencer.calls["CurrentTime"] == before, "it was looked at"


def test_a_stream_that_is_back_is_used_again(lab: Place, silencer: Silencer) -> None:
    silencer.silence("WaitForUpdatesEx", nth=1, scope="connection")
    with connect(lab, silencer) as session:
        assert session.inventory.clusters()
        end = time.monotonic() + 10
        while not session.inventory.is_loaded:
            assert time.monotonic() < end
            time.sleep(0.1)
        before = session.counts["RetrievePropertiesEx"]
        assert session.inventory.clusters()
        assert session.counts["RetrievePropertiesEx"] == before


# Connections


def test_idle_connections_are_probed(session: Session) -> None:
    name_of_root(session)
    idle = session.client.pool._idle
    assert idle
    for connection in idle:
        assert connection.sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        for name, value in pool.KEEP_ALIVE:
            option = getattr(socket, name)
            assert connection.sock.getsockopt(socket.IPPROTO_TCP, option) == value
