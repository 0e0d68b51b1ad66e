"""A pyVmomi session with a lab: what every test of the lab talks to it with."""

from __future__ import annotations

import http.client
import ssl
import time
from http.client import HTTPMessage
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote, urlencode, urlsplit

from pyVmomi import vim
from pyVmomi.SoapAdapter import SoapStubAdapter

from tests.lab.specs import config_spec
from vmops.lab import Lab
from vmops.lab.kernel.service_instance import WIRE_VERSION


class Endpoint(Protocol):
    """Where a session can be opened, and who may."""

    @property
    def url(self) -> str: ...
    @property
    def certificate_file(self) -> Path: ...
    @property
    def username(self) -> str: ...
    @property
    def password(self) -> str: ...


def context(certificate_file: Path) -> ssl.SSLContext:
    """What trusts the lab's own certificate, and no other."""
    return ssl.create_default_context(cafile=str(certificate_file))


def message(fault: object) -> str:
    """What the server says of a fault; pyVmomi's stubs do not name it."""
    return str(vars(fault)["msg"])


class Session:
    """A pyVmomi client with a certificate that it verifies; whether it is logged in is told."""

    def __init__(self, endpoint: Endpoint, *, login: bool = True) -> None:
        self.endpoint = endpoint
        url = urlsplit(endpoint.url)
        self.stub: Any = SoapStubAdapter(
            host=url.hostname,
            port=url.port,
            sslContext=context(endpoint.certificate_file),
            version=WIRE_VERSION,
            poolSize=8,
        )
        self.service: Any = vim.ServiceInstance("ServiceInstance", self.stub)
        self.content: Any = self.service.RetrieveContent()
        if login:
            self.login()

    def login(self) -> Any:
        return self.content.sessionManager.Login(
            self.endpoint.username, self.endpoint.password, None
        )

    def result(self, task: Any) -> Any:
        """Wait for a task; its error is raised."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            info = task.info
            if info.state == "success":
                return info.result
            if info.state == "error":
                raise info.error
            time.sleep(0.005)
        raise TimeoutError(f"{task} is still {info.state}")

    def close(self) -> None:
        self.content.sessionManager.Logout()
        self.drop()

    def drop(self) -> None:
        """Hang up, and stay logged in."""
        self.stub.DropConnections()


class Client(Session):
    """A session with a whole lab: its inventory, its machines, its files."""

    def __init__(self, lab: Lab) -> None:
        super().__init__(lab)
        self.lab = lab

    @property
    def datacenter(self) -> Any:
        [datacenter] = self.content.rootFolder.childEntity
        return datacenter

    @property
    def folder(self) -> Any:
        return self.datacenter.vmFolder

    @property
    def compute(self) -> Any:
        [compute] = self.datacenter.hostFolder.childEntity
        return compute

    @property
    def pool(self) -> Any:
        return self.compute.resourcePool

    def network(self, name: str) -> Any:
        return next(each for each in self.datacenter.network if each.name == name)

    @property
    def datastores(self) -> dict[str, Any]:
        return {each.name: each for each in self.datacenter.datastore}

    @property
    def datastore(self) -> str:
        """The name of the first datastore."""
        return min(self.datastores)

    def create(
        self,
        name: str,
        *changes: Any,
        folder: Any = None,
        pool: Any = None,
        host: Any = None,
        path: str = "[datastore1]",
        **spec: Any,
    ) -> Any:
        config = config_spec(name, *changes, path=path, **spec)
        folder = folder or self.folder
        return self.result(folder.CreateVM_Task(config, pool or self.pool, host))

    def reconfigure(self, vm: Any, *changes: Any, **spec: Any) -> None:
        wanted = vim.vm.ConfigSpec(deviceChange=list(changes), **spec)
        self.result(vm.ReconfigVM_Task(wanted))

    def register(
        self,
        path: str,
        name: str | None = None,
        *,
        as_template: bool = False,
        pool: Any = None,
        host: Any = None,
    ) -> Any:
        pool = None if as_template else pool or self.pool
        return self.result(self.folder.RegisterVM_Task(path, name, as_template, pool, host))

    def file(self, path: str) -> Path:
        """The host's path of ``[datastore1] a/b``."""
        datastore, _, rest = path.removeprefix("[").partition("] ")
        return self.lab.datastore_root(datastore) / rest

    def root(self, datastore: str | None = None) -> Path:
        """The directory on this machine behind a datastore."""
        return self.lab.datastore_root(datastore or self.datastore)

    @property
    def cookie(self) -> str:
        value, _, _ = str(self.stub.cookie).partition(";")
        return value

    def url(self, path: str, datastore: str | None = None, **query: str) -> str:
        """Where a file of a datastore is served."""
        known = {"dcPath": self.datacenter.name, "dsName": datastore or self.datastore}
        return f"/folder/{quote(path)}?{urlencode(known | query)}"

    def request(
        self, method: str, path: str, body: Any = None, *, cookie: bool = True, **headers: str
    ) -> tuple[int, HTTPMessage, bytes]:
        """Send one HTTP request; return status, headers and body."""
        connection = self.connection()
        try:
            sent = {name.replace("_", "-"): value for name, value in headers.items()}
            if cookie:
                sent["Cookie"] = self.cookie
            connection.request(method, path, body=body, headers=sent)
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()

    def connection(self) -> http.client.HTTPSConnection:
        url = urlsplit(self.lab.url)
        trust = context(self.lab.certificate_file)
        return http.client.HTTPSConnection(str(url.hostname), url.port, context=trust, timeout=30)


def connect(lab: Lab) -> Client:
    return Client(lab)
