"""/folder of a vCenter's hosts: a client that was told to upload to a host reaches the lab."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import pytest
from pyVmomi import vim

from tests.lab.client import Client

BODY = b"flat bytes"


def url(client: Client, folder: Any, dc_path: str) -> str:
    return client.url(f"{folder}/a.vmdk", dcPath=dc_path)


@pytest.mark.parametrize("host", ["esx1.lab.local", "ESX2.lab.local:443"])
def test_a_hosts_only_datacenter_is_ha_datacenter(client: Client, folder: str, host: str) -> None:
    status, _, _ = client.request("PUT", url(client, folder, "ha-datacenter"), BODY, Host=host)
    assert status == 201
    assert (client.root() / folder / "a.vmdk").read_bytes() == BODY


def test_a_host_needs_no_datacenter_path(client: Client, folder: str) -> None:
    (client.root() / folder / "a.vmdk").write_bytes(BODY)
    path = f"/folder/{folder}/a.vmdk?dsName={client.datastore}"
    assert client.request("GET", path, Host="esx1.lab.local")[2] == BODY
    assert client.request("GET", path)[0] == 400


@pytest.mark.parametrize("host", ["127.0.0.1", "esx3.lab.local", "vcenter.lab.local:443"])
def test_elsewhere_there_is_no_ha_datacenter(client: Client, folder: str, host: str) -> None:
    status, _, _ = client.request("PUT", url(client, folder, "ha-datacenter"), BODY, Host=host)
    assert status == 404
    assert list((client.root() / folder).iterdir()) == []


def test_a_ticket_opens_one_upload_to_a_host(client: Client, folder: str) -> None:
    target = url(client, folder, "ha-datacenter")
    spec = vim.SessionManager.HttpServiceRequestSpec(
        method="httpPut", url=f"https://esx1.lab.local{target}"
    )
    ticket = client.content.sessionManager.AcquireGenericServiceTicket(spec)
    assert ticket.hostName == "esx1.lab.local"
    headers = {
        "Host": f"esx1.lab.local:{urlsplit(client.lab.url).port}",
        "Cookie": f"vmware_cgi_ticket={ticket.id}",
    }
    assert client.request("PUT", target, BODY, cookie=False, **headers)[0] == 201
    assert (client.root() / folder / "a.vmdk").read_bytes() == BODY
    assert client.request("PUT", target, BODY, cookie=False, **headers)[0] == 401
