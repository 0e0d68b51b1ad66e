"""A lab without guests, a SOAP client and raw HTTP for it."""

from __future__ import annotations

import http.client
import secrets
import ssl
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlencode, urlsplit

import pytest
from pyVmomi import SoapStubAdapter, vim

from vmops.lab import Lab, LabSettings


@dataclass
class Client:
    """One session with a lab."""

    lab: Lab
    stub: object
    content: object

    @property
    def cookie(self):
        return self.stub.cookie.split(";")[0]

    @property
    def datacenter(self):
        if self.lab.settings.esx:
            return None
        return next(
            each for each in self.content.rootFolder.childEntity if isinstance(each, vim.Datacenter)
        )

    @property
    def dc_path(self):
        return "ha-datacenter" if self.lab.settings.esx else self.datacenter.name

    @property
    def datastores(self):
        [datacenter] = self.content.rootFolder.childEntity
        return {each.name: each for each in datacenter.datastore}

    @property
    def datastore(self):
        """The name of the first datastore."""
        return min(self.datastores)

    def root(self, datastore: str | None = None) -> Path:
        return self.lab.datastore_root(datastore or self.datastore)

    def result(self, task):
        """Wait for a task; its error is raised."""
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            info = task.info
            if info.state == "success":
                return info.result
            if info.state == "error":
                raise info.error
            time.sleep(0.01)
        raise TimeoutError(f"{task} is still {info.state}")

    def request(self, method, path, body=None, *, cookie=True, **headers):
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

    def connection(self):
        url = urlsplit(self.lab.url)
        context = ssl.create_default_context(cafile=str(self.lab.certificate_file))
        context.check_hostname = False
        return http.client.HTTPSConnection(url.hostname, url.port, context=context, timeout=30)

    def url(self, path, datastore=None, **query):
        known = {"dcPath": self.dc_path, "dsName": datastore or self.datastore}
        return f"/folder/{quote(path)}?{urlencode(known | query)}"

    def close(self):
        self.content.sessionManager.Logout()
        self.drop()

    def drop(self):
        self.stub.DropConnections()


def connect(lab: Lab) -> Client:
    url = urlsplit(lab.url)
    context = ssl.create_default_context(cafile=str(lab.certificate_file))
    context.check_hostname = False
    stub = SoapStubAdapter(
        host=url.hostname, port=url.port, version="vim.version.v8_0_3_0", sslContext=context
    )
    content = vim.ServiceInstance("ServiceInstance", stub).RetrieveContent()
    content.sessionManager.Login(lab.username, lab.password)
    return Client(lab, stub, content)


@pytest.fixture(scope="session")
def lab(tmp_path_factory):
    settings = LabSettings(state_dir=tmp_path_factory.mktemp("lab"), hypervisor="none")
    with Lab.run(settings) as running:
        yield running


@pytest.fixture(scope="session")
def esx_lab(tmp_path_factory):
    settings = LabSettings(state_dir=tmp_path_factory.mktemp("esx"), hypervisor="none", esx=True)
    with Lab.run(settings) as running:
        yield running


@pytest.fixture(scope="session")
def small_lab(tmp_path_factory):
    """A lab whose datastores hold 8 MiB each."""
    settings = LabSettings(
        state_dir=tmp_path_factory.mktemp("small"),
        hypervisor="none",
        datastore_capacity_bytes=8 * 1024**2,
    )
    with Lab.run(settings) as running:
        yield running


@pytest.fixture
def client(lab):
    client = connect(lab)
    yield client
    client.close()


@pytest.fixture
def esx(esx_lab):
    client = connect(esx_lab)
    yield client
    client.close()


@pytest.fixture
def small(small_lab):
    client = connect(small_lab)
    yield client
    client.close()


@pytest.fixture
def name():
    """A name nothing has."""
    return f"test-{secrets.token_hex(4)}"


@pytest.fixture
def folder(client, name):
    """A new folder on the first datastore, by name."""
    (client.root() / name).mkdir()
    return name
