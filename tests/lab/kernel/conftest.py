"""A small lab on the wire for each test, and clients of it."""

from __future__ import annotations

import http.client
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pyVmomi import vim, vmodl

from tests.lab.client import Session, context
from tests.lab.kernel.small_lab import PASSWORD, USER, SmallLab, small_lab

PC = vmodl.query.PropertyCollector


class Client(Session):
    """A session that keeps to explicit calls of the property collector."""

    def __init__(self, lab: SmallLab, *, login: bool = True) -> None:
        super().__init__(lab, login=login)
        self.collector = self.content.propertyCollector

    def vm(self, number: int) -> Any:
        return vim.VirtualMachine(f"vm-{number}", self.stub)

    def all_vms(self, *paths: str, all_paths: bool = False) -> Any:
        """A filter spec of every virtual machine, through a container view."""
        view = self.content.viewManager.CreateContainerView(
            self.content.rootFolder, [vim.VirtualMachine], True
        )
        return through(view, vim.VirtualMachine, *paths, all_paths=all_paths)

    def read(self, ref: Any, *paths: str) -> dict[str, Any]:
        spec = PC.FilterSpec(
            objectSet=[PC.ObjectSpec(obj=ref)],
            propSet=[PC.PropertySpec(type=type(ref), pathSet=list(paths))],
        )
        (content,) = self.collector.RetrieveContents([spec])
        return {each.name: each.val for each in content.propSet}

    def wait_for(self, task: Any) -> Any:
        """The finished task's info, watched through a collector of its own."""
        collector = self.collector.CreatePropertyCollector()
        collector.CreateFilter(of(task, "info.state"), False)
        version = ""
        while True:
            update = collector.WaitForUpdatesEx(version, PC.WaitOptions(maxWaitSeconds=10))
            assert update is not None, "the task does not end"
            version = update.version
            state = update.filterSet[0].objectSet[0].changeSet[0].val
            if state in ("success", "error"):
                collector.Destroy()
                return self.read(task, "info")["info"]


def of(ref: Any, *paths: str) -> Any:
    return PC.FilterSpec(
        objectSet=[PC.ObjectSpec(obj=ref)],
        propSet=[PC.PropertySpec(type=type(ref), pathSet=list(paths))],
    )


def through(view: Any, wire_type: Any, *paths: str, all_paths: bool = False) -> Any:
    step = PC.TraversalSpec(name="view", type=type(view), path="view", skip=False)
    return PC.FilterSpec(
        objectSet=[PC.ObjectSpec(obj=view, skip=True, selectSet=[step])],
        propSet=[PC.PropertySpec(type=wire_type, pathSet=list(paths), all=all_paths)],
    )


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[SmallLab]:
    with small_lab(tmp_path) as running:
        yield running


@pytest.fixture
def new_client(lab: SmallLab) -> Iterator[Callable[..., Client]]:
    clients: list[Client] = []

    def make(**options: Any) -> Client:
        clients.append(Client(lab, **options))
        return clients[-1]

    yield make
    for each in clients:
        each.drop()


@pytest.fixture
def client(new_client: Callable[..., Client]) -> Client:
    return new_client()


@dataclass
class Answer:
    status: int
    text: str
    headers: dict[str, str]

    @property
    def fault(self) -> str | None:
        """The name of the fault's type, if it is one."""
        found = re.search(r'<detail><\w+Fault xmlns="urn:vim25" xsi:type="(\w+)">', self.text)
        return found.group(1) if found else None


class Wire:
    """Sends bytes."""

    def __init__(self, lab: SmallLab) -> None:
        trust = context(lab.certificate_file)
        self._connection = http.client.HTTPSConnection(
            "127.0.0.1", lab.port, context=trust, timeout=20
        )
        self.cookie = ""

    def post(self, body: bytes | str, action: str = "urn:vim25/8.0.3.0") -> Answer:
        return self.send("POST", "/sdk", body, {"SOAPAction": f'"{action}"'})

    def call(self, body: str, *, header: str = "", **options: Any) -> Answer:
        return self.post(envelope(body, header), **options)

    def login(self) -> Answer:
        answer = self.call(
            '<Login xmlns="urn:vim25"><_this type="SessionManager">SessionManager</_this>'
            f"<userName>{USER}</userName><password>{PASSWORD}</password>"
            "</Login>"
        )
        assert answer.status == 200, answer.text
        self.cookie = answer.headers["Set-Cookie"].partition(";")[0]
        return answer

    def send(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> Answer:
        headers = dict(headers or {})
        if self.cookie:
            headers["Cookie"] = self.cookie
        payload = body.encode() if isinstance(body, str) else body
        self._connection.request(method, path, payload, headers)
        reply = self._connection.getresponse()
        return Answer(reply.status, reply.read().decode(), dict(reply.getheaders()))

    def close(self) -> None:
        self._connection.close()


def envelope(body: str, header: str = "") -> str:
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        '<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"'
        ' xmlns:xsd="http://www.w3.org/2001/XMLSchema"'
        ' xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">'
        f"<soapenv:Header>{header}</soapenv:Header>"
        f"<soapenv:Body>{body}</soapenv:Body></soapenv:Envelope>"
    )


@pytest.fixture
def wire(lab: SmallLab) -> Iterator[Wire]:
    made = Wire(lab)
    yield made
    made.close()
