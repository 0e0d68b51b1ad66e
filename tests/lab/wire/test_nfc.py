"""Leases and the bytes that go through them, checked with QEMU's own tools."""

import hashlib
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from http.client import HTTPMessage
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from pyVmomi import vim, vmodl

from tests.lab.client import Client, connect
from tests.lab.machines import virtual_machine
from tests.lab.specs import config_spec, disk_spec
from vmops.lab import Lab, LabSettings
from vmops.lab.machine import nfc_lease
from vmops.lab.machine.nfc_lease import HttpNfcLease

MIB = 1024**2
qemu_img = pytest.mark.skipif(shutil.which("qemu-img") is None, reason="qemu-img is missing")


def wait(lease: Any, *states: str) -> str:
    deadline = time.monotonic() + 20
    while lease.state not in states:
        assert time.monotonic() < deadline, f"the lease is still {lease.state}"
        time.sleep(0.01)
    return str(lease.state)


def begin(client: Client, name: str, *, disk_mib: int = 2, thin: bool = True) -> Any:
    folder, pool = client.folder, client.pool
    spec = vim.vm.VmImportSpec(configSpec=disk_spec(name, disk_mib, thin=thin))
    return pool.ImportVApp(spec, folder, None)


def machines(client: Client) -> set[str]:
    return {each.name for each in client.folder.childEntity}


def put(
    client: Client,
    url: str,
    body: bytes | Iterable[bytes] | None,
    method: str = "PUT",
    **headers: str,
) -> tuple[int, HTTPMessage, bytes]:
    return client.request(method, urlsplit(url).path, body, cookie=False, **headers)


@pytest.fixture
def image(tmp_path: Path) -> tuple[bytes, bytes]:
    """Raw content of 6 MiB and the same as a streamOptimized VMDK."""
    raw, vmdk = tmp_path / "image.raw", tmp_path / "image.vmdk"
    raw.write_bytes(os.urandom(MIB) + bytes(4 * MIB) + os.urandom(MIB))
    options = ["-O", "vmdk", "-o", "subformat=streamOptimized"]
    subprocess.run(["qemu-img", "convert", "-f", "raw", *options, str(raw), str(vmdk)], check=True)
    return raw.read_bytes(), vmdk.read_bytes()


@qemu_img
@pytest.mark.parametrize("method", ["PUT", "POST"])
def test_a_stream_becomes_the_machines_disk(
    client: Client, name: str, image: tuple[bytes, bytes], method: str
) -> None:
    content, stream = image
    lease = begin(client, name, disk_mib=2)
    assert wait(lease, "ready", "error") == "ready"
    info = lease.info
    [device] = info.deviceUrl
    assert device.url.startswith(client.lab.url.removesuffix("/sdk") + "/nfc/")
    assert device.disk
    assert device.importKey == f"/{name}/ParaVirtualSCSIController0:0"
    assert info.leaseTimeout == 300
    assert len(device.sslThumbprint) == 59
    vm = info.entity
    assert put(client, device.url, stream, method)[0] == 200
    lease.HttpNfcLeaseProgress(100)
    assert lease.transferProgress == 100
    [entry] = lease.HttpNfcLeaseGetManifest()
    assert entry.sha1 == hashlib.sha1(stream).hexdigest()  # noqa: S324 - the API's choice
    assert (entry.size, entry.capacity, entry.key) == (len(stream), 6 * MIB, device.key)
    lease.HttpNfcLeaseComplete()
    assert wait(lease, "done", "error") == "done"
    assert (client.root() / name / f"{name}-flat.vmdk").read_bytes() == content
    [disk] = [
        each for each in vm.config.hardware.device if isinstance(each, vim.vm.device.VirtualDisk)
    ]
    assert disk.capacityInBytes == 6 * MIB
    assert sorted(each.name for each in (client.root() / name).glob("*.vmdk")) == [
        f"{name}-flat.vmdk",
        f"{name}.vmdk",
    ]
    with pytest.raises(vim.fault.InvalidState):
        lease.HttpNfcLeaseAbort()
    assert put(client, device.url, stream)[0] == 409
    client.result(vm.Destroy_Task())
    assert not (client.root() / name).exists()


def test_flat_bytes_of_the_right_length_are_taken(client: Client, name: str) -> None:
    lease = begin(client, name)
    wait(lease, "ready")
    content = os.urandom(2 * MIB)
    url = lease.info.deviceUrl[0].url
    blocks = (content[at : at + 100_000] for at in range(0, len(content), 100_000))
    assert put(client, url, blocks)[0] == 200
    vm = lease.info.entity
    lease.HttpNfcLeaseComplete()
    assert (client.root() / name / f"{name}-flat.vmdk").read_bytes() == content
    client.result(vm.PowerOnVM_Task())
    client.result(vm.PowerOffVM_Task())
    client.result(vm.Destroy_Task())


@qemu_img
@pytest.mark.parametrize("wrong", ["empty", "garbage", "cut", "flat of another length", "flipped"])
def test_wrong_bytes_end_the_lease_and_leave_nothing(
    client: Client, name: str, image: tuple[bytes, bytes], wrong: str
) -> None:
    _, stream = image
    bodies = {
        "empty": b"",
        "garbage": b"QFI\xfb" + bytes(1000),
        "cut": stream[: len(stream) // 2],
        "flat of another length": bytes(3 * MIB),
        "flipped": stream[:100_000] + bytes(5000) + stream[105_000:],
    }
    lease = begin(client, name)
    wait(lease, "ready")
    status, _, text = put(client, lease.info.deviceUrl[0].url, bodies[wrong])
    assert status == 400
    assert str(client.lab.settings.state_dir).encode() not in text
    assert wait(lease, "error") == "error"
    assert isinstance(lease.error, vim.fault.InvalidDiskFormat)
    assert name not in machines(client)
    assert not (client.root() / name).exists()
    with pytest.raises(vim.fault.InvalidState):
        lease.HttpNfcLeaseComplete()


def test_a_machine_that_was_switched_on_keeps_its_disk(client: Client, name: str) -> None:
    lease = begin(client, name)
    wait(lease, "ready")
    vm = lease.info.entity
    client.result(vm.PowerOnVM_Task())
    assert put(client, lease.info.deviceUrl[0].url, bytes(2 * MIB))[0] == 423
    wait(lease, "error")
    client.result(vm.PowerOffVM_Task())
    client.result(vm.Destroy_Task())


def test_completing_waits_for_bytes_that_are_on_their_way(client: Client, name: str) -> None:
    """oslo.vmware completes a lease before it reads the answer to its upload."""
    lease = begin(client, name)
    wait(lease, "ready")
    url = lease.info.deviceUrl[0].url
    content = os.urandom(2 * MIB)
    with half_sent(client, url, content) as rest:
        sending = threading.Timer(0.5, rest)
        sending.start()
        lease.HttpNfcLeaseComplete()
        sending.join()
    assert lease.state == "done"
    assert (client.root() / name / f"{name}-flat.vmdk").read_bytes() == content
    client.result(machine(client, name).Destroy_Task())


def machine(client: Client, name: str) -> Any:
    return next(each for each in client.folder.childEntity if each.name == name)


def test_a_transfer_that_breaks_can_be_repeated(
    client: Client, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nfc_lease, "COMPLETE_PATIENCE_S", 0.3)
    lease = begin(client, name)
    wait(lease, "ready")
    url = lease.info.deviceUrl[0].url
    with half_sent(client, url):
        assert put(client, url, b"x")[0] == 409, "one transfer of a disk at a time"
        with pytest.raises(vim.fault.InvalidState):
            lease.HttpNfcLeaseComplete()
    deadline = time.monotonic() + 10
    while (status := put(client, url, bytes(2 * MIB))[0]) == 409:
        assert time.monotonic() < deadline
    assert status == 200
    vm = lease.info.entity
    lease.HttpNfcLeaseComplete()
    client.result(vm.Destroy_Task())


@contextmanager
def half_sent(
    client: Client, url: str, content: bytes = bytes(2_000_000)
) -> Iterator[Callable[[], None]]:
    """Send the beginning of an upload; gives what sends the rest."""
    connection = client.connection()
    connection.connect()
    head = f"PUT {urlsplit(url).path} HTTP/1.1\r\nHost: lab\r\n"
    head += f"Content-Length: {len(content)}\r\n\r\n"
    connection.sock.sendall(head.encode() + content[:1000])
    time.sleep(0.2)
    try:
        yield lambda: connection.sock.sendall(content[1000:])
    finally:
        connection.sock.shutdown(socket.SHUT_RDWR)
        connection.close()


def test_abort_ends_a_running_transfer_and_destroys_the_machine(client: Client, name: str) -> None:
    lease = begin(client, name)
    wait(lease, "ready")
    assert name in machines(client)
    with half_sent(client, lease.info.deviceUrl[0].url):
        lease.HttpNfcLeaseAbort(vim.fault.FileFault(file="mine", msg="I give up"))
        assert lease.state == "error"
        assert lease.error.file == "mine"
    assert name not in machines(client)
    assert not (client.root() / name).exists()
    with pytest.raises(vim.fault.InvalidState):
        lease.HttpNfcLeaseProgress(1)


def test_a_lease_without_a_word_expires(
    client: Client, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(HttpNfcLease, "timeout_s", 1)
    lease = begin(client, name)
    wait(lease, "ready")
    assert lease.info.leaseTimeout == 1
    for _ in range(4):
        time.sleep(0.4)
        lease.HttpNfcLeaseProgress(10)
    assert lease.state == "ready", "progress keeps it alive"
    assert wait(lease, "error") == "error"
    assert isinstance(lease.error, vim.fault.Timedout)
    for call in (
        lambda: lease.HttpNfcLeaseProgress(1),
        lease.HttpNfcLeaseComplete,
        lease.HttpNfcLeaseAbort,
        lease.HttpNfcLeaseGetManifest,
    ):
        with pytest.raises(vim.fault.Timedout):
            call()
    assert name not in machines(client)


def test_a_machine_that_cannot_be_made_is_the_leases_error(client: Client, name: str) -> None:
    with virtual_machine(client, name):
        lease = begin(client, f"vm-{name}")
        assert wait(lease, "ready", "error") == "error"
        assert isinstance(lease.error, vim.fault.DuplicateName)
        assert f"vm-{name}" in machines(client)


def test_what_cannot_be_imported(client: Client, name: str) -> None:
    place_, pool = client.folder, client.pool
    spec = vim.vm.VmImportSpec(configSpec=config_spec(name))
    with pytest.raises(vmodl.fault.InvalidArgument):
        pool.ImportVApp(spec, None, None)
    with pytest.raises(vmodl.fault.InvalidArgument):
        pool.ImportVApp(spec, client.datacenter.hostFolder, None)
    vapp = vim.vApp.VAppImportSpec(
        name=name, vAppConfigSpec=vim.vApp.VAppConfigSpec(), resourcePoolSpec=pool.config
    )
    with pytest.raises(vmodl.fault.NotSupported):
        pool.ImportVApp(vapp, place_, None)


def test_urls_of_nothing(client: Client, name: str) -> None:
    lease = begin(client, name)
    wait(lease, "ready")
    url = lease.info.deviceUrl[0].url
    assert put(client, url.replace("disk-0", "disk-1"), b"x")[0] == 404
    assert put(client, url.replace("/nfc/", "/nfc/0"), b"x")[0] == 404
    assert put(client, url, None, "GET")[0] == 405
    assert put(client, url, b"x", "DELETE")[0] == 405
    lease.HttpNfcLeaseAbort()


def test_a_full_datastore_ends_the_lease(small: Client) -> None:
    lease = begin(small, "too-big", disk_mib=16)
    wait(lease, "ready")
    try:
        status = put(small, lease.info.deviceUrl[0].url, os.urandom(16 * MIB))[0]
    except (BrokenPipeError, ConnectionResetError):
        status = 507
    assert status == 507
    wait(lease, "error")
    assert isinstance(lease.error, vim.fault.NoDiskSpace)
    assert "too-big" not in machines(small)


def test_a_lab_that_was_killed_destroys_the_half_imported_machine(tmp_path: Path) -> None:
    settings = LabSettings(state_dir=tmp_path / "lab", hypervisor="none")
    with Lab.run(settings) as lab:
        client = connect(lab)
        wait(begin(client, "half"), "ready")
        lease = begin(client, "whole")
        wait(lease, "ready")
        lease.HttpNfcLeaseComplete()
        root = client.root()
        lab.kill()
        client.drop()
    assert (root / "half").exists()
    with Lab.run(settings) as lab:
        client = connect(lab)
        deadline = time.monotonic() + 10
        while "half" in machines(client):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert "whole" in machines(client)
        client.close()
    assert not (root / "half").exists()


def test_a_lab_that_stops_ends_its_leases(tmp_path: Path) -> None:
    settings = LabSettings(state_dir=tmp_path / "lab", hypervisor="none")
    with Lab.run(settings) as lab:
        client = connect(lab)
        wait(begin(client, "half"), "ready")
        root = client.root()
    client.drop()
    assert not (root / "half").exists()


@qemu_img
def test_an_exported_disk_is_a_stream_that_qemu_reads(
    client: Client, name: str, tmp_path: Path
) -> None:
    with virtual_machine(client, name, disk_mib=6) as vm:
        content = os.urandom(MIB) + bytes(4 * MIB) + os.urandom(MIB)
        [flat] = (client.root() / f"vm-{name}").glob("*-flat.vmdk")
        flat.write_bytes(content)

        lease = vm.ExportVm()
        wait(lease, "ready")
        [device] = lease.info.deviceUrl
        status, headers, stream = put(client, device.url, None, "GET")
        assert (status, headers["Content-Type"]) == (200, "application/x-vnd.vmware-streamVmdk")
        [entry] = lease.HttpNfcLeaseGetManifest()
        assert (entry.size, entry.capacity) == (len(stream), 6 * MIB)
        assert entry.sha1 == hashlib.sha1(stream).hexdigest()  # noqa: S324
        assert put(client, device.url, b"x")[0] == 405
        lease.HttpNfcLeaseComplete()
        client.result(vm.PowerOnVM_Task())
        with pytest.raises(vim.fault.InvalidPowerState):
            vm.ExportVm()
        (tmp_path / "out.vmdk").write_bytes(stream)
        subprocess.run(
            ["qemu-img", "convert", "-f", "vmdk", "-O", "raw", "out.vmdk", "out.raw"],
            cwd=tmp_path,
            check=True,
        )
        assert (tmp_path / "out.raw").read_bytes() == content
