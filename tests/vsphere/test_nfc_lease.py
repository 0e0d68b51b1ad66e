from __future__ import annotations

import io
import os
import subprocess
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from pyVmomi import vim

from tests.vsphere.conftest import Place, eventually
from vmops.context import operation
from vmops.errors import (
    ManagedObjectNotFound,
    TransferFailed,
    UnsupportedDevice,
    VMOpsError,
    VsphereFault,
)
from vmops.model.datastore_path import DatastorePath
from vmops.model.image import AdapterType
from vmops.progress import Event, TransferProgress
from vmops.specs import virtual_machine as vm_specs
from vmops.units import MIB
from vmops.vsphere.live.stream import STREAM_METHODS
from vmops.vsphere.objects.nfc_lease import NfcLease
from vmops.vsphere.objects.resource_pool import ResourcePool
from vmops.vsphere.session import Session

CAPACITY = 4 * MIB


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, bytes]:
    """A disk, and the same as streamOptimized."""
    folder = tmp_path_factory.mktemp("image")
    raw, stream = folder / "disk.raw", folder / "disk.vmdk"
    raw.write_bytes(os.urandom(CAPACITY // 2) + bytes(CAPACITY // 2))
    options = ["-f", "raw", "-O", "vmdk", "-o", "subformat=streamOptimized"]
    subprocess.run(["qemu-img", "convert", *options, raw, stream], check=True)
    return raw.read_bytes(), stream.read_bytes()


def begin(session: Session, name: str, capacity: int = CAPACITY) -> NfcLease:
    cluster = session.inventory.cluster()
    datacenter = session.inventory.datacenter(cluster.datacenter)
    datastore = session.inventory.datastores()[0].name
    spec = vm_specs.import_shell(name, datastore, capacity, AdapterType.LSI_LOGIC)
    return ResourcePool(session, cluster.resource_pool).import_vapp(spec, datacenter.vm_folder)


def names(session: Session) -> set[str]:
    found = session.properties.read_container("VirtualMachine", ("name",))
    return {each["name"] for each in found.values()}


def test_an_imported_disk_has_the_bytes_that_were_sent(
    lab: Place, image: tuple[bytes, bytes]
) -> None:
    raw, stream = image
    events: list[Event] = []
    with lab.connect() as session:
        with begin(session, "imported") as lease:
            with operation("import", observe=events.append):
                lease.upload(io.BytesIO(stream), len(stream), name="tiny")
            vm = lease.complete()
        (disk,) = vm.disk_paths()
        assert session.datastore_files.read(disk.flat) == raw
        assert events[-1] == TransferProgress(
            name="tiny", done_bytes=len(stream), total_bytes=len(stream)
        )
        vm.destroy()


def test_a_lease_that_gets_ready_is_heard_of_at_no_call_beside_the_stream(lab: Place) -> None:
    with lab.connect() as session:
        session.inventory.wait_fresh()
        with begin(session, "waited-for") as lease:
            before = session.counts
            assert [device.is_disk for device in lease.wait_ready()] == [True]
            assert set(session.counts - before) <= STREAM_METHODS


@pytest.mark.vcsim
def test_a_lease_that_no_list_takes_is_asked_for(simulator: Place) -> None:
    with simulator.connect() as session:
        with begin(session, "asked-for") as lease:
            started = time.monotonic()
            lease.wait_ready()
            assert time.monotonic() - started < 3
            vm = lease.complete()
        vm.destroy()


def test_a_lease_that_fails_tells_why(lab: Place) -> None:
    with lab.connect() as session:
        with (
            pytest.raises(UnsupportedDevice, match="ImportVApp"),
            begin(session, "too-large", capacity=100 * 1024 * 1024 * MIB) as lease,
        ):
            lease.wait_ready()
        eventually(lambda: "too-large" not in names(session))


def test_a_lease_that_is_gone_is_told(lab: Place) -> None:
    with lab.connect() as session:
        with begin(session, "gone") as lease:
            lease.wait_ready()
        with pytest.raises(VMOpsError, match="aborted"):
            NfcLease(session, lease.moref).wait_ready()
        with pytest.raises(ManagedObjectNotFound):
            NfcLease(session, vim.HttpNfcLease("lease-none")).wait_ready()


@pytest.mark.parametrize("failure", [KeyboardInterrupt, TransferFailed("cut")])
def test_a_lease_that_is_not_completed_leaves_nothing(
    lab: Place, image: tuple[bytes, bytes], failure: BaseException | type[BaseException]
) -> None:
    with lab.connect() as session:
        datastore = session.inventory.datastores()[0].name
        with pytest.raises((KeyboardInterrupt, TransferFailed)), begin(session, "aborted") as lease:
            lease.wait_ready()
            raise failure
        eventually(lambda: "aborted" not in names(session))
        files = session.browse(DatastorePath(datastore))
        assert "aborted" not in {entry.name for entry in files}


def test_a_source_that_is_too_short_fails_and_leaves_nothing(
    lab: Place, image: tuple[bytes, bytes]
) -> None:
    _, stream = image
    with lab.connect() as session:
        with pytest.raises(TransferFailed), begin(session, "short") as lease:
            lease.upload(io.BytesIO(stream[:1000]), len(stream))
        eventually(lambda: "short" not in names(session))


def test_what_is_no_disk_is_refused(lab: Place) -> None:
    with lab.connect() as session:
        with pytest.raises(VMOpsError) as refused, begin(session, "garbage") as lease:
            try:
                lease.upload(io.BytesIO(b"no disk" * 1000), 7000, name="tiny")
            finally:
                said = session.properties.read_one(lease.moref, "error")["error"].msg
        # The server says why at the lease, and by HTTP no more than a status.
        assert said
        assert said in str(refused.value)
        assert "importing tiny" in refused.value.__notes__[0]
        eventually(lambda: "garbage" not in names(session))


def test_a_held_lease_is_kept_alive(lab: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(NfcLease, "_keep_alive", quickly(NfcLease._keep_alive))
    with lab.connect() as session:
        with begin(session, "held") as lease:
            lease.wait_ready()
            eventually(lambda: session.counts["HttpNfcLeaseProgress"] >= 2)
        used = session.counts["HttpNfcLeaseProgress"]
        time.sleep(0.3)
        assert session.counts["HttpNfcLeaseProgress"] == used
        assert "vmops-lease" not in {thread.name for thread in threading.enumerate()}


def quickly(real: Callable[..., Any]) -> Callable[..., Any]:
    return lambda self, every_s: real(self, 0.05)


def test_device_urls_of_the_host_we_talk_to_are_completed(lab: Place) -> None:
    with lab.connect() as session:
        lease = NfcLease(session, vim.HttpNfcLease("lease"))

        url = vim.HttpNfcLease.DeviceUrl(
            key="k", importKey="i", disk=True, url="https://*/nfc/token/disk-0.vmdk?x=1"
        )
        told = lease._device_url(url)
        assert (told.host, told.port) == (session.endpoint.host, session.endpoint.port)
        assert told.target == "/nfc/token/disk-0.vmdk?x=1"
        url.url = "https://esx1.example.com/nfc/token/disk-0.vmdk"
        told = lease._device_url(url)
        assert (told.host, told.port) == ("esx1.example.com", 443)
        with lease._pool(told) as pool:
            assert pool is not session.client.pool


@pytest.mark.parametrize(
    "url",
    [
        "http://esx1/nfc/1/disk-0.vmdk",
        "ftp://esx1/disk",
        "//esx1/disk",
        "/disk",
        "",
        "https:///disk",
        "https://user:word@esx1/disk",
        "https://esx1:0/disk",
        "https://esx1:99999/disk",
        "https://esx1:22x/disk",
        "https://esx1/disk 0.vmdk",
        "https://esx1/disk HTTP/1.1\r\nX-Evil: 1\r\n\r\n",
        "https://esx1/disk\t",
        "https://es\xffx1/disk",
        "https://esx1/d\xefsk",
        "https://-esx1/disk",
        "https://esx1;x/disk",
        "https://[::1/disk",
        "https://esx1/" + "a" * 5000,
        "file:///etc/passwd",
    ],
)
def test_a_url_that_is_none_goes_into_no_request(lab: Place, url: str) -> None:
    with lab.connect() as session:
        lease = NfcLease(session, vim.HttpNfcLease("lease"))
        with pytest.raises(VsphereFault, match="names a URL that is none"):
            lease._device_url(vim.HttpNfcLease.DeviceUrl(key="k", importKey="i", url=url))
