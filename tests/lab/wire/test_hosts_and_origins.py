"""No page of another site reaches the lab by a browser, whatever name led the browser here."""

from __future__ import annotations

import re
from http.cookies import SimpleCookie

import pytest

from tests.lab.client import Client
from tests.lab.wire.test_who_is_unknown import routes

FOREIGN = (
    "rebound.example",
    "rebound.example:{port}",
    "127.0.0.1.nip.io",
    "a@127.0.0.1",
    "a/b",
    "",
)
OWN = (
    "127.0.0.1:{port}",
    "localhost:{port}",
    "LOCALHOST",
    "[::1]:{port}",
    "10.0.2.2",
    "esx1.lab.local",
)


def port(client: Client) -> str:
    found = re.search(r":(\d+)/", client.lab.url)
    assert found is not None
    return found[1]


@pytest.mark.parametrize("host", FOREIGN)
def test_no_endpoint_is_reached_by_another_name(client: Client, host: str) -> None:
    for method, path in sorted(routes(client.lab)):
        if method == "HEAD":
            continue
        named = host.format(port=port(client))
        assert client.request(method, path, Host=named)[0] in {400, 403}, (method, path)


@pytest.mark.parametrize("host", OWN)
def test_its_own_names_are_answered(client: Client, host: str) -> None:
    assert client.request("GET", "/", Host=host.format(port=port(client)))[0] == 200


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://127.0.0.1:{port}", "https://127.0.0.1"]
)
def test_no_endpoint_answers_a_page_of_another_site(client: Client, origin: str) -> None:
    for method, path in sorted(routes(client.lab)):
        if method == "HEAD":
            continue
        sent = origin.format(port=port(client))
        assert client.request(method, path, Origin=sent)[0] == 403, (method, path)
        assert client.request(method, path, Sec_Fetch_Site="cross-site")[0] == 403, (method, path)


def test_a_page_of_its_own_is_answered(client: Client) -> None:
    own = f"https://127.0.0.1:{port(client)}"
    assert client.request("GET", "/", Origin=own, Sec_Fetch_Site="same-origin")[0] == 200


def test_the_cookie_is_for_this_site_and_no_script(client: Client) -> None:
    cookie = SimpleCookie(str(client.stub.cookie))["vmware_soap_session"]
    assert (cookie["httponly"], cookie["secure"], cookie["samesite"]) == (True, True, "Strict")
