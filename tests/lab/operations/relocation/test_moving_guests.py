"""Guests that count while they are moved, watched on their serial line and their screen."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest
from pyVmomi import vim

from tests.guests.plain_qemu import require_qemu
from tests.lab.client import Client, connect
from tests.lab.operations.relocation.places import datastore, hosts, names
from tests.lab.specs import add, change, device, disk, extra, of_type, scsi
from tests.lab.web_socket import WebSocket
from tests.rfb import TcpViewer, Viewer
from vmops.lab import Lab, LabSettings
from vmops.lab.guest import boot_count, boot_sector_disk
from vmops.lab.kernel.kernel import Kernel
from vmops.lab.storage.disks import DiskStore
from vmops.lab.storage.paths import DatastorePath

pytestmark = pytest.mark.guest


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    require_qemu()
    settings = LabSettings(state_dir=tmp_path_factory.mktemp("lab"), hypervisor="qemu")
    with Lab.run(settings) as lab:
        client = connect(lab)
        yield client
        client.close()


def booted(client: Client, name: str, *changes: Any, **spec: Any) -> Any:
    """A running guest on the first host, its disk on the first datastore."""
    file = client.file(f"[datastore1] {name}-disk.vmdk")

    async def make(kernel: Kernel) -> None:
        store = kernel.service(DiskStore)
        store.create(DatastorePath.parse(f"[datastore1] {name}-disk.vmdk"), 1024**2)

    client.lab.on_loop(make)
    with file.with_name(f"{name}-disk-flat.vmdk").open("r+b") as flat:
        flat.write(boot_sector_disk(period=1))
    port = device.VirtualSerialPort(
        key=-9, backing=device.VirtualSerialPort.FileBackingInfo(fileName="console.log")
    )
    attached = add(disk(1, name=f"[datastore1] {name}-disk.vmdk"))
    vm = client.create(
        name, scsi(), attached, add(port), *changes, host=hosts(client)[0], memoryMB=16, **spec
    )
    client.result(vm.PowerOnVM_Task())
    ticks(client, vm, at_least=5)
    return vm


def said(client: Client, vm: Any) -> str:
    [port] = of_type(vm, device.VirtualSerialPort)
    return client.file(port.backing.fileName).read_bytes().decode()


def ticks(client: Client, vm: Any, at_least: int) -> list[int]:
    """The ticks so far, once there are as many."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        found = [int(each) for each in re.findall(r"tick (\d+)\r\n", said(client, vm))]
        if found and found[-1] >= at_least:
            return found
        time.sleep(0.05)
    raise AssertionError(f"no tick {at_least}:\n{said(client, vm)[-200:]}")


def went_on(client: Client, vm: Any, before: list[int]) -> list[int]:
    """Whether the guest has counted on without a reset and without leaving a tick out."""
    now = ticks(client, vm, before[-1] + 10)
    assert said(client, vm).count("vmops boot sector") == 1
    assert now == list(range(1, len(now) + 1))
    return now


def test_it_counts_on_over_hosts_and_datastores(client: Client, name: str) -> None:
    vm = booted(client, name)
    first, second = hosts(client)
    before = ticks(client, vm, 10)

    client.result(vm.MigrateVM_Task(None, second, "highPriority"))
    before = went_on(client, vm, before)
    client.result(
        vm.RelocateVM_Task(vim.vm.RelocateSpec(datastore=datastore(client, "datastore2")))
    )
    before = went_on(client, vm, before)
    both = vim.vm.RelocateSpec(host=first, datastore=datastore(client, "datastore1"))
    client.result(vm.RelocateVM_Task(both))
    went_on(client, vm, before)

    assert vm.runtime.host == first
    assert names(client.file(f"[datastore2] {name}/x").parent) is None
    client.result(vm.PowerOffVM_Task())
    [held] = of_type(vm, device.VirtualDisk)
    flat = client.file(held.backing.fileName.replace(".vmdk", "-flat.vmdk"))
    assert boot_count(flat.read_bytes()) == 1


def test_its_devices_come_and_go_as_it_counts(client: Client, name: str) -> None:
    vm = booted(client, name)
    before = ticks(client, vm, 10)

    client.reconfigure(vm, add(disk(4, controller=1000, unit=3), "create"))
    added = of_type(vm, device.VirtualDisk)[1]
    added.capacityInBytes = 8 * 1024**2
    client.reconfigure(vm, change("edit", added))
    before = went_on(client, vm, before)
    client.reconfigure(vm, change("remove", added, "destroy"))
    card = device.VirtualE1000(
        key=-10, backing=device.VirtualEthernetCard.NetworkBackingInfo(deviceName="VM Network")
    )
    client.reconfigure(vm, add(card))
    [card] = of_type(vm, device.VirtualEthernetCard)
    group = client.network("dv-net")
    port = vim.dvs.PortConnection(
        switchUuid=group.config.distributedVirtualSwitch.uuid, portgroupKey=group.key
    )
    moved = type(card)(
        key=card.key,
        backing=device.VirtualEthernetCard.DistributedVirtualPortBackingInfo(port=port),
    )
    client.reconfigure(vm, change("edit", moved))

    went_on(client, vm, before)
    assert vm in group.vm
    client.result(vm.PowerOffVM_Task())


def test_its_screen_is_seen_through_a_ticket_and_by_password(client: Client, name: str) -> None:
    port = free_port()
    options = {
        "RemoteDisplay.vnc.enabled": "TRUE",
        "RemoteDisplay.vnc.port": str(port),
        "RemoteDisplay.vnc.password": "secret12",
    }
    vm = booted(client, name, extraConfig=extra(**options))

    ticket = vm.AcquireTicket("webmks")
    with WebSocket(ticket.url, client.lab.certificate_file) as console:
        first = Viewer(console.send, console.receive).log_in().picture()
    with TcpViewer(port) as viewer:
        second = viewer.log_in("secret12").picture()
    with TcpViewer(port) as viewer, pytest.raises(PermissionError):
        viewer.log_in("another1")

    for picture in (first, second):
        assert sum(any(row) for row in picture) > 10, "a screen with nothing on it"
    client.result(vm.MigrateVM_Task(None, hosts(client)[1], "highPriority"))
    with TcpViewer(port) as viewer:
        viewer.log_in("secret12")
    client.result(vm.PowerOffVM_Task())


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_guest_with_snapshots_moves_whole(client: Client, name: str) -> None:
    vm = booted(client, name)
    client.result(vm.CreateSnapshot_Task("a", "", False, False))
    before = ticks(client, vm, 10)

    spec = vim.vm.RelocateSpec(host=hosts(client)[1], datastore=datastore(client, "datastore2"))
    client.result(vm.RelocateVM_Task(spec))

    went_on(client, vm, before)
    assert names(client.file(f"[datastore1] {name}/x").parent) is None
    assert not client.file(f"[datastore1] {name}-disk.vmdk").exists()
    assert not client.file(f"[datastore1] {name}-disk-flat.vmdk").exists()
    client.result(vm.RemoveAllSnapshots_Task())
    [held] = of_type(vm, device.VirtualDisk)
    assert held.backing.parent is None
    assert held.backing.fileName.startswith("[datastore2]")
    client.result(vm.PowerOffVM_Task())


def test_a_guest_that_ends_on_the_way_keeps_its_content(
    client: Client, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    vm = booted(client, name)
    hypervisor = client.lab.kernel.hypervisor
    real = hypervisor.mirror_disk

    async def mirror_the_dead(key: str, *arguments: Any) -> None:
        await hypervisor.power_off(key)
        return await real(key, *arguments)

    monkeypatch.setattr(hypervisor, "mirror_disk", mirror_the_dead)
    with pytest.raises(vim.fault.GenericVmConfigFault):
        client.result(
            vm.RelocateVM_Task(vim.vm.RelocateSpec(datastore=datastore(client, "datastore2")))
        )

    [held] = of_type(vm, device.VirtualDisk)
    assert held.backing.fileName == f"[datastore1] {name}-disk.vmdk"
    flat = client.file(f"[datastore1] {name}-disk-flat.vmdk")
    assert boot_count(flat.read_bytes()) == 1
    assert names(client.file(f"[datastore2] {name}/x").parent) is None
