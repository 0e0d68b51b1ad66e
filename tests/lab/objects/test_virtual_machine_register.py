"""RegisterVM_Task: the .vmx file says all there is to know."""

from __future__ import annotations

from typing import Any

import pytest
from pyVmomi import vim, vmodl

from tests.lab.client import Client
from tests.lab.specs import (
    add,
    device,
    disk,
    distributed_nic,
    extra,
    new_disk,
    of_type,
    scsi,
    standard_nic,
)

# What a registration makes anew, as vSphere does.
MOMENTS = {"changeVersion", "modified", "createDate"}


def as_text(value: Any) -> str:
    return str(value)


def full_machine(client: Client, name: str) -> Any:
    iso = client.file(f"[datastore2] {name}.iso")
    iso.write_bytes(bytes(2048))
    parent = client.create(f"{name}-p", scsi(), new_disk(8))
    path = of_type(parent, device.VirtualDisk)[0].backing.fileName
    boot = vim.vm.BootOptions
    return client.create(
        name,
        scsi(-1),
        scsi(-5, bus=2, model=device.VirtualLsiLogicSASController),
        add(device.VirtualAHCIController(key=-6, busNumber=0)),
        add(device.VirtualNVMEController(key=-7, busNumber=0)),
        new_disk(4, key=-20, unit=3),
        new_disk(4, key=-21, controller=-5, thinProvisioned=False),
        new_disk(4, key=-22, controller=-7, name="[datastore2]"),
        add(disk(0, key=-23, controller=-6, parent=path), "create"),
        add(device.VirtualCdrom(key=-30, controllerKey=201, backing=device.VirtualCdrom
            .IsoBackingInfo(fileName=f"[datastore2] {name}.iso"))),
        add(device.VirtualCdrom(key=-31, controllerKey=-6, backing=device.VirtualCdrom
            .RemotePassthroughBackingInfo(deviceName="", exclusive=False))),
        standard_nic(key=-40, addressType="manual", macAddress="fa:16:3e:00:00:07"),
        standard_nic(key=-41, model=device.VirtualE1000e),
        distributed_nic(client.network("dv-net"), key=-42),
        add(device.VirtualSerialPort(key=-50, backing=device.VirtualSerialPort
            .FileBackingInfo(fileName=f"[datastore1] {name}/serial.log"))),
        add(device.VirtualVideoCard(key=-51, videoRamSizeInKB=8192)),
        numCPUs=4,
        numCoresPerSocket=2,
        memoryMB=256,
        guestId="rhel9_64Guest",
        annotation='lines\nand "quotes" | bars | and ünïcode',
        firmware="efi",
        version="vmx-19",
        extraConfig=extra(**{"nvp.vm-uuid": "u", "guestinfo.metadata": "a=b\n", "Mixed.Case": "1"}),
        managedBy=vim.ext.ManagedByInfo(extensionKey="org.openstack.compute", type="instance"),
        flags=vim.vm.FlagInfo(diskUuidEnabled=True),
        memoryHotAddEnabled=True,
        cpuAllocation=vim.ResourceAllocationInfo(
            reservation=100, limit=2000, shares=vim.SharesInfo(level="custom", shares=1234)
        ),
        bootOptions=boot(
            bootDelay=5,
            efiSecureBootEnabled=True,
            bootOrder=[
                boot.BootableEthernetDevice(deviceKey=4001),
                boot.BootableDiskDevice(deviceKey=2003),
                boot.BootableCdromDevice(),
            ],
        ),
    )  # fmt: skip


def test_everything_comes_back(client: Client, name: str) -> None:
    vm = full_machine(client, name)
    before = vm.config
    path = before.files.vmPathName
    boot_order = before.bootOptions.bootOrder
    vm.UnregisterVM()

    again = client.register(path)

    assert again._moId != vm._moId
    after = again.config
    for prop in vim.vm.ConfigInfo._GetPropertyList():
        if prop.name not in {*MOMENTS, "hardware"}:
            assert as_text(getattr(after, prop.name)) == as_text(getattr(before, prop.name))
    old = {each.key: each for each in before.hardware.device}
    new = {each.key: each for each in after.hardware.device}
    assert list(new) == list(old)
    for key, each in old.items():
        assert as_text(new[key]) == as_text(each)
    assert len(boot_order) == 3
    assert again in client.network("dv-net").vm
    assert sorted(each.name for each in again.datastore) == ["datastore1", "datastore2"]


def test_by_another_name_and_in_a_folder(client: Client, name: str) -> None:
    vm = client.create(name)
    path = vm.config.files.vmPathName
    vm.UnregisterVM()
    folder = client.folder.CreateFolder(name)

    task = folder.RegisterVM_Task(path, "renamed", False, client.pool, client.compute.host[1])
    again = client.result(task)

    assert (again.name, again.config.name, again.parent) == ("renamed", "renamed", folder)
    assert again.runtime.host == client.compute.host[1]


def test_a_machine_is_registered_once(client: Client, name: str) -> None:
    vm = client.create(name)

    with pytest.raises(vim.fault.AlreadyExists):
        client.register(vm.config.files.vmPathName, "again")


def test_a_copy_keeps_its_bios_uuid_and_gets_an_instance_uuid(client: Client, name: str) -> None:
    vm = client.create(name)
    original = client.file(vm.config.files.vmPathName)
    copy = client.file(f"[datastore1] {name}-copy/c.vmx")
    copy.parent.mkdir()
    copy.write_text(original.read_text())

    again = client.register(f"[datastore1] {name}-copy/c.vmx", f"{name}-copy")

    assert again.config.uuid == vm.config.uuid
    assert again.config.instanceUuid != vm.config.instanceUuid
    found = client.content.searchIndex.FindAllByUuid(None, vm.config.uuid, True, False)
    assert {each._moId for each in found} == {vm._moId, again._moId}


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (None, vim.fault.NotFound),
        (b"", vim.fault.VmConfigFault),
        (b"\x00\xff" * 100, vim.fault.VmConfigFault),
        (b'config.version = "8"\n' + b"x" * 2_000_000, vim.fault.VmConfigFault),
        (b'config.version = "8"\nide0:0.present = "TRUE"\nide0:0.fileName = "../../x.vmdk"\n',
         vim.fault.VmConfigFault),
        (b'config.version = "8"\nide0:0.present = "TRUE"\nide0:0.fileName = "/etc/passwd"\n',
         vim.fault.VmConfigFault),
    ],
)  # fmt: skip
def test_a_file_that_is_no_machine_is_refused(
    client: Client, name: str, text: bytes | None, fault: type[Exception]
) -> None:
    if text is not None:
        client.file(f"[datastore1] {name}.vmx").write_bytes(text)

    with pytest.raises(fault):
        client.register(f"[datastore1] {name}.vmx", name)

    assert all(each.name != name for each in client.folder.childEntity)


def test_a_machine_whose_disk_is_gone_registers_but_does_not_start(
    client: Client, name: str
) -> None:
    vm = client.create(name, scsi(), new_disk())
    path = vm.config.files.vmPathName
    vm.UnregisterVM()
    client.file(f"[datastore1] {name}/{name}.vmdk").unlink()

    again = client.register(path)

    assert len(of_type(again, device.VirtualDisk)) == 1
    with pytest.raises(vim.fault.FileNotFound):
        client.result(again.PowerOnVM_Task())


def test_templates_are_registered_on_a_host_without_a_pool(client: Client, name: str) -> None:
    vm = client.create(name)
    path = vm.config.files.vmPathName
    vm.UnregisterVM()

    again = client.register(path, as_template=True, host=client.compute.host[0])

    assert again.config.template
    assert again.resourcePool is None
    with pytest.raises(vmodl.fault.NotSupported):
        again.MarkAsTemplate()


def test_files_of_vmware_itself_are_understood(client: Client, name: str) -> None:
    client.file(f"[datastore1] {name}").mkdir()
    client.file(f"[datastore1] {name}/w.vmx").write_text(
        """
.encoding = "windows-1252"
config.version = "8"
virtualHW.version = "10"
DISPLAYNAME = "from elsewhere"
guestOS = "ubuntu-64"
memsize = "512"
scsi0.present = "TRUE"
scsi0.virtualDev = "lsilogic"
ethernet0.present = "TRUE"
ethernet0.connectionType = "nat"
ethernet0.addressType = "generated"
ethernet0.generatedAddress = "00:0c:29:01:02:03"
floppy0.present = "FALSE"
# a comment
no line at all
"""
    )

    vm = client.register(f"[datastore1] {name}/w.vmx")

    assert (vm.name, vm.config.version, vm.config.guestId) == (
        "from elsewhere",
        "vmx-10",
        "ubuntu64Guest",
    )
    assert vm.config.hardware.memoryMB == 512
    [card] = of_type(vm, device.VirtualEthernetCard)
    assert (type(card), card.macAddress) == (device.VirtualPCNet32, "00:0c:29:01:02:03")
    assert {each.key for each in vm.config.extraConfig} == {
        "ethernet0.connectionType",
        "floppy0.present",
    }
    client.result(vm.PowerOnVM_Task())
