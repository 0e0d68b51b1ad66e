"""Serial ports on connections, as a client asks for them and as the file keeps them."""

from __future__ import annotations

import re
import socket
import time

import pytest
from pyVmomi import vim

from tests.guests.plain_qemu import require_qemu
from tests.unit.lab.relocate.views import machine
from tests.unit.lab.vm.vm_client import add, connect, device, disk, of_type, scsi
from vmops.lab import Lab, LabSettings
from vmops.lab.guest import boot_sector_disk
from vmops.lab.hypervisor import NetworkSerialPort
from vmops.lab.storage.disks import DiskStore
from vmops.lab.storage.paths import DatastorePath

Uri = device.VirtualSerialPort.URIBackingInfo


def line(uri, direction="server", **fields):
    backing = Uri(serviceURI=uri, direction=direction, **fields)
    return add(device.VirtualSerialPort(key=-9, yieldOnPoll=True, backing=backing))


def test_it_is_kept_and_reaches_the_hypervisor(client, name):
    vm = client.create(name, line("telnet://:7001"), line("tcp://collector:7002", "client"))
    client.result(vm.PowerOnVM_Task())

    first, second = machine(client, vm).serial_ports
    assert first == NetworkSerialPort(key=9000, direction="server", port=7001)
    assert second == NetworkSerialPort(
        key=9001, direction="client", port=7002, host="collector", telnet=False
    )
    client.result(vm.PowerOffVM_Task())
    path = vm.config.files.vmPathName
    vm.UnregisterVM()
    again = client.register(path)
    backings = [each.backing for each in of_type(again, device.VirtualSerialPort)]
    assert [(each.serviceURI, each.direction) for each in backings] == [
        ("telnet://:7001", "server"),
        ("tcp://collector:7002", "client"),
    ]


@pytest.mark.parametrize(
    ("uri", "direction", "fields"),
    [
        ("telnet://10.0.0.1:7001", "server", {}),
        ("telnet://:7001", "client", {}),
        ("telnet://:70010", "server", {}),
        ("telnets://:7001", "server", {}),
        ("file:///etc/passwd", "client", {}),
        ("telnet://:7001", "sideways", {}),
        ("anything", "client", {"proxyURI": "telnet://concentrator:13370"}),
    ],
)
def test_what_the_lab_cannot_serve_it_says(client, name, uri, direction, fields):
    with pytest.raises(vim.fault.DeviceNotSupported):
        client.create(name, line(uri, direction, **fields))


@pytest.mark.guest
def test_a_guest_is_heard_over_its_line(tmp_path, name):
    require_qemu()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with Lab.run(LabSettings(state_dir=tmp_path / "lab", hypervisor="qemu")) as lab:
        client = connect(lab)

        async def make(kernel):
            kernel.service(DiskStore).create(DatastorePath.parse("[datastore1] b.vmdk"), 1024**2)

        lab.on_loop(make)
        with client.file("[datastore1] b-flat.vmdk").open("r+b") as flat:
            flat.write(boot_sector_disk(period=1))
        attached = add(disk(1, name="[datastore1] b.vmdk"))
        vm = client.create(name, scsi(), attached, line(f"tcp://:{port}"), memoryMB=16)
        client.result(vm.PowerOnVM_Task())
        with socket.create_connection(("127.0.0.1", port), timeout=30) as peer:
            heard, deadline = b"", time.monotonic() + 30
            while not re.search(rb"tick \d+\r\ntick \d+\r\n", heard):
                assert time.monotonic() < deadline, heard
                heard += peer.recv(4096)
        client.close()
