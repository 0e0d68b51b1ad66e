"""Devices: their keys, units, files and networks, and what is refused with which index."""

from __future__ import annotations

from typing import Any

import pytest
from pyVmomi import vim

from tests.lab.client import Client
from tests.lab.specs import (
    add,
    change,
    device,
    disk,
    distributed_nic,
    new_disk,
    of_type,
    scsi,
    standard_nic,
)

MIB = 1024**2


def flat_size(client: Client, path: str) -> int:
    return client.file(path.removesuffix(".vmdk") + "-flat.vmdk").stat().st_size


def test_temporary_keys_become_the_keys_of_their_places(client: Client, name: str) -> None:
    vm = client.create(
        name,
        new_disk(controller=-5, key=-2),
        new_disk(controller=-5, key=-3, unit=6),
        new_disk(controller=-5, key=-4),
        scsi(-5),
        add(device.VirtualAHCIController(key=-6, busNumber=0)),
        new_disk(controller=-6, key=-7),
        new_disk(controller=200, key=-8),
        standard_nic(),
        standard_nic(key=-12, model=device.VirtualE1000e),
    )

    disks = {
        (each.controllerKey, each.unitNumber): each for each in of_type(vm, device.VirtualDisk)
    }
    assert {place: each.key for place, each in disks.items()} == {
        (1000, 0): 2000,
        (1000, 1): 2001,
        (1000, 6): 2006,
        (15000, 0): 16000,
        (200, 0): 3000,
    }
    cards = of_type(vm, device.VirtualEthernetCard)
    assert [each.key for each in cards] == [4000, 4001]
    assert [each.deviceInfo.label for each in cards] == ["Network adapter 1", "Network adapter 2"]
    [controller] = of_type(vm, device.ParaVirtualSCSIController)
    assert list(controller.device) == [2000, 2001, 2006]
    names = {each.backing.fileName for each in disks.values()}
    assert names == {
        f"[datastore1] {name}/{name}{suffix}.vmdk" for suffix in ("", "_1", "_2", "_3", "_4")
    }


def test_automatic_units_pass_over_the_controllers_own(client: Client, name: str) -> None:
    vm = client.create(name, scsi(), *[new_disk(1, key=-2 - number) for number in range(15)])

    units = sorted(each.unitNumber for each in of_type(vm, device.VirtualDisk))
    assert units == [*range(7), *range(8, 16)]
    with pytest.raises(vim.fault.TooManyDevices):
        client.reconfigure(vm, new_disk(controller=1000))


@pytest.mark.parametrize("unit", [0, 7, 16])
def test_a_unit_that_is_taken_reserved_or_missing_is_refused(
    client: Client, name: str, unit: int
) -> None:
    vm = client.create(name, scsi(), new_disk(unit=0))

    with pytest.raises(vim.fault.InvalidDeviceSpec) as caught:
        client.reconfigure(
            vm, new_disk(controller=1000, unit=1), new_disk(controller=1000, unit=unit, key=-3)
        )

    assert caught.value.deviceIndex == 1
    assert caught.value.property == "virtualDeviceSpec.device.unitNumber"
    assert len(of_type(vm, device.VirtualDisk)) == 1


def test_thin_thick_and_eager_disks_are_files_of_their_size(client: Client, name: str) -> None:
    vm = client.create(
        name,
        scsi(),
        new_disk(4, key=-2),
        new_disk(4, key=-3, thinProvisioned=False),
        new_disk(4, key=-4, thinProvisioned=False, eagerlyScrub=True),
    )

    backings = [each.backing for each in of_type(vm, device.VirtualDisk)]
    assert [each.thinProvisioned for each in backings] == [True, False, False]
    assert [bool(each.eagerlyScrub) for each in backings] == [False, False, True]
    assert [flat_size(client, each.fileName) for each in backings] == [4 * MIB] * 3
    assert len({each.uuid for each in backings}) == 3


def test_an_attached_disk_shows_the_capacity_of_its_file(client: Client, name: str) -> None:
    manager = client.content.virtualDiskManager
    path = f"[datastore1] {name}.vmdk"
    spec = vim.VirtualDiskManager.FileBackedVirtualDiskSpec(
        diskType="thin", adapterType="lsiLogic", capacityKb=12 * 1024
    )
    client.result(manager.CreateVirtualDisk_Task(path, client.datacenter, spec))

    vm = client.create(name, scsi(), add(disk(0, name=path)))

    [attached] = of_type(vm, device.VirtualDisk)
    assert attached.capacityInKB == 12 * 1024
    assert attached.capacityInBytes == 12 * MIB
    assert vm.datastore[0].name == "datastore1"


def test_a_linked_clone_is_a_child_of_its_parent(client: Client, name: str) -> None:
    parent = client.create(f"{name}-parent", scsi(), new_disk(8))
    path = of_type(parent, device.VirtualDisk)[0].backing.fileName

    vm = client.create(name, scsi(), add(disk(0, parent=path), "create"))

    [child] = of_type(vm, device.VirtualDisk)
    assert child.capacityInKB == 8 * 1024
    assert child.backing.parent.fileName == path
    assert child.backing.fileName == f"[datastore1] {name}/{name}.vmdk"
    assert "parentFileNameHint" in client.file(child.backing.fileName).read_text()
    parent_disk = of_type(parent, device.VirtualDisk)[0]
    assert child.backing.uuid != parent_disk.backing.uuid
    child.capacityInKB *= 2
    with pytest.raises(vim.fault.InvalidDeviceOperation):
        client.reconfigure(vm, change("edit", child))


def test_growing_a_disk_grows_its_file_and_shrinking_is_refused(client: Client, name: str) -> None:
    vm = client.create(name, scsi(), new_disk(4))
    [it] = of_type(vm, device.VirtualDisk)

    it.capacityInKB = 9 * 1024
    client.reconfigure(vm, change("edit", it))

    [it] = of_type(vm, device.VirtualDisk)
    assert it.capacityInBytes == 9 * MIB
    assert flat_size(client, it.backing.fileName) == 9 * MIB
    it.capacityInKB = 4 * 1024
    it.capacityInBytes = 4 * MIB
    with pytest.raises(vim.fault.InvalidDeviceOperation):
        client.reconfigure(vm, change("edit", it))
    assert flat_size(client, it.backing.fileName) == 9 * MIB


def test_a_removed_disk_keeps_its_file_unless_it_is_to_go(client: Client, name: str) -> None:
    vm = client.create(name, scsi(), new_disk(key=-2), new_disk(key=-3))
    first, second = of_type(vm, device.VirtualDisk)

    client.reconfigure(vm, change("remove", first))
    client.reconfigure(vm, change("remove", second, "destroy"))

    assert of_type(vm, device.VirtualDisk) == []
    assert client.file(first.backing.fileName).is_file()
    assert not client.file(second.backing.fileName).exists()
    assert not client.file(f"[datastore1] {name}/{name}_1-flat.vmdk").exists()


def test_replace_puts_an_empty_disk_in_the_place_of_the_old_file(client: Client, name: str) -> None:
    path = f"[datastore1] {name}/{name}.vmdk"
    vm = client.create(name, scsi(), new_disk(4))
    with client.file(path.replace(".vmdk", "-flat.vmdk")).open("r+b") as file:
        file.write(b"old" * 100)
    [old] = of_type(vm, device.VirtualDisk)
    client.reconfigure(vm, change("remove", old))

    client.reconfigure(vm, add(disk(2, controller=1000, name=path), "replace"))

    assert client.file(path.replace(".vmdk", "-flat.vmdk")).read_bytes() == bytes(2 * MIB)
    assert sorted(each.name for each in client.file(f"[datastore1] {name}").iterdir()) == [
        f"{name}-flat.vmdk",
        f"{name}.vmdk",
        f"{name}.vmx",
    ]


def test_a_disk_on_another_datastore_gets_a_folder_there(client: Client, name: str) -> None:
    vm = client.create(name, scsi(), new_disk(name="[datastore2]"))

    [it] = of_type(vm, device.VirtualDisk)
    assert it.backing.fileName == f"[datastore2] {name}/{name}.vmdk"
    assert sorted(each.name for each in vm.datastore) == ["datastore1", "datastore2"]


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ([new_disk(controller=1000)], vim.fault.InvalidController),
        ([new_disk(controller=None)], vim.fault.MissingController),
        ([scsi(), add(disk(0), "create")], vim.fault.InvalidDeviceSpec),
        ([scsi(), add(disk(), "destroy")], vim.fault.InvalidDeviceOperation),
        ([scsi(), scsi(-2, bus=0)], vim.fault.InvalidDeviceSpec),
        ([scsi(), new_disk(diskMode="append")], vim.fault.InvalidDeviceSpec),
        ([scsi(), new_disk(name="[datastore1] ../../up.vmdk")], vim.fault.InvalidDatastorePath),
        ([scsi(), new_disk(name="[datastore1] no/such/folder.vmdk")], vim.fault.FileNotFound),
        ([scsi(), new_disk(parent="[datastore1] none.vmdk")], vim.fault.FileNotFound),
        ([standard_nic("no such network")], vim.fault.InvalidDeviceBacking),
        ([standard_nic(addressType="manual", macAddress="01:00:00:00:00:01")],
         vim.fault.InvalidDeviceSpec),
        ([standard_nic(addressType="manual", macAddress="fa:16:3e")], vim.fault.InvalidDeviceSpec),
        ([add(device.VirtualTPM(key=-1))], vim.fault.DeviceNotSupported),
        ([add(device.VirtualSCSIController(key=-1, busNumber=0, sharedBus="noSharing"))],
         vim.fault.DeviceNotSupported),
        ([change("remove", device.VirtualDevice(key=2000))], vim.fault.InvalidDeviceSpec),
        ([change("remove", device.VirtualPCIController(key=100, busNumber=0))],
         vim.fault.InvalidDeviceOperation),
        ([standard_nic(key=-2 - number) for number in range(11)], vim.fault.TooManyDevices),
    ],
)  # fmt: skip
def test_a_change_that_cannot_be_is_refused_and_changes_nothing(
    client: Client, name: str, changes: list[Any], fault: type[Exception]
) -> None:
    vm = client.create(name)
    before = vm.config
    files = sorted(client.file(f"[datastore1] {name}").iterdir())

    with pytest.raises(fault):
        client.reconfigure(vm, *changes)

    assert vm.config.changeVersion == before.changeVersion
    assert [each.key for each in vm.config.hardware.device] == [
        each.key for each in before.hardware.device
    ]
    assert sorted(client.file(f"[datastore1] {name}").iterdir()) == files


def test_a_controller_goes_only_when_nothing_is_on_it(client: Client, name: str) -> None:
    vm = client.create(name, scsi(), new_disk())
    [controller] = of_type(vm, device.ParaVirtualSCSIController)
    [it] = of_type(vm, device.VirtualDisk)

    with pytest.raises(vim.fault.InvalidDeviceSpec):
        client.reconfigure(vm, change("remove", controller))
    client.reconfigure(vm, change("remove", controller), change("remove", it))

    assert of_type(vm, device.VirtualSCSIController) == []


def test_mac_addresses_are_kept_or_assigned(client: Client, name: str) -> None:
    given = "fa:16:3e:aa:bb:cc"
    vm = client.create(
        name,
        standard_nic(key=-10, addressType="manual", macAddress=given.upper()),
        standard_nic(key=-11),
        standard_nic(key=-12, macAddress=given),
    )

    manual, assigned, clash = of_type(vm, device.VirtualEthernetCard)
    assert (manual.macAddress, manual.addressType) == (given, "manual")
    assert assigned.addressType == "assigned"
    assert assigned.macAddress.startswith("00:50:56:")
    assert int(assigned.macAddress.split(":")[3], 16) in range(0x80, 0xC0)
    assert clash.macAddress == given
    before = assigned.macAddress
    assigned.connectable.startConnected = False
    client.reconfigure(vm, change("edit", assigned))
    after = of_type(vm, device.VirtualEthernetCard)[1]
    assert (after.macAddress, after.connectable.startConnected) == (before, False)


def test_a_card_on_a_distributed_port_group_has_a_port(client: Client, name: str) -> None:
    group = client.network("dv-net")
    vm = client.create(name, distributed_nic(group))

    [card] = of_type(vm, device.VirtualEthernetCard)
    port = card.backing.port
    assert port.portKey in group.portKeys
    assert port.connectionCookie
    criteria = vim.dvs.PortCriteria(connected=True, portgroupKey=[group.key], inside=True)
    switch = group.config.distributedVirtualSwitch
    [shown] = [each for each in switch.FetchDVPorts(criteria) if each.key == port.portKey]
    assert shown.connectee.connectedEntity == vm
    assert vm in group.vm
    with pytest.raises(vim.fault.InvalidDeviceBacking):
        client.create(f"{name}-2", distributed_nic(group, port=port.portKey))
    client.result(vm.Destroy_Task())
    assert client.create(f"{name}-3", distributed_nic(group, port=port.portKey))


def test_a_card_moves_to_another_network(client: Client, name: str) -> None:
    vm = client.create(name, standard_nic())
    group = client.network("dv-net")
    [card] = of_type(vm, device.VirtualEthernetCard)
    address = card.macAddress

    card.backing = distributed_nic(group).device.backing
    client.reconfigure(vm, change("edit", card))

    assert list(vm.network) == [group]
    assert vm not in client.network("VM Network").vm
    assert of_type(vm, device.VirtualEthernetCard)[0].macAddress == address


def test_drives_and_serial_ports(client: Client, name: str) -> None:
    iso = client.file("[datastore1] image.iso")
    iso.write_bytes(bytes(2048))
    drive = device.VirtualCdrom(
        key=-1,
        controllerKey=200,
        backing=device.VirtualCdrom.IsoBackingInfo(fileName="[datastore1] image.iso"),
    )
    empty = device.VirtualCdrom(
        key=-2,
        controllerKey=201,
        backing=device.VirtualCdrom.RemotePassthroughBackingInfo(deviceName="", exclusive=False),
    )
    port = device.VirtualSerialPort(
        key=-3,
        backing=device.VirtualSerialPort.FileBackingInfo(
            fileName=f"[datastore1] {name}/serial.log"
        ),
    )
    vm = client.create(name, add(drive), add(empty), add(port))

    assert [each.key for each in of_type(vm, device.VirtualCdrom)] == [3000, 3002]
    [shown] = of_type(vm, device.VirtualSerialPort)
    assert (shown.key, shown.controllerKey) == (9000, 400)
    missing = device.VirtualCdrom(
        key=-1,
        controllerKey=200,
        backing=device.VirtualCdrom.IsoBackingInfo(fileName="[datastore1] missing.iso"),
    )
    with pytest.raises(vim.fault.FileNotFound):
        client.reconfigure(vm, add(missing))
    with pytest.raises(vim.fault.InvalidController):
        client.create(f"{name}-2", scsi(), add(device.VirtualCdrom(key=-1, controllerKey=-1,
                      backing=empty.backing)))  # fmt: skip


def test_video_memory_is_that_of_the_one_card(client: Client, name: str) -> None:
    vm = client.create(name, add(device.VirtualVideoCard(key=-1, videoRamSizeInKB=16384)))

    [card] = of_type(vm, device.VirtualVideoCard)
    assert (card.key, card.videoRamSizeInKB) == (500, 16384)


def test_storage_and_layout_are_those_of_the_files(client: Client, name: str) -> None:
    vm = client.create(name, scsi(), new_disk(4, thinProvisioned=False, eagerlyScrub=True))

    files = {each.name: (each.type, each.size) for each in vm.layoutEx.file}
    folder = client.file(f"[datastore1] {name}")
    assert files == {
        f"[datastore1] {name}/{each.name}": (kind, each.stat().st_size)
        for each, kind in (
            (folder / f"{name}.vmx", "config"),
            (folder / f"{name}.vmdk", "diskDescriptor"),
            (folder / f"{name}-flat.vmdk", "diskExtent"),
        )
    }
    on_disk = sum(each.stat().st_blocks * 512 for each in folder.iterdir())
    assert vm.summary.storage.committed == on_disk
    assert vm.storage.perDatastoreUsage[0].committed == on_disk
    assert on_disk >= 4 * MIB
