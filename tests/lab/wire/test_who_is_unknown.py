"""Who has not logged in costs nothing, at any endpoint, and no request ends in a traceback."""

from __future__ import annotations

import http.client
import logging
import re
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from urllib.parse import urlsplit

import pytest
from pyVmomi import vim, vmodl

from tests.lab.client import Client, connect, context
from tests.lab.kernel.conftest import envelope
from vmops.lab import Lab, LabSettings

MIB = 1024**2
SOON_S = 3.0


def routes(lab: Lab) -> set[tuple[str, str]]:
    """Method and path of each that a running lab serves, from its own routing table."""
    return {(method, re.sub(r"\{[^}]*\}", "x", path)) for method, path in lab.endpoints}


def call(method: str, wire_type: str, moid: str, parameters: str = "") -> str:
    return (
        f'<{method} xmlns="urn:vim25"><_this type="{wire_type}">{moid}</_this>'
        f"{parameters}</{method}>"
    )


CURRENT_TIME = envelope(call("CurrentTime", "ServiceInstance", "ServiceInstance"))
LOGIN = call("Login", "SessionManager", "SessionManager", "<userName>{}</userName>")


def in_method(inner: str) -> str:
    spec = "<spec>" + inner + "</spec>"
    return envelope(call("ReconfigVM_Task", "VirtualMachine", "vm-1", spec))


def option(value: str) -> str:
    return in_method(f"<extraConfig><key>a</key>{value}</extraConfig>")


def deep(count: int) -> str:
    return option(
        '<value xsi:type="ArrayOfAnyType">'
        + '<anyType xsi:type="ArrayOfAnyType">' * count
        + "</anyType>" * count
        + "</value>"
    )


def numbered(each: str, count: int) -> str:
    return " ".join(each.format(number) for number in range(count))


EVIL: dict[str, bytes] = {
    "nothing": b"",
    "zeros": bytes(1000),
    "deep elements": envelope("<a>" * 5000 + "</a>" * 5000).encode(),
    "deep arrays": deep(2000).encode(),
    "200,000 elements": option(
        '<value xsi:type="ArrayOfString">' + "<string/>" * 200_000 + "</value>"
    ).encode(),
    "many attributes": in_method(
        "<name " + numbered('xmlns:a{0}="urn:{0}"', 3000) + ">a</name>"
    ).encode(),
    "a long attribute": in_method(f'<name a="{"x" * MIB}">a</name>').encode(),
    "a long comment": in_method(f"<!--{'x' * MIB}--><name>a</name>").encode(),
    "a tag without an end": envelope("").encode()[:-40] + b"<" + b"a" * MIB,
    "lines of text": in_method("<name>" + "a\n" * (17 * MIB // 2) + "</name>").encode(),
    "a DOCTYPE": CURRENT_TIME.replace("?>", "?><!DOCTYPE a>", 1).encode(),
    "entities": CURRENT_TIME.replace(
        "?>", '?><!DOCTYPE a [<!ENTITY b "cc"><!ENTITY d "&b;&b;">]>', 1
    ).encode(),
    "a DOCTYPE in UTF-16": CURRENT_TIME.replace('encoding="UTF-8"', 'encoding="UTF-16"')
    .replace("?>", "?><!DOCTYPE a>", 1)
    .encode("utf-16"),
    "an unknown encoding": CURRENT_TIME.replace("UTF-8", "no-such-code").encode(),
    "an encoding of many bytes": CURRENT_TIME.replace("UTF-8", "utf-7").encode(),
    "a wrong simple type": option('<value xsi:type="xsd:int">one</value>').encode(),
    "a number too large": in_method("<memoryMB>" + "9" * 30 + "</memoryMB>").encode(),
    "digits that are none": in_method("<numCPUs>\u00b2</numCPUs>").encode(),
    "an underscore": in_method("<numCPUs>1_0</numCPUs>").encode(),
    "5,000 digits": in_method(f"<numCPUs>{'1' * 5000}</numCPUs>").encode(),
    "not even a type": option(f'<value xsi:type="{"ArrayOf" * 5000}String"/>').encode(),
    "nested array types": option('<value xsi:type="ArrayOfArrayOfArrayOfString"/>').encode(),
    "text for a spec": envelope(
        call("ReconfigVM_Task", "VirtualMachine", "vm-1", '<spec xsi:type="xsd:string">a</spec>')
    ).encode(),
    "another spec": envelope(
        call("ReconfigVM_Task", "VirtualMachine", "vm-1", '<spec xsi:type="VirtualFloppy"/>')
    ).encode(),
    "a class for a device": in_method(
        '<deviceChange><device xsi:type="VirtualMachineConfigSpec"/></deviceChange>'
    ).encode(),
    "a spec for an object": envelope(
        call("CurrentTime", "VirtualMachineConfigSpec", "ServiceInstance")
    ).encode(),
    "a name of Python": in_method(
        "<deviceChange><operation>__class__</operation></deviceChange>"
    ).encode(),
    "a method of Python": envelope(call("__init__", "ServiceInstance", "ServiceInstance")).encode(),
    "31 MB": in_method("<name>" + "a" * 31 * MIB + "</name>").encode(),
    "31 MB of a login": envelope(LOGIN.format("a" * 31 * MIB)).encode(),
    "33 MB": b"<" + b"a" * 33 * MIB,
}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    settings = LabSettings(state_dir=tmp_path_factory.mktemp("unknown"), hypervisor="none")
    with Lab.run(settings) as running:
        yield running


@pytest.fixture
def other(served: Lab) -> Iterator[Client]:
    client = connect(served)
    yield client
    client.close()


def send(
    lab: Lab, method: str, path: str, body: bytes, cookie: str = "", **headers: str
) -> tuple[int, str]:
    """Status and text of the answer; status 0 if the lab hung up while it was being told."""
    url = urlsplit(lab.url)
    connection = http.client.HTTPSConnection(
        str(url.hostname), url.port, context=context(lab.certificate_file), timeout=30
    )
    sent = {"SOAPAction": '"urn:vim25/8.0.3.0"', **headers}
    if cookie:
        sent["Cookie"] = cookie
    try:
        with suppress(BrokenPipeError, ConnectionResetError, ssl.SSLError):
            connection.request(method, path, body, sent)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    except (ConnectionError, http.client.HTTPException, ssl.SSLError):
        return 0, ""
    finally:
        connection.close()


class Latency:
    """How long another client waits for its answers meanwhile."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._stop = threading.Event()
        self.longest_s = 0.0
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self._stop.is_set():
            begin = time.monotonic()
            self._client.service.CurrentTime()
            self.longest_s = max(self.longest_s, time.monotonic() - begin)
            time.sleep(0.01)

    def __enter__(self) -> Latency:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def test_the_endpoints_are_those_that_are_walked_over(served: Lab) -> None:
    paths = {path for _, path in routes(served)}
    assert {"/sdk", "/pbm", "/folder", "/screen", "/ticket/x", "/nfc/x/x", "/"} <= paths


OPEN = {"/", "/sdk/vimService.wsdl", "/sdk/vimServiceVersions.xml"}
"""What vSphere tells everybody."""


@pytest.mark.parametrize("name", EVIL)
def test_no_endpoint_gives_anything_to_who_is_unknown(
    served: Lab, other: Client, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with Latency(other) as latency:
        for method, path in sorted(routes(served)):
            begin = time.monotonic()
            status, text = send(served, method, path, EVIL[name])
            took = time.monotonic() - begin
            assert took < SOON_S, (method, path)
            assert "Traceback" not in text
            if path in OPEN:
                assert status in {0, 200}, (method, path)
            else:
                assert status in {0, 400, 401, 404, 413, 500}, (method, path, status)
                assert status != 500 or "Fault" in text, (method, path, text)
    assert latency.longest_s < SOON_S
    assert not [each for each in caplog.records if each.exc_info or each.levelno >= 30]


@pytest.mark.parametrize("name", EVIL)
def test_who_is_logged_in_gets_a_fault_and_others_their_answers(
    served: Lab, other: Client, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    client = connect(served)
    with Latency(other) as latency:
        for path in ("/sdk", "/sdk/", "/sdk/vimService", "/pbm", "/pbm/sdk"):
            action = "urn:pbm/8.0.3.0" if "pbm" in path else "urn:vim25/8.0.3.0"
            status, text = send(
                served, "POST", path, EVIL[name], client.cookie, SOAPAction=f'"{action}"'
            )
            assert status == 500, (path, status)
            assert "<soapenv:Fault>" in text
            assert "SystemError" not in text
            if path == "/sdk":
                assert re.search('"(InvalidRequest|InvalidType|MethodNotFound)"', text), text
    assert latency.longest_s < SOON_S
    assert not [each for each in caplog.records if each.exc_info]
    client.close()


def test_the_counters_and_the_log_take_no_more_than_a_name(served: Lab, other: Client) -> None:
    served.wire_log.clear()
    header = "<operationID>" + "o" * 60_000 + "</operationID>"
    body = envelope(call("RetrieveServiceContent", "ServiceInstance", "ServiceInstance"), header)
    for _ in range(3):
        assert send(served, "POST", "/sdk", body.encode())[0] == 200
    assert served.wire_log.calls()["RetrieveServiceContent", ""] == 3
    body = envelope(call("CurrentTime", "ServiceInstance", "ServiceInstance"), header)
    assert send(served, "POST", "/sdk", body.encode(), other.cookie)[0] == 200
    assert max(len(name) for _, name in served.wire_log.calls()) <= 128


def test_a_large_request_of_a_session_is_served(served: Lab, other: Client) -> None:
    root = other.content.rootFolder
    spec = vmodl.query.PropertyCollector.FilterSpec(
        objectSet=[vmodl.query.PropertyCollector.ObjectSpec(obj=root) for _ in range(5000)],
        propSet=[vmodl.query.PropertyCollector.PropertySpec(type=vim.Folder, pathSet=["name"])],
    )
    (found,) = other.content.propertyCollector.RetrieveContents([spec])
    assert found.obj == root
