"""The simulator starts, serves what it promises, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import ssl
import subprocess
import sys
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509 import load_pem_x509_certificate
from pyVmomi import vim
from pyVmomi.SoapAdapter import SoapStubAdapter

from tests.backends import vcsim
from tests.backends.vcsim import Vcsim
from tests.guards import processes

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [
    pytest.mark.vcsim,
    pytest.mark.skipif(bool(vcsim.missing()), reason=str(vcsim.missing())),
]


@pytest.fixture(scope="module", params=["vcenter", "esx"])
def simulator(request: pytest.FixtureRequest) -> Iterator[Vcsim]:
    with Vcsim(esx=request.param == "esx") as running:
        yield running


def trusting(simulator: Vcsim) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=simulator.certificate)


@contextmanager
def connected(simulator: Vcsim) -> Iterator[Any]:
    """Give the service content as pyVmomi's own client reads it."""
    address = urlsplit(simulator.url)
    stub = SoapStubAdapter(
        host=address.hostname,
        port=address.port,
        path=address.path,
        version="vim.version.version12",  # 6.5, the newest that this simulator speaks
        sslContext=trusting(simulator),
    )
    try:
        yield vim.ServiceInstance("ServiceInstance", stub).RetrieveContent()
    finally:
        stub.DropConnections()


def test_its_client_logs_in_and_sees_the_kind_of_endpoint(simulator: Vcsim) -> None:
    with connected(simulator) as content:
        session = content.sessionManager.Login(simulator.username, simulator.password)
        assert session.userName == simulator.username
        assert content.about.apiType == ("HostAgent" if simulator.esx else "VirtualCenter")
        content.sessionManager.Logout()


def test_a_wrong_password_is_refused(simulator: Vcsim) -> None:
    with connected(simulator) as content, pytest.raises(vim.fault.InvalidLogin):
        content.sessionManager.Login(simulator.username, simulator.password + "x")


def test_a_client_that_does_not_know_the_certificate_is_kept_out(simulator: Vcsim) -> None:
    with pytest.raises(OSError, match="CERTIFICATE_VERIFY_FAILED"):
        urllib.request.urlopen(simulator.url, timeout=5)


def test_the_thumbprint_is_that_of_the_certificate_served(simulator: Vcsim) -> None:
    address = urlsplit(simulator.url)
    served = ssl.get_server_certificate((str(address.hostname), int(address.port or 0)))
    fingerprint = load_pem_x509_certificate(served.encode()).fingerprint(SHA256())
    assert fingerprint == bytes.fromhex(simulator.thumbprint.replace(":", ""))


def test_a_file_put_over_http_lies_in_the_datastore_s_directory(simulator: Vcsim) -> None:
    root = simulator.datastore_root("LocalDS_1")
    datacenter = "ha-datacenter" if simulator.esx else "DC0"
    address = simulator.url.removesuffix("/sdk") + "/folder/a/b.txt"
    request = urllib.request.Request(
        f"{address}?dcPath={datacenter}&dsName=LocalDS_1", data=b"bytes", method="PUT"
    )
    with urllib.request.urlopen(request, context=trusting(simulator), timeout=5) as answer:
        assert answer.status in {200, 201}
    assert (root / "a/b.txt").read_bytes() == b"bytes"


def test_close_ends_the_process_and_removes_its_files() -> None:
    simulator = Vcsim()
    root = simulator.datastore_root(simulator.datastores[0])
    assert root.is_dir()
    assert processes.is_alive(simulator.pid)
    simulator.close()
    simulator.close()
    assert not root.exists()
    assert not processes.is_alive(simulator.pid)


def test_it_ends_with_a_parent_that_was_killed() -> None:
    program = "from tests.backends.vcsim import Vcsim; v = Vcsim(); print(v.pid, flush=True)"
    parent = subprocess.Popen(
        [sys.executable, "-c", f"{program}; import time; time.sleep(60)"],
        cwd=Path(__file__).parents[2],
        env=os.environ | {processes.MARK: (mark := processes.new_mark())},
        stdout=subprocess.PIPE,
    )
    with parent:
        assert parent.stdout
        pid = int(parent.stdout.readline())
        assert pid in [process.pid for process in processes.find(mark)]
        os.kill(parent.pid, signal.SIGKILL)
    left_over = processes.wait_for_none(mark, seconds=5)
    processes.end(left_over)
    assert left_over == []
