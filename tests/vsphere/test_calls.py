"""Calls under harm: expired sessions, lost connections, silence, nonsense."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from pyVmomi import vim

import vmops
from tests.vsphere import conftest
from tests.vsphere.conftest import Place
from tests.vsphere.interposer import Interposer, When
from vmops.context import operation
from vmops.errors import (
    ConnectionLost,
    InvalidArgument,
    ManagedObjectNotFound,
    NotAuthenticated,
    VsphereFault,
)
from vmops.vsphere.session import Session
from vmops.vsphere.wire.limits import Limits

ROOT = vim.ServiceInstance("ServiceInstance")


def now(session: Session) -> Any:
    return session.call(ROOT, "CurrentTime")


def name_of_root(session: Session) -> str:
    return str(session.properties.read_one(session.content.rootFolder, "name")["name"])


def end_session(place: Place, session: Session) -> None:
    """End the session at the server, as an administrator would."""
    with place.connect() as admin:
        conftest.end_session(session, admin)


def test_a_fault_is_raised_at_once_and_names_the_method(
    disturbed: Session, between: Interposer
) -> None:
    before = between.calls["PowerOnVM_Task"]
    with pytest.raises(ManagedObjectNotFound, match="VirtualMachine:vm-none"):
        disturbed.call(vim.VirtualMachine("vm-none"), "PowerOnVM_Task")
    assert between.calls["PowerOnVM_Task"] == before + 1


def test_an_unknown_property_is_an_invalid_argument(disturbed: Session) -> None:
    with pytest.raises(InvalidArgument):
        disturbed.properties.read_one(disturbed.content.rootFolder, "nam")


def test_wrong_arguments_are_mistakes_of_the_program(session: Session) -> None:
    vm = vim.VirtualMachine("vm-none")
    with pytest.raises(TypeError, match="speck"):
        session.call(vm, "ReconfigVM_Task", speck=None)
    with pytest.raises(TypeError):
        session.call(vm, "ReconfigVM_Task")
    with pytest.raises(TypeError):
        session.call(vm, "ReconfigVM_Task", spec=7)


def test_the_operation_travels_with_every_call(disturbed: Session, between: Interposer) -> None:
    with operation("spawn") as current:
        now(disturbed)
        disturbed.properties.read_one(disturbed.content.rootFolder, "name")
    now(disturbed)
    assert between.operations == [current, current]


def test_an_expired_session_is_renewed_without_the_caller_noticing(
    place: Place, session: Session
) -> None:
    logins = session.client.logins
    end_session(place, session)
    assert name_of_root(session)
    assert session.client.logins == logins + 1


def test_fifty_threads_renew_an_expired_session_once(lab: Place) -> None:
    with lab.connect() as session, ThreadPoolExecutor(50) as pool:
        list(pool.map(lambda _: now(session), range(50)))
        end_session(lab, session)
        together = threading.Barrier(50)

        def call(_: object) -> str:
            together.wait()
            return name_of_root(session)

        assert len(list(pool.map(call, range(50)))) == 50
        assert session.client.logins == 2
        assert session.counts["Login"] == 2


def test_a_renewal_that_fails_is_told_to_all(lab: Place) -> None:
    with lab.connect() as session:
        end_session(lab, session)
        session.client._password = type(session.client._password)("wrong by now")
        with pytest.raises(vmops.errors.InvalidLogin):
            now(session)


def test_a_read_whose_answer_is_lost_is_repeated(disturbed: Session, between: Interposer) -> None:
    between.rule("CurrentTime", "after", "cut", times=2)
    assert now(disturbed)
    assert between.calls["CurrentTime"] == 3


def test_a_read_finds_a_server_that_was_away_for_a_while(
    disturbed: Session, between: Interposer
) -> None:
    now(disturbed)
    between.refuse()
    timer = threading.Timer(2.0, between.resume)
    timer.start()
    begin = time.monotonic()
    assert now(disturbed)
    assert 1.5 < time.monotonic() - begin < 8
    timer.join()


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_write_whose_connection_is_lost_is_not_repeated(
    disturbed: Session, between: Interposer, when: When
) -> None:
    folder = disturbed.inventory.datacenters()[0].vm_folder
    name = f"folder-{when}"
    between.rule("CreateFolder", when, "cut")
    begin = time.monotonic()
    with pytest.raises(ConnectionLost):
        disturbed.call(folder, "CreateFolder", name=name)
    assert time.monotonic() - begin < 1
    assert between.calls["CreateFolder"] == 1
    children = disturbed.properties.read_container("Folder", ("name",), folder)
    found = [each for each in children.values() if each["name"] == name]
    assert len(found) == (1 if when == "after" else 0)
    for each in found:
        disturbed.run_task(each[""], "Destroy_Task")


def test_a_silent_server_is_given_up_after_the_timeout(lab: Place, between: Interposer) -> None:
    with vmops.connect(
        between.url, lab.username, lab.password, ca_file=between.ca_file, timeout_s=1
    ) as session:
        between.rule("CreateFolder", "before", "hang")
        begin = time.monotonic()
        with pytest.raises(ConnectionLost, match="did not answer within 1 seconds"):
            session.call(session.content.rootFolder, "CreateFolder", name="never")
        assert 0.9 < time.monotonic() - begin < 3


def test_an_overloaded_server_is_asked_again_later(disturbed: Session, between: Interposer) -> None:
    between.rule("CurrentTime", "before", "overload", times=2)
    assert now(disturbed)


def test_nonsense_is_an_error_of_ours(disturbed: Session, between: Interposer) -> None:
    between.rule("CreateFolder", "after", "garbage")
    with pytest.raises((VsphereFault, ConnectionLost)):
        disturbed.call(disturbed.content.rootFolder, "CreateFolder", name="x y")


@pytest.mark.parametrize("disturbed", [Limits(window_s=0.5)], indirect=True)
def test_reads_after_a_server_was_given_up_fail_fast_until_it_is_back(
    disturbed: Session, between: Interposer
) -> None:
    between.refuse()
    with pytest.raises(ConnectionLost):
        now(disturbed)
    begin = time.monotonic()
    for _ in range(5):
        with pytest.raises(ConnectionLost):
            now(disturbed)
    assert time.monotonic() - begin < 0.4
    between.resume()
    assert now(disturbed)


@pytest.mark.parametrize("disturbed", [Limits(window_s=1.0)], indirect=True)
def test_a_server_that_is_gone_is_told_once_the_window_has_passed(
    disturbed: Session, between: Interposer
) -> None:
    disturbed.inventory.wait_fresh()
    root = disturbed.content.rootFolder
    between.refuse()
    begin = time.monotonic()
    with pytest.raises(ConnectionLost, match=r"Cannot reach|was lost"):
        disturbed.call(root, "CreateFolder", name="never")
    assert time.monotonic() - begin < 0.5, "a change is not tried again"
    # One window for all: those that come later have less of it left.
    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(now, disturbed) for _ in range(4)]
        assert all(isinstance(each.exception(), ConnectionLost) for each in asked)
    with pytest.raises(ConnectionLost):
        now(disturbed)
    assert time.monotonic() - begin < 2.0


def test_a_read_that_is_waiting_to_be_repeated_ends_with_the_session(
    lab: Place, between: Interposer
) -> None:
    session = vmops.connect(between.url, lab.username, lab.password, ca_file=between.ca_file)
    between.refuse()
    closer = threading.Timer(0.5, session.close)
    closer.start()
    begin = time.monotonic()
    with pytest.raises((ConnectionLost, NotAuthenticated)):
        now(session)
    assert time.monotonic() - begin < 5
    closer.join()


def test_many_threads_share_few_connections(disturbed: Session, between: Interposer) -> None:
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda _: now(disturbed), range(200)))
    assert between.connections <= 17


def test_an_interrupted_call_spoils_no_later_one(
    disturbed: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C between a request and its answer must not leave the answer to the next caller."""
    real = vmops.vsphere.wire.pool.http.client.HTTPResponse.begin
    raised: list[bool] = []

    def begin(self: Any) -> Any:
        if not raised and threading.current_thread() is threading.main_thread():
            raised.append(True)
            raise KeyboardInterrupt
        return real(self)

    monkeypatch.setattr("http.client.HTTPResponse.begin", begin)
    with pytest.raises(KeyboardInterrupt):
        now(disturbed)
    assert name_of_root(disturbed)
