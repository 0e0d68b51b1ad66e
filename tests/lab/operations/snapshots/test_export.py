"""ExportSnapshot: the disk as it was, also while the machine runs and writes."""

from __future__ import annotations

import ssl
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from pyVmomi import vim

from tests.lab.client import Client
from tests.lab.machines import CLUSTER, MIB, Machine
from vmops.lab.storage.disks import DiskStore
from vmops.lab.storage.paths import DatastorePath
from vmops.lab.storage.volumes import Volumes


def ready(lease: Any) -> Any:
    deadline = time.monotonic() + 10
    while lease.state == "initializing" and time.monotonic() < deadline:
        time.sleep(0.01)
    assert lease.state == "ready"
    return lease.info


def fetch(client: Client, url: str) -> bytes:
    context = ssl.create_default_context(cafile=str(client.lab.certificate_file))
    context.check_hostname = False
    with urllib.request.urlopen(url, context=context, timeout=20) as answer:
        return bytes(answer.read())


@pytest.mark.parametrize("power", ["off", "on"])
def test_the_disk_of_the_snapshot_comes_out(machine: Machine, tmp_path: Path, power: str) -> None:
    client = machine.client
    machine.write(1)
    if power == "on":
        machine.on()
    snapshot = machine.snapshot("one")
    machine.write(2)
    lease = snapshot.ExportSnapshot()
    info = ready(lease)
    assert info.entity == machine.vm
    assert info.totalDiskCapacityInKB == 4096
    [url] = info.deviceUrl
    (tmp_path / "fetched.vmdk").write_bytes(fetch(client, url.url))
    [entry] = lease.HttpNfcLeaseGetManifest()
    assert entry.size == (tmp_path / "fetched.vmdk").stat().st_size
    lease.HttpNfcLeaseComplete()
    store = DiskStore(Volumes({"here": tmp_path}))
    store.import_file(tmp_path / "fetched.vmdk", DatastorePath("here", "x.vmdk"))
    data = (tmp_path / "x-flat.vmdk").read_bytes()
    assert len(data) == 4 * MIB
    assert data[:CLUSTER] == bytes([1]) * CLUSTER
    machine.remove(snapshot)


def test_a_snapshot_is_not_removed_while_it_is_fetched(machine: Machine) -> None:
    snapshot = machine.snapshot("one")
    lease = snapshot.ExportSnapshot()
    ready(lease)
    with pytest.raises(vim.fault.InvalidState):
        machine.remove(snapshot)
    assert machine.tree() == ["one"]
    lease.HttpNfcLeaseAbort()
    machine.remove(snapshot)


def test_a_machine_is_exported_only_while_it_is_off(machine: Machine) -> None:
    machine.on()
    with pytest.raises(vim.fault.InvalidPowerState):
        machine.ExportVm()
