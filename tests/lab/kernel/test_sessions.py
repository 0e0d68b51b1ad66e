"""Logging in and out, tickets, and what a session leaves behind."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from pyVmomi import vim, vmodl

from tests.lab.kernel.conftest import Client, Wire
from tests.lab.kernel.small_lab import PASSWORD, USER, SmallLab
from vmops.lab.kernel.session_manager import IDLE_TIMEOUT_S


@pytest.mark.parametrize(
    ("user", "password"),
    [(USER, "wrong"), ("root", PASSWORD), (USER, ""), ("", ""), (USER, "pässwörd")],
)
def test_only_the_account_gets_in(
    new_client: Callable[..., Client], user: str, password: str
) -> None:
    client = new_client(login=False)
    with pytest.raises(vim.fault.InvalidLogin):
        client.content.sessionManager.Login(user, password, None)
    with pytest.raises(vim.fault.NotAuthenticated):
        client.service.CurrentTime()


def test_the_session(client: Client) -> None:
    manager = client.content.sessionManager
    session = client.read(manager, "currentSession")["currentSession"]
    assert (session.userName, session.ipAddress) == (USER, "127.0.0.1")
    assert manager.SessionIsActive(session.key, USER)
    assert not manager.SessionIsActive("nobody", USER)
    with pytest.raises(vim.fault.InvalidLogin):
        client.login()


def test_logout_ends_the_session_and_what_it_owned(client: Client, lab: SmallLab) -> None:
    before = lab.on_loop(lambda kernel: set(kernel.registry._objects))
    watchers = lab.on_loop(lambda kernel: len(kernel._watchers))
    client.collector.CreateFilter(client.all_vms("name"), False)
    client.collector.CreatePropertyCollector().CreateFilter(client.all_vms("name"), False)
    client.content.viewManager.CreateListView([])
    client.content.sessionManager.Logout()
    with pytest.raises(vim.fault.NotAuthenticated):
        client.service.CurrentTime()
    assert lab.on_loop(lambda kernel: set(kernel.registry._objects)) == before
    assert lab.on_loop(lambda kernel: len(kernel._watchers)) == watchers
    client.login()
    client.service.CurrentTime()


def test_a_session_can_end_another(new_client: Callable[..., Client]) -> None:
    one, two = new_client(), new_client()
    manager = one.content.sessionManager
    listed = {each.key for each in one.read(manager, "sessionList")["sessionList"]}
    mine = one.read(manager, "currentSession")["currentSession"].key
    (other,) = listed - {mine}
    with pytest.raises(vim.fault.NotFound):
        manager.TerminateSession([other, "nobody"])
    two.service.CurrentTime()
    with pytest.raises(vmodl.fault.InvalidArgument):
        manager.TerminateSession([mine])
    manager.TerminateSession([other])
    with pytest.raises(vim.fault.NotAuthenticated):
        two.service.CurrentTime()


def test_a_session_that_idles_too_long_ends(client: Client, lab: SmallLab) -> None:
    (session,) = lab.sessions._sessions.values()
    session.last_active -= timedelta(seconds=IDLE_TIMEOUT_S - 60)
    client.service.CurrentTime()
    session.last_active -= timedelta(seconds=IDLE_TIMEOUT_S + 1)
    with pytest.raises(vim.fault.NotAuthenticated):
        client.service.CurrentTime()
    assert not lab.sessions._sessions


def test_a_ticket_opens_one_request(client: Client, lab: SmallLab) -> None:
    spec = vim.SessionManager.HttpServiceRequestSpec(
        method="httpPut", url=f"https://127.0.0.1:{lab.port}/folder/a%20b?dcPath=d&dsName=x"
    )

    def ticket() -> str:
        made = client.content.sessionManager.AcquireGenericServiceTicket(spec)
        assert made.hostName == "127.0.0.1"
        return str(made.id)

    use = lab.sessions.by_ticket
    good = ("PUT", "/folder/a b", "dsName=x&dcPath=d")
    first = ticket()
    session = use(first, *good)
    assert session is not None
    assert session.user == USER
    assert use(first, *good) is None
    assert use(ticket(), "GET", *good[1:]) is None
    assert use(ticket(), "PUT", "/folder/other", good[2]) is None
    assert use(ticket(), "PUT", good[1], "dsName=y&dcPath=d") is None
    assert use("nonsense", *good) is None
    late = ticket()
    client.content.sessionManager.Logout()
    assert use(late, *good) is None


def test_the_cookie_is_for_this_server_only(wire: Wire) -> None:
    cookie = wire.login().headers["Set-Cookie"]
    assert cookie.startswith("vmware_soap_session=")
    assert "HttpOnly" in cookie
    assert "Secure" in cookie


def test_login_makes_a_new_cookie_each_time(lab: SmallLab) -> None:
    cookies = set()
    for _ in range(3):
        wire = Wire(lab)
        cookies.add(wire.login().headers["Set-Cookie"])
        wire.close()
    assert len(cookies) == 3


def test_secrets_do_not_show(
    client: Client, lab: SmallLab, caplog: pytest.LogCaptureFixture
) -> None:
    (session,) = lab.sessions._sessions.values()
    assert session.token not in repr(session)
    assert PASSWORD not in caplog.text
