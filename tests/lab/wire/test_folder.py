"""/folder over TLS, seen from the datastore's directory."""

import base64
import os
import socket
import time
from collections.abc import Callable, Iterator
from http.client import HTTPMessage
from pathlib import Path

import pytest
from pyVmomi import vim

from tests.lab.client import Client


def files(root: Path) -> list[str]:
    return sorted(str(each.relative_to(root)) for each in root.rglob("*"))


def test_a_file_comes_back_as_it_was_sent(client: Client, folder: str) -> None:
    content = os.urandom(3_000_001)
    url = client.url(f"{folder}/a b+ü%.bin")
    status, _, _ = client.request("PUT", url, content)
    assert status == 201
    assert (client.root() / folder / "a b+ü%.bin").read_bytes() == content
    status, headers, body = client.request("GET", url)
    assert (status, body) == (200, content)
    assert headers["Content-Length"] == str(len(content))
    status, _, _ = client.request("PUT", url, b"new")
    assert status == 200
    assert (client.root() / folder / "a b+ü%.bin").read_bytes() == b"new"


def test_head_tells_size_and_time_and_sends_nothing(client: Client, folder: str) -> None:
    (client.root() / folder / "a").write_bytes(b"x" * 10)
    os.utime(client.root() / folder / "a", (0, 0))
    status, headers, body = client.request("HEAD", client.url(f"{folder}/a"))
    assert (status, body) == (200, b"")
    assert headers["Content-Length"] == "10"
    assert headers["Last-Modified"] == "Thu, 01 Jan 1970 00:00:00 GMT"
    assert headers["Accept-Ranges"] == "bytes"
    assert client.request("HEAD", client.url(f"{folder}/b"))[0] == 404


def test_ranges(client: Client, folder: str) -> None:
    (client.root() / folder / "a").write_bytes(b"0123456789")
    url = client.url(f"{folder}/a")
    status, headers, body = client.request("GET", url, Range="bytes=2-4")
    assert (status, body, headers["Content-Range"]) == (206, b"234", "bytes 2-4/10")
    assert client.request("GET", url, Range="bytes=-2")[2] == b"89"
    status, headers, _ = client.request("GET", url, Range="bytes=10-")
    assert (status, headers["Content-Range"]) == (416, "bytes */10")
    assert client.request("GET", url, Range="bytes=0-1,3-4")[0] == 200
    etag = headers_of(client, url)["ETag"]
    assert client.request("GET", url, Range="bytes=0-1", If_Range=etag)[0] == 206
    (client.root() / folder / "a").write_bytes(b"abcdefghijk")
    status, _, body = client.request("GET", url, Range="bytes=0-1", If_Range=etag)
    assert (status, body) == (200, b"abcdefghijk")


def headers_of(client: Client, url: str) -> HTTPMessage:
    return client.request("HEAD", url)[1]


def test_chunks_without_a_length(client: Client, folder: str) -> None:
    def blocks() -> Iterator[bytes]:
        for number in range(20):
            yield bytes([number]) * 100_000

    url = client.url(f"{folder}/chunked")
    status, _, _ = client.request("PUT", url, blocks())
    assert status == 201
    assert (client.root() / folder / "chunked").read_bytes() == b"".join(blocks())


def test_an_upload_makes_missing_folders_as_vcenter_does(client: Client, folder: str) -> None:
    assert client.request("PUT", client.url(f"{folder}/x/y/z"), b"1")[0] == 201
    assert (client.root() / folder / "x/y/z").read_bytes() == b"1"


def test_runs_of_zeros_become_holes(client: Client, folder: str) -> None:
    content = b"\0" * 8_000_000 + b"end"
    client.request("PUT", client.url(f"{folder}/sparse"), content)
    file = client.root() / folder / "sparse"
    assert file.read_bytes() == content
    assert file.stat().st_blocks * 512 < 1_000_000


@pytest.mark.parametrize("before", [None, b"old content"])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_truncated_upload_changes_nothing(
    client: Client, folder: str, before: bytes | None, chunked: bool
) -> None:
    target = client.root() / folder / "new/disk"
    if before is not None:
        target.parent.mkdir()
        target.write_bytes(before)
    announced = "Transfer-Encoding: chunked" if chunked else "Content-Length: 1000000"
    body = b"100000\r\n" + b"x" * 500_000 if chunked else b"x" * 500_000
    connection = client.connection()
    connection.connect()
    connection.sock.sendall(
        f"PUT {client.url(f'{folder}/new/disk')} HTTP/1.1\r\nHost: lab\r\n"
        f"Cookie: {client.cookie}\r\n{announced}\r\n\r\n".encode()
        + body
    )
    wait_until(lambda: [name for name in files(client.root() / folder) if ".partial" in name])
    connection.sock.shutdown(socket.SHUT_RDWR)
    connection.close()
    expected = ["new", "new/disk"] if before is not None else []
    wait_until(lambda: files(client.root() / folder) == expected)
    if before is not None:
        assert target.read_bytes() == before


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.01)


def test_expect_100_continue_is_answered_only_if_the_body_is_wanted(
    client: Client, folder: str
) -> None:
    for cookie, first in ((client.cookie, b"HTTP/1.1 100"), ("x=y", b"HTTP/1.1 401")):
        connection = client.connection()
        connection.connect()
        connection.sock.sendall(
            f"PUT {client.url(f'{folder}/a')} HTTP/1.1\r\nHost: lab\r\nCookie: {cookie}\r\n"
            "Content-Length: 4\r\nExpect: 100-continue\r\n\r\n".encode()
        )
        assert connection.sock.recv(12) == first
        if first.endswith(b"100"):
            connection.sock.sendall(b"body")
            answer = b""
            while b"201" not in answer:
                answer += connection.sock.recv(4096)
        connection.close()
    assert (client.root() / folder / "a").read_bytes() == b"body"


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
def test_nothing_without_a_session(client: Client, folder: str, method: str) -> None:
    (client.root() / folder / "a").write_bytes(b"x")
    url = client.url(f"{folder}/a")
    body = b"evil" if method == "PUT" else None
    status, headers, _ = client.request(method, url, body, cookie=False)
    assert status == 401
    assert "Basic" in headers["WWW-Authenticate"]
    wrong = base64.b64encode(f"{client.lab.username}:wrong".encode()).decode()
    assert client.request(method, url, body, cookie=False, Authorization=f"Basic {wrong}")[0] == 401
    assert (
        client.request(method, url, body, cookie=False, Cookie='vmware_soap_session="00"')[0] == 401
    )
    assert (client.root() / folder / "a").read_bytes() == b"x"


def test_basic_authentication_and_tickets(client: Client, folder: str) -> None:
    (client.root() / folder / "a").write_bytes(b"x")
    url = client.url(f"{folder}/a")
    login = base64.b64encode(f"{client.lab.username}:{client.lab.password}".encode()).decode()
    assert client.request("GET", url, cookie=False, Authorization=f"Basic {login}")[0] == 200
    spec = vim.SessionManager.HttpServiceRequestSpec(
        method="httpPut", url=client.lab.url.removesuffix("/sdk") + url
    )
    ticket = client.content.sessionManager.AcquireGenericServiceTicket(spec).id
    cookie = f"vmware_cgi_ticket={ticket}"
    assert client.request("PUT", url, b"by ticket", cookie=False, Cookie=cookie)[0] == 200
    assert client.request("PUT", url, b"again", cookie=False, Cookie=cookie)[0] == 401
    assert (client.root() / folder / "a").read_bytes() == b"by ticket"


ESCAPES = [
    "../x",
    "%2e%2e/x",
    "%2E%2E%2Fx",
    "a/%2e%2e/%2e%2e/x",
    "a/../../x",
    "..%2fx",
    "%2fetc/hostname",
    "/etc/hostname",
    "x%00y",
    "x%0ay",
    "%ff",
]


@pytest.mark.parametrize("path", ESCAPES)
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_no_path_leaves_the_datastore(client: Client, method: str, path: str) -> None:
    url = client.url("").replace("/folder/", f"/folder/{path}")
    before = files(client.lab.settings.state_dir)
    status, _, body = client.request(method, url, b"evil" if method == "PUT" else None)
    assert status == 400
    assert b"Traceback" not in body
    assert str(client.lab.settings.state_dir).encode() not in body
    assert files(client.lab.settings.state_dir) == before


def test_a_planted_link_is_not_followed(client: Client, folder: str) -> None:
    secret = client.lab.settings.password_file
    (client.root() / folder / "link").symlink_to(secret)
    (client.root() / folder / "up").symlink_to(client.lab.settings.state_dir)
    password = secret.read_text()
    for path in ("link", "up/password", "up"):
        for method in ("GET", "PUT", "DELETE"):
            body = b"evil" if method == "PUT" else None
            status, _, answer = client.request(method, client.url(f"{folder}/{path}"), body)
            assert status == 400
            assert password.encode() not in answer
    assert secret.read_text() == password
    assert b"link" not in client.request("GET", client.url(folder))[2]


def test_unknown_places_are_not_found(client: Client, folder: str) -> None:
    assert client.request("GET", client.url(f"{folder}/no"))[0] == 404
    assert client.request("DELETE", client.url(f"{folder}/no"))[0] == 404
    for method in ("GET", "PUT"):
        body = b"x" if method == "PUT" else None
        assert client.request(method, client.url("a", datastore="no"), body)[0] == 404
        assert client.request(method, client.url("a", dcPath="no"), body)[0] == 404


def test_a_datacenter_is_needed_on_vcenter_only(client: Client, esx: Client) -> None:
    for asking, status in ((client, 400), (esx, 201)):
        url = f"/folder/without-datacenter?dsName={asking.datastore}"
        assert asking.request("PUT", url, b"x")[0] == status
    assert esx.request("GET", esx.url("without-datacenter"))[2] == b"x"


def test_other_methods_and_partial_uploads_are_refused(client: Client, folder: str) -> None:
    url = client.url(f"{folder}/a")
    assert client.request("POST", url, b"x")[0] == 405
    assert client.request("PUT", url, b"x", Content_Range="bytes 0-0/2")[0] == 400
    assert client.request("PUT", client.url(""), b"x")[0] == 405
    assert client.request("PUT", client.url(folder), b"x")[0] == 409
    assert client.request("DELETE", client.url(folder))[0] == 409
    assert files(client.root() / folder) == []


def test_delete(client: Client, folder: str) -> None:
    (client.root() / folder / "a").write_bytes(b"x")
    assert client.request("DELETE", client.url(f"{folder}/a"))[0] == 204
    assert files(client.root() / folder) == []


def test_pages_lead_from_datacenters_to_files(client: Client, folder: str) -> None:
    (client.root() / folder / "<b>&.txt").write_bytes(b"x")
    (client.root() / folder / ".vmops-0.partial").write_bytes(b"x")
    page = client.request("GET", "/folder")[2].decode()
    assert client.datacenter.name in page
    page = client.request("GET", f"/folder?dcPath={client.datacenter.name}")[2].decode()
    assert client.datastore in page
    page = client.request("GET", client.url(""))[2].decode()
    assert f"{folder}/" in page
    status, headers, body = client.request("GET", client.url(folder))
    assert status == 200
    assert headers["Content-Type"].startswith("text/html")
    assert "&lt;b&gt;&amp;.txt" in body.decode()
    assert "partial" not in body.decode()


def test_a_reader_who_leaves_is_no_error(
    client: Client, folder: str, caplog: pytest.LogCaptureFixture
) -> None:
    with (client.root() / folder / "big").open("wb") as file:
        file.truncate(200 * 1024**2)
    connection = client.connection()
    connection.request("GET", client.url(f"{folder}/big"), headers={"Cookie": client.cookie})
    connection.getresponse().read(1000)
    connection.sock.shutdown(socket.SHUT_RDWR)
    connection.close()
    assert client.request("HEAD", client.url(f"{folder}/big"))[0] == 200
    time.sleep(0.2)
    assert [each.message for each in caplog.records if each.levelname == "ERROR"] == []


@pytest.mark.parametrize("chunked", [False, True])
def test_a_full_datastore_takes_nothing_and_keeps_what_it_had(small: Client, chunked: bool) -> None:
    url = small.url("full/disk")
    assert small.request("PUT", url, b"old")[0] in {200, 201}
    content = os.urandom(12 * 1024**2)
    body = iter([content[at : at + 65536] for at in range(0, len(content), 65536)])
    try:
        status = small.request("PUT", url, body if chunked else content)[0]
    except (BrokenPipeError, ConnectionResetError):
        status = 507  # the answer came while the body was still being sent
    assert status == 507
    wait_until(lambda: files(small.root()) == ["full", "full/disk"])
    assert (small.root() / "full/disk").read_bytes() == b"old"
    assert small.request("PUT", small.url("full/other"), b"x" * 1_000_000)[0] == 201
    (small.root() / "full/other").unlink()


def test_free_space_is_that_of_the_quota(small: Client) -> None:
    datastore = small.datastores[small.datastore]
    before = datastore.summary
    assert before.capacity == 8 * 1024**2
    small.request("PUT", small.url("half"), os.urandom(4 * 1024**2))
    datastore.RefreshDatastore()
    after = datastore.summary
    assert before.freeSpace - after.freeSpace == pytest.approx(4 * 1024**2, rel=0.1)
    small.request("DELETE", small.url("half"))
