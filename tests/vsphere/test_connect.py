from __future__ import annotations

import logging
import subprocess
import sys
import threading
import traceback
from pathlib import Path

import pytest

import vmops
from tests.vsphere.conftest import Place
from tests.vsphere.interposer import Interposer, make_certificate
from vmops.errors import (
    CertificateRefused,
    ConnectionLost,
    InvalidArgument,
    InvalidLogin,
    Unavailable,
)
from vmops.vsphere import connection
from vmops.vsphere.session import Session


def sessions(session: Session) -> set[str]:
    found = session.properties.read_one(session.content.sessionManager, "sessionList")
    return {each.key for each in found.get("sessionList", ())}


def test_an_unchecked_certificate_is_warned_of_once(
    lab: Place, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "_warned", set())
    with caplog.at_level("WARNING", logger="vmops"):
        for pin in (lab.thumbprint, None, None):
            vmops.connect(
                lab.url, lab.username, lab.password, insecure=True, thumbprint=pin
            ).close()
    told = [each.message for each in caplog.records if "is not checked" in each.message]
    assert len(told) == 1
    assert lab.password not in caplog.text


def test_tells_what_the_endpoint_is(place: Place, session: Session) -> None:
    assert session.endpoint.api_type == "VirtualCenter"
    assert session.is_vcenter
    assert place.url.startswith(session.endpoint.url)
    assert session.endpoint.product_name
    assert session.endpoint.instance_uuid


def test_refuses_an_unknown_certificate_and_says_how_to_trust_it(place: Place) -> None:
    with pytest.raises(CertificateRefused) as refused:
        vmops.connect(place.url, place.username, place.password)
    assert place.thumbprint in str(refused.value)
    assert "--thumbprint" in str(refused.value)


def test_refuses_a_certificate_that_is_not_the_pinned_one(place: Place) -> None:
    with pytest.raises(CertificateRefused, match="not the pinned one"):
        vmops.connect(place.url, place.username, place.password, thumbprint="ab" * 32)


def test_a_refused_server_gets_no_byte_of_the_password(lab: Place, between: Interposer) -> None:
    with pytest.raises(CertificateRefused):
        vmops.connect(between.url, lab.username, lab.password, thumbprint="ab" * 32)
    assert not between.calls


def test_takes_a_certificate_that_a_named_authority_signed(lab: Place, between: Interposer) -> None:
    with vmops.connect(between.url, lab.username, lab.password, ca_file=between.ca_file) as session:
        assert session.is_vcenter


def test_refuses_a_certificate_that_another_authority_signed(
    lab: Place, between: Interposer, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other, _ = make_certificate(tmp_path_factory.mktemp("other"))
    with pytest.raises(CertificateRefused):
        vmops.connect(between.url, lab.username, lab.password, ca_file=other)


def test_a_name_that_is_not_in_the_certificate_is_refused(lab: Place, between: Interposer) -> None:
    url = between.url.replace("127.0.0.1", "localhost")
    with pytest.raises(CertificateRefused):
        vmops.connect(url, lab.username, lab.password, ca_file=between.ca_file)


def test_takes_any_certificate_where_that_is_wanted(lab: Place) -> None:
    with vmops.connect(lab.url, lab.username, lab.password, insecure=True) as session:
        assert session.is_vcenter


def test_takes_the_user_name_from_the_url(lab: Place) -> None:
    url = lab.url.replace("https://", f"https://{lab.username.replace('@', '%40')}@")
    with vmops.connect(url, password=lab.password, thumbprint=lab.thumbprint) as session:
        assert session.client.username == lab.username


def test_wants_a_user_name(lab: Place) -> None:
    with pytest.raises(InvalidArgument, match="user name"):
        vmops.connect(lab.url, password="x")


def test_a_server_that_is_not_there_is_said_at_once() -> None:
    with pytest.raises(ConnectionLost, match=r"127\.0\.0\.1:1\b"):
        vmops.connect("https://127.0.0.1:1", "root", "x", insecure=True)


def test_something_that_is_no_vsphere_is_said(lab: Place) -> None:
    url = lab.url.replace("/sdk", "/nothing")
    with pytest.raises(Unavailable, match="vSphere"):
        vmops.connect(url, lab.username, lab.password, thumbprint=lab.thumbprint)


def test_the_password_is_nowhere_to_be_seen(lab: Place, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    wrong = "correct-horse-battery"
    with pytest.raises(InvalidLogin) as refused:
        vmops.connect(lab.url, lab.username, wrong, thumbprint=lab.thumbprint)
    told = traceback.TracebackException.from_exception(refused.value, capture_locals=True)
    # The test's own frame has it as a local variable; no frame of the engine may.
    engine = Path(vmops.__file__).parent
    frames = [frame for frame in told.stack if Path(frame.filename).is_relative_to(engine)]
    shown = "".join(traceback.StackSummary.from_list(frames).format()) + str(refused.value)
    shown += "".join(f"{frame.locals}" for frame in frames)
    assert frames
    assert wrong not in shown
    assert wrong not in caplog.text
    assert refused.value.__cause__ is None


def test_no_log_and_no_repr_shows_password_or_cookie(
    lab: Place, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with lab.connect() as session:
        session.inventory.clusters()
        shown = caplog.text + repr(session) + repr(session.client) + repr(vars(session.client))
        cookie = session.client.cookie.partition("=")[2].strip('"')
    assert cookie
    assert lab.password not in shown
    assert cookie not in caplog.text


def test_the_server_has_no_session_of_ours_after_close(place: Place) -> None:
    with place.connect() as watcher:
        before = sessions(watcher)
        other = place.connect()
        other.inventory.clusters()
        assert sessions(watcher) > before
        other.close()
        other.close()
        assert sessions(watcher) == before


def test_an_error_inside_the_with_logs_out(place: Place) -> None:
    with place.connect() as watcher:
        before = sessions(watcher)
        with pytest.raises(RuntimeError), place.connect():
            raise RuntimeError
        assert sessions(watcher) == before


def test_a_closed_session_refuses_calls(lab: Place) -> None:
    session = lab.connect()
    session.close()
    with pytest.raises(ConnectionLost, match="closed"):
        session.properties.read_one(session.content.rootFolder, "name")
    with pytest.raises(ConnectionLost, match="closed"):
        session.inventory.clusters()


def test_closing_leaves_no_connection_and_no_thread(lab: Place, between: Interposer) -> None:
    with vmops.connect(between.url, lab.username, lab.password, ca_file=between.ca_file) as session:
        session.inventory.clusters()
        assert between.connections
        assert "vmops-stream" in {thread.name for thread in threading.enumerate()}
    for _ in range(200):
        if not between.connections:
            break
        threading.Event().wait(0.01)
    assert between.connections == 0
    assert "vmops-stream" not in {thread.name for thread in threading.enumerate()}


def test_importing_the_package_imports_no_wire_types() -> None:
    code = "import sys, vmops, vmops.vsphere.connection; sys.exit('pyVmomi' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
