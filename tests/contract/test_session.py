"""The session: who gets in, what happens when it ends, and what is never said."""

from __future__ import annotations

import logging
import socket
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import vmops
from tests.backends import second_view
from tests.backends.backend import Backend
from tests.backends.capabilities import Capability
from tests.contract.engine import Bench
from tests.contract.needs import needs
from vmops.errors import (
    CertificateRefused,
    ConnectionLost,
    InvalidArgument,
    InvalidLogin,
    NotAuthenticated,
)
from vmops.model.power import InstanceState

ENGINE = Path(vmops.__file__).parent


def test_it_tells_what_it_is_connected_to(bench: Bench) -> None:
    about = bench.content.about
    assert bench.session.is_vcenter is (about.apiType == "VirtualCenter")
    assert bench.session.endpoint.api_version == about.apiVersion


def test_a_wrong_password_is_refused_and_not_told(
    backend: Backend, caplog: pytest.LogCaptureFixture
) -> None:
    wrong = "wr0ng-s3cret"
    with caplog.at_level(logging.DEBUG), pytest.raises(InvalidLogin) as refused:
        vmops.connect(backend.url, backend.username, wrong, thumbprint=backend.thumbprint)
    assert wrong not in caplog.text
    assert wrong not in tell(refused.value)


def test_the_password_is_in_no_log_and_no_representation(
    backend: Backend, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG), backend.connect() as session:
        session.inventory.wait_fresh()
        shown = f"{session!r} {session.client!r} {vars(session)!r} {vars(session.client)!r}"
    assert backend.password not in caplog.text
    assert backend.password not in shown


def tell(error: BaseException) -> str:
    """All that a traceback with the engine's local variables could show."""
    shown = []
    frames = []
    seen: BaseException | None = error
    while seen is not None:
        shown.append(f"{seen!r} {seen}")
        frames += [frame for frame, _ in traceback.walk_tb(seen.__traceback__)]
        seen = seen.__cause__ or seen.__context__
    ours = [each for each in frames if Path(each.f_code.co_filename).is_relative_to(ENGINE)]
    assert ours
    return "\n".join(shown + [repr(each.f_locals) for each in ours])


def test_a_certificate_that_nobody_vouches_for_is_refused(backend: Backend) -> None:
    with pytest.raises(CertificateRefused) as refused:
        vmops.connect(backend.url, backend.username, backend.password)
    assert "thumbprint" in str(refused.value)


def test_another_certificate_than_the_pinned_is_refused_before_anything_is_sent(
    backend: Backend,
) -> None:
    other = ":".join(["AB"] * 32)
    with pytest.raises(CertificateRefused):
        vmops.connect(backend.url, backend.username, backend.password, thumbprint=other)


def test_a_thumbprint_of_sha1_is_refused(backend: Backend) -> None:
    with pytest.raises(InvalidArgument, match="SHA-256"):
        vmops.connect(backend.url, "x", "y", thumbprint=":".join(["AB"] * 20))


def test_nobody_there_is_said_soon() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    begin = time.monotonic()
    with pytest.raises(ConnectionLost, match=str(port)):
        vmops.connect(f"https://127.0.0.1:{port}", "x", "y", insecure=True)
    assert time.monotonic() - begin < 5


def sessions(content: Any) -> set[str]:
    found = second_view.properties(content.sessionManager, "sessionList")["sessionList"]
    return {session.key for session in found}


@needs(Capability.COUNTED_CALLS)
def test_it_logs_out_at_its_end_also_after_an_error(backend: Backend) -> None:
    content = backend.content()
    before = sessions(content)
    with pytest.raises(ZeroDivisionError), backend.connect():
        assert len(sessions(content)) == len(before) + 1
        raise ZeroDivisionError
    assert sessions(content) == before


def end_sessions(bench: Bench, session: Any) -> None:
    """End the engine's session at the server, as an expiry does."""
    own = session.properties.read_one(session.client.content.sessionManager, "currentSession")
    bench.content.sessionManager.TerminateSession([own["currentSession"].key])


@needs(Capability.COUNTED_CALLS)
def test_an_expired_session_logs_in_once_for_any_number_of_threads(bench: Bench) -> None:
    instances = [bench.spawn(power_on=False) for _ in range(4)]
    with bench.backend.connect() as session:
        ops = bench.engine(session=session)
        assert ops.get_info(instances[0]).state is InstanceState.SHUTDOWN
        end_sessions(bench, session)
        bench.backend.forget_calls()
        with ThreadPoolExecutor(50) as pool:
            infos = list(pool.map(ops.get_info, [instances[n % 4] for n in range(50)]))
    assert {info.state for info in infos} == {InstanceState.SHUTDOWN}
    assert bench.backend.calls()["Login"] == 1


def test_a_spawn_survives_the_end_of_its_session(bench: Bench) -> None:
    with bench.backend.connect() as session:
        ops = bench.engine(session=session)
        bench.spawn(ops=ops, power_on=False)
        end_sessions(bench, session)
        instance = bench.spawn(ops=ops)
        assert bench.power(instance) == "poweredOn"
        end_sessions(bench, session)
        ops.power_off(instance)
        assert bench.power(instance) == "poweredOff"


def test_a_closed_session_does_not_log_in_again(bench: Bench) -> None:
    session = bench.backend.connect()
    ops = bench.engine(session=session)
    ops.list_instances()
    session.close()
    session.close()
    with pytest.raises((NotAuthenticated, ConnectionLost)):
        ops.list_instances()


@needs(Capability.COUNTED_CALLS)
def test_fifty_threads_work_on_one_engine(bench: Bench) -> None:
    instance = bench.spawn()
    with bench.backend.connect() as session:
        ops = bench.engine(session=session)
        bench.backend.forget_calls()
        with ThreadPoolExecutor(50) as pool:
            infos = list(pool.map(lambda _: ops.get_info(instance), range(200)))
    assert {info.state for info in infos} == {InstanceState.RUNNING}
    assert bench.backend.calls()["Login"] == 0
