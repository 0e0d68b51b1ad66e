"""Serial ports on connections, as a client asks for them and as the file keeps them."""

from __future__ import annotations

import re
import socket
import time
from pathlib import Path
from typing import Any

import pytest
from pyVmomi import vim

from tests.concentrator import concentrator
from tests.guests.plain_qemu import require_qemu
from tests.lab.client import Client, connect
from tests.lab.operations.views import machine
from tests.lab.specs import add, device, disk, of_type, scsi
from vmops.lab import Lab, LabSettings
from vmops.lab.guest import boot_sector_disk
from vmops.lab.hypervisor.port import Concentrator, NetworkSerialPort
from vmops.lab.kernel.kernel import Kernel
from vmops.lab.storage.disks import DiskStore
from vmops.lab.storage.paths import DatastorePath

Uri = device.VirtualSerialPort.URIBackingInfo


def line(uri: str, direction: str = "server", **fields: Any) -> Any:
    backing = Uri(serviceURI=uri, direction=direction, **fields)
    return add(device.VirtualSerialPort(key=-9, yieldOnPoll=True, backing=backing))


def test_it_is_kept_and_reaches_the_hypervisor(client: Client, name: str) -> None:
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
        ("anything", "client", {"proxyURI": "telnets://concentrator:13370"}),
        ("anything", "client", {"proxyURI": "telnet://:13370"}),
        ("", "server", {"proxyURI": "telnet://concentrator:13370"}),
    ],
)
def test_what_the_lab_cannot_serve_it_says(
    client: Client, name: str, uri: str, direction: str, fields: dict[str, Any]
) -> None:
    with pytest.raises(vim.fault.DeviceNotSupported):
        client.create(name, line(uri, direction, **fields))


def test_a_concentrator_is_kept_and_told_of_the_machine(client: Client, name: str) -> None:
    proxied = {"proxyURI": "telnet://concentrator:13370"}
    vm = client.create(name, line("any text", **proxied))
    path = vm.config.files.vmPathName
    vm.UnregisterVM()
    again = client.register(path)
    [backing] = [each.backing for each in of_type(again, device.VirtualSerialPort)]
    assert (backing.serviceURI, backing.direction) == ("any text", "server")
    assert backing.proxyURI == "telnet://concentrator:13370"

    client.result(again.PowerOnVM_Task())

    [port] = machine(client, again).serial_ports
    assert port == NetworkSerialPort(
        key=9000,
        direction="client",
        port=13370,
        host="concentrator",
        concentrator=Concentrator(
            service_uri="any text",
            direction="server",
            vm_name=name,
            vc_uuid=again.config.instanceUuid,
            bios_uuid=again.config.uuid,
        ),
    )


@pytest.mark.guest
def test_a_concentrator_logs_what_the_guest_prints(tmp_path: Path, name: str) -> None:
    require_qemu()
    logs = tmp_path / "logs"
    logs.mkdir()
    settings = LabSettings(state_dir=tmp_path / "lab", hypervisor="qemu")
    with concentrator(logs) as server, Lab.run(settings) as lab:
        client = connect(lab)
        vm = ticking(client, name, line("vmops", proxyURI=server.address))
        other = ticking(client, f"{name}-2", line("declined", proxyURI=server.address))
        for each in (vm, other):
            client.result(each.PowerOnVM_Task())
        log = logs / vm.config.instanceUuid.replace("-", "")

        last_tick(log, 3)

        assert set(server.said) >= {
            ("proxy", "Svmops"),
            ("proxy", "Sdeclined"),
            ("uuid", bytes.fromhex(log.name).hex(" ")),
            ("name", name),
            ("3", "c"),
        }
        source = vm.runtime.host
        target = next(host for host in client.compute.host if host != source)
        client.result(vm.MigrateVM_Task(None, target, "defaultPriority"))
        last_tick(log, last_tick(log, 1) + 3)
        ticks = [int(each) for each in re.findall(rb"tick (\d+)\r\n", log.read_bytes())]
        assert ticks == list(range(ticks[0], ticks[-1] + 1))
        assert [each.name for each in logs.iterdir()] == [log.name]
        client.close()


def ticking(client: Client, name: str, *changes: Any) -> Any:
    """Make a machine whose guest prints ticks."""
    path = f"[datastore1] {name}-b.vmdk"

    async def make(kernel: Kernel) -> None:
        kernel.service(DiskStore).create(DatastorePath.parse(path), 1024**2)

    client.lab.on_loop(make)
    with client.file(path.replace(".vmdk", "-flat.vmdk")).open("r+b") as flat:
        flat.write(boot_sector_disk(period=1))
    return client.create(name, scsi(), add(disk(1, name=path)), *changes, memoryMB=16)


def last_tick(log: Path, wanted: int) -> int:
    """Wait for a tick, and return the last one there is."""
    deadline = time.monotonic() + 60
    while True:
        text = log.read_bytes() if log.exists() else b""
        ticks = [int(each) for each in re.findall(rb"tick (\d+)\r\n", text)]
        if ticks and ticks[-1] >= wanted:
            return ticks[-1]
        assert time.monotonic() < deadline, text
        time.sleep(0.05)


@pytest.mark.guest
def test_a_guest_is_heard_over_its_line(tmp_path: Path, name: str) -> None:
    require_qemu()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with Lab.run(LabSettings(state_dir=tmp_path / "lab", hypervisor="qemu")) as lab:
        client = connect(lab)
        vm = ticking(client, name, line(f"tcp://:{port}"))
        client.result(vm.PowerOnVM_Task())
        with socket.create_connection(("127.0.0.1", port), timeout=30) as peer:
            heard, deadline = b"", time.monotonic() + 30
            while not re.search(rb"tick \d+\r\ntick \d+\r\n", heard):
                assert time.monotonic() < deadline, heard
                heard += peer.recv(4096)
        client.close()
