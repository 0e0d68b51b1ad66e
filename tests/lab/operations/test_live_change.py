"""Devices of a running machine: what comes, goes and changes, and what waits."""

from __future__ import annotations

from typing import Any

import pytest
from pyVmomi import vim

from tests.lab.client import Client
from tests.lab.operations.relocation.places import names
from tests.lab.operations.views import broken, machine
from tests.lab.specs import (
    add,
    change,
    device,
    disk,
    distributed_nic,
    extra,
    new_disk,
    of_type,
    scsi,
    standard_nic,
)

MIB = 1024**2


@pytest.fixture
def vm(client: Client, name: str) -> Any:
    made = client.create(name, scsi(), new_disk(4), standard_nic(), iso_drive(client, name))
    client.result(made.PowerOnVM_Task())
    return made


def iso_drive(client: Client, name: str, **fields: Any) -> Any:
    iso = client.file(f"[datastore1] {name}.iso")
    iso.write_bytes(b"\0" * 2048)
    backing = device.VirtualCdrom.IsoBackingInfo(fileName=f"[datastore1] {name}.iso")
    return add(device.VirtualCdrom(key=-20, controllerKey=200, backing=backing, **fields))


def connect_info(*, connected: bool) -> device.VirtualDevice.ConnectInfo:
    return device.VirtualDevice.ConnectInfo(
        startConnected=connected, allowGuestControl=True, connected=connected
    )


def test_a_disk_comes_and_goes(client: Client, vm: Any, name: str) -> None:
    client.reconfigure(vm, new_disk(8, controller=1000, unit=3))

    added = of_type(vm, device.VirtualDisk)[1]
    assert added.key == 2003
    [file] = machine(client, vm).disks[1].layers
    assert file.file == client.file(added.backing.fileName.replace(".vmdk", "-flat.vmdk"))
    assert "scsi0:3.fileName" in client.file(vm.config.files.vmPathName).read_text()
    client.reconfigure(vm, change("remove", added, "destroy"))
    assert [each.key for each in machine(client, vm).disks] == [2000]
    assert not client.file(added.backing.fileName).exists()
    assert not file.file.exists()


def test_a_disk_may_bring_its_controller(client: Client, vm: Any) -> None:
    client.reconfigure(vm, scsi(-1, bus=1), new_disk(4, controller=-1))

    held = machine(client, vm)
    assert [each.bus_number for each in held.controllers if each.model.startswith("Para")] == [0, 1]
    assert held.disks[1].controller_key == 1001


def test_a_disk_grows_under_its_guest(client: Client, vm: Any) -> None:
    [grown] = of_type(vm, device.VirtualDisk)
    grown.capacityInBytes = 12 * MIB

    client.reconfigure(vm, change("edit", grown))

    [shown] = of_type(vm, device.VirtualDisk)
    assert shown.capacityInBytes == 12 * MIB
    file = client.file(shown.backing.fileName.replace(".vmdk", "-flat.vmdk"))
    assert file.stat().st_size == 12 * MIB
    assert f"RW {12 * MIB // 512} VMFS" in client.file(shown.backing.fileName).read_text()


def test_cards_come_go_and_change(client: Client, vm: Any) -> None:
    group = client.network("dv-net")
    client.reconfigure(vm, distributed_nic(group))

    first, second = of_type(vm, device.VirtualEthernetCard)
    assert second.connectable.connected
    assert [each.segment for each in machine(client, vm).nics][1] == group._moId
    assert vm in group.vm
    cut = type(first)(key=first.key, connectable=connect_info(connected=False))
    moved = type(second)(key=second.key, backing=first.backing)
    client.reconfigure(vm, change("edit", cut), change("edit", moved))
    held = machine(client, vm).nics
    assert [each.connected for each in held] == [False, True]
    assert [each.segment for each in held] == [client.network("VM Network")._moId] * 2
    assert [each.connectable.connected for each in of_type(vm, device.VirtualEthernetCard)] == [
        False,
        True,
    ]
    assert vm not in group.vm
    client.reconfigure(vm, change("remove", first))
    assert [each.key for each in machine(client, vm).nics] == [second.key]


def test_what_is_in_the_drive_changes(client: Client, vm: Any, name: str) -> None:
    [drive] = of_type(vm, device.VirtualCdrom)
    assert machine(client, vm).cdroms[0].image == client.file(f"[datastore1] {name}.iso")
    other = client.file(f"[datastore2] {name}.iso")
    other.write_bytes(b"\0" * 2048)

    backing = device.VirtualCdrom.IsoBackingInfo(fileName=f"[datastore2] {name}.iso")
    client.reconfigure(
        vm,
        change(
            "edit",
            device.VirtualCdrom(
                key=drive.key, backing=backing, connectable=connect_info(connected=True)
            ),
        ),
    )

    assert machine(client, vm).cdroms[0].image == other
    assert {each.name for each in vm.datastore} == {"datastore1", "datastore2"}
    ejected = device.VirtualCdrom(
        key=drive.key, backing=backing, connectable=connect_info(connected=False)
    )
    client.reconfigure(vm, change("edit", ejected))
    assert machine(client, vm).cdroms[0].image is None


def test_what_has_to_wait_until_it_is_off(client: Client, vm: Any, name: str) -> None:
    [card] = of_type(vm, device.VirtualEthernetCard)
    [drive] = of_type(vm, device.VirtualCdrom)
    address = type(card)(key=card.key, macAddress="00:50:56:01:02:03")
    port = device.VirtualSerialPort(
        key=-9, backing=device.VirtualSerialPort.FileBackingInfo(fileName="console.log")
    )
    before = names(client.file(f"[datastore1] {name}/x").parent)
    for refused in (
        new_disk(4, controller=200, unit=1),
        change("remove", drive),
        change("edit", address),
    ):
        with pytest.raises(vim.fault.InvalidPowerState):
            client.reconfigure(vm, refused)
    for refused in (add(port), add(device.VirtualAHCIController(key=-5, busNumber=0))):
        with pytest.raises(vim.fault.DeviceHotPlugNotSupported):
            client.reconfigure(vm, refused)
    assert names(client.file(f"[datastore1] {name}/x").parent) == before


@pytest.mark.parametrize("method", ["attach_nic", "extend_disk", "serve_vnc"])
def test_a_failure_leaves_guest_and_files_as_they_were(
    client: Client, vm: Any, name: str, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    [grown] = of_type(vm, device.VirtualDisk)
    grown.capacityInBytes = 12 * MIB
    before, held = names(client.file(f"[datastore1] {name}/x").parent), machine(client, vm)
    vmx = client.file(vm.config.files.vmPathName).read_text()
    broken(client, monkeypatch, method)
    options = {"RemoteDisplay.vnc.enabled": "TRUE", "RemoteDisplay.vnc.password": "secret"}

    with pytest.raises(vim.fault.GenericVmConfigFault, match="cable"):
        client.reconfigure(
            vm,
            new_disk(4, controller=1000, unit=3),
            standard_nic(),
            change("edit", grown),
            extraConfig=extra(**options),
        )

    assert machine(client, vm) == held
    assert names(client.file(f"[datastore1] {name}/x").parent) == before
    assert client.file(vm.config.files.vmPathName).read_text() == vmx
    assert len(vm.config.hardware.device) == len(vm.config.hardware.device)
    assert len(of_type(vm, device.VirtualDisk)) == 1


@pytest.mark.parametrize("method", ["serve_vnc", "detach_nic"])
def test_a_failure_leaves_cards_where_they_were(
    client: Client, vm: Any, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    [card] = of_type(vm, device.VirtualEthernetCard)
    client.reconfigure(vm, standard_nic())
    held, group = machine(client, vm), client.network("dv-net")
    moved = type(card)(key=card.key, backing=distributed_nic(group).device.backing)
    broken(client, monkeypatch, method)
    options = {"RemoteDisplay.vnc.enabled": "TRUE", "RemoteDisplay.vnc.password": "secret"}
    changes = [change("edit", moved)]
    if method == "detach_nic":
        changes.append(change("remove", of_type(vm, device.VirtualEthernetCard)[1]))

    with pytest.raises(vim.fault.GenericVmConfigFault, match="cable"):
        client.reconfigure(vm, *changes, extraConfig=extra(**options))

    assert machine(client, vm).nics == held.nics
    assert vm not in group.vm


def test_a_disk_in_another_machine_is_refused(client: Client, vm: Any, name: str) -> None:
    other = client.create(f"{name}-2", scsi())
    client.result(other.PowerOnVM_Task())
    path = of_type(vm, device.VirtualDisk)[0].backing.fileName

    with pytest.raises(vim.fault.FileLocked):
        client.reconfigure(other, add(disk(4, controller=1000, name=path)))
