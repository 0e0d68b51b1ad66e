"""OVF packages: read into specs, imported, and written again."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from pyVmomi import vim, vmodl

from tests.lab.client import Client
from tests.lab.objects.ovf.packages import VIRTUALBOX, VMWARE
from tests.lab.specs import file_of, of_type
from tests.lab.wire.test_nfc import qemu_img, wait

MIB = 1024**2
device = vim.vm.device
Manager = vim.OvfManager


def asked(**fields: Any) -> Manager.CreateImportSpecParams:
    fields = {"locale": "", "deploymentOption": "", "entityName": "", **fields}
    return Manager.CreateImportSpecParams(**fields)


def created(client: Client, text: str, **fields: Any) -> Any:
    folder, pool = client.folder, client.pool
    store = next(each for each in folder.parent.datastore if each.name == client.datastore)
    return client.content.ovfManager.CreateImportSpec(text, pool, store, asked(**fields))


def devices(spec: Any, wire_type: type[Any]) -> list[Any]:
    found = [change.device for change in spec.deviceChange]
    return [each for each in found if isinstance(each, wire_type)]


def network(client: Client, name: str) -> Any:
    folder = client.folder
    return next(each for each in folder.parent.network if each.name == name)


def test_a_descriptor_becomes_a_spec(client: Client, name: str) -> None:
    mapping = Manager.NetworkMapping(name="inside", network=network(client, "dv-net"))

    result = created(
        client,
        VMWARE.format(size=1234),
        entityName=name,
        networkMapping=[mapping],
        diskProvisioning="thin",
    )

    assert list(result.error) == []
    assert ["Floppy" in (each.name or "") for each in result.warning] == [True]
    spec = result.importSpec.configSpec
    assert (spec.name, spec.annotation) == (name, "Made for tests")
    assert spec.files.vmPathName == f"[{client.datastore}]"
    assert (spec.numCPUs, spec.numCoresPerSocket, spec.memoryMB) == (4, 2, 2048)
    assert (spec.cpuAllocation.reservation, spec.cpuAllocation.limit) == (500, 2000)
    assert (spec.guestId, spec.version, spec.firmware) == ("ubuntu64Guest", "vmx-15", "efi")
    assert spec.cpuHotAddEnabled
    assert {option.key: option.value for option in spec.extraConfig} == {"svga.autodetect": "TRUE"}
    [controller] = devices(spec, device.VirtualSCSIController)
    assert isinstance(controller, device.ParaVirtualSCSIController)
    root, data = devices(spec, device.VirtualDisk)
    assert [each.capacityInKB for each in (root, data)] == [6 * 1024, 3 * 1024]
    assert root.controllerKey == data.controllerKey == controller.key
    assert root.backing.thinProvisioned
    [card] = devices(spec, device.VirtualVmxnet3)
    assert card.backing.port.portgroupKey == network(client, "dv-net").key
    assert len(devices(spec, device.VirtualCdrom)) == 1
    [item] = result.fileItem
    assert item.deviceId == f"/{name}/ParaVirtualSCSIController0:0"
    assert (item.path, item.size, item.create) == ("system.vmdk", 1234, False)


def test_a_deployment_option_changes_what_it_names(client: Client) -> None:
    result = created(client, VMWARE.format(size=1), deploymentOption="small")

    spec = result.importSpec.configSpec
    assert (spec.name, spec.memoryMB, spec.numCPUs) == ("Appliance", 512, 4)
    assert [each.capacityInKB // 1024 for each in devices(spec, device.VirtualDisk)] == [6, 2]
    assert not devices(spec, device.VirtualDisk)[0].backing.thinProvisioned


@qemu_img
@pytest.mark.parametrize("descriptor", [VMWARE.format(size=0), VIRTUALBOX], ids=["vmw", "vbox"])
def test_a_package_is_imported(client: Client, name: str, tmp_path: Path, descriptor: str) -> None:
    raw, vmdk = tmp_path / "raw", tmp_path / "vmdk"
    raw.write_bytes(os.urandom(MIB) + bytes(5 * MIB))
    command = ["qemu-img", "convert", "-f", "raw", "-O", "vmdk", "-o", "subformat=streamOptimized"]
    subprocess.run([*command, str(raw), str(vmdk)], check=True)
    folder, pool = client.folder, client.pool
    result = created(client, descriptor, entityName=name, diskProvisioning="thin")
    assert list(result.error) == []
    lease = pool.ImportVApp(result.importSpec, folder, None)
    assert wait(lease, "ready", "error") == "ready", lease.error
    urls = {each.importKey: each.url for each in lease.info.deviceUrl}

    for item in result.fileItem:
        path = urlsplit(urls[item.deviceId]).path
        assert client.request("POST", path, vmdk.read_bytes(), cookie=False)[0] == 200
    lease.HttpNfcLeaseComplete()

    vm = lease.info.entity
    disks = of_type(vm, device.VirtualDisk)
    file = client.root() / file_of(disks[0]).partition("] ")[2]
    assert file.with_name(f"{file.stem}-flat.vmdk").read_bytes() == raw.read_bytes()
    client.result(vm.PowerOnVM_Task())
    client.result(vm.PowerOffVM_Task())
    client.result(vm.Destroy_Task())


def test_what_is_written_can_be_read_again(client: Client, name: str) -> None:
    folder, pool = client.folder, client.pool
    wanted = created(client, VMWARE.format(size=0), entityName=name, diskProvisioning="thin")
    lease = pool.ImportVApp(wanted.importSpec, folder, None)
    assert wait(lease, "ready", "error") == "ready"
    vm = lease.info.entity
    lease.HttpNfcLeaseComplete()
    export = vm.ExportVm()
    assert wait(export, "ready", "error") == "ready"
    files = [
        Manager.OvfFile(deviceId=each.key, path=f"{number}.vmdk", size=100 + number)
        for number, each in enumerate(export.info.deviceUrl)
    ]
    params = Manager.CreateDescriptorParams(name="again", ovfFiles=files, description="é <&>")

    text = client.content.ovfManager.CreateDescriptor(vm, params).ovfDescriptor

    again = created(client, text, entityName="x")
    assert (list(again.error), list(again.warning)) == ([], [])
    before, after = wanted.importSpec.configSpec, again.importSpec.configSpec
    for field in ("numCPUs", "numCoresPerSocket", "memoryMB", "guestId", "version", "firmware"):
        assert getattr(after, field) == getattr(before, field)
    assert after.annotation == "é <&>"
    assert [(each.path, each.size) for each in again.fileItem] == [("0.vmdk", 100), ("1.vmdk", 101)]
    assert [each.deviceId for each in again.fileItem] == [
        f"/x/ParaVirtualSCSIController0:{unit}" for unit in range(2)
    ]
    assert [type(each) for each in devices(after, object)].count(device.VirtualVmxnet3) == 1
    parsed = client.content.ovfManager.ParseDescriptor(
        text, Manager.ParseDescriptorParams(locale="", deploymentOption="")
    )
    assert parsed.defaultEntityName == "again"
    wrong = Manager.OvfFile(deviceId="/none", path="x", size=1)
    with pytest.raises(vmodl.fault.InvalidArgument):
        client.content.ovfManager.CreateDescriptor(
            vm, Manager.CreateDescriptorParams(ovfFiles=[wrong])
        )
    export.HttpNfcLeaseComplete()
    deadline = time.monotonic() + 10
    while export.state != "done":
        assert time.monotonic() < deadline
    client.result(vm.Destroy_Task())


def test_a_descriptor_says_what_a_user_is_asked(client: Client) -> None:
    manager = client.content.ovfManager
    params = Manager.ParseDescriptorParams(locale="", deploymentOption="")

    told = manager.ParseDescriptor(VMWARE.format(size=77), params)

    assert list(told.eula) == ["Be nice."]
    assert [(each.name, each.description) for each in told.network] == [("inside", "To the others")]
    assert [each.key for each in told.deploymentOption] == ["large", "small"]
    assert told.defaultDeploymentOption == "large"
    assert (told.productInfo.name, told.productInfo.fullVersion) == ("Appliance", "1.2.3")
    assert [(each.id, each.classId, each.userConfigurable) for each in told.property] == [
        ("data", "app", False),
        ("hostname", "app", True),
    ]
    assert (told.approximateDownloadSize, told.approximateFlatDeploymentSize) == (77, 9 * MIB)
    assert not told.virtualApp
    pool = client.pool
    host = pool.owner.host[0]
    checked = manager.ValidateHost(
        VMWARE.format(size=77), host, Manager.ValidateHostParams(locale="", deploymentOption="")
    )
    assert (checked.downloadSize, list(checked.error)) == (77, [])
    assert "thin" in checked.supportedDiskProvisioning


GOOD = VMWARE.format(size=1)


@pytest.mark.parametrize(
    ("text", "fields", "fault"),
    [
        ("no XML", {}, vim.fault.OvfXmlFormat),
        ("<a/>", {}, vim.fault.OvfMissingElement),
        (
            '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><Envelope>&b;</Envelope>',
            {},
            vim.fault.OvfXmlFormat,
        ),
        ("<Envelope><VirtualSystem/></Envelope>", {}, vim.fault.OvfMissingElement),
        (
            "<Envelope><VirtualSystemCollection><VirtualSystem><VirtualHardwareSection/>"
            "</VirtualSystem></VirtualSystemCollection></Envelope>",
            {},
            vim.fault.OvfUnsupportedPackage,
        ),
        (GOOD, {"deploymentOption": "huge"}, vim.fault.OvfUnsupportedPackage),
        (GOOD, {"diskProvisioning": "soft"}, vim.fault.OvfUnsupportedDiskProvisioning),
        (GOOD.replace("VmxNet3", "TokenRing"), {}, vim.fault.OvfUnsupportedSubType),
        (GOOD.replace("VirtualSCSI", "MFM"), {}, vim.fault.OvfUnsupportedSubType),
        (GOOD.replace("ovf:/disk/root", "ovf:/disk/none"), {}, vim.fault.OvfDiskMappingNotFound),
        (
            GOOD.replace(">3</rasd:Parent>", ">77</rasd:Parent>"),
            {},
            vim.fault.OvfElementInvalidValue,
        ),
        (GOOD.replace('capacity="6"', 'capacity="-6"'), {}, vim.fault.OvfElementInvalidValue),
        (GOOD.replace("byte * 2^20", "byte * 2^9999"), {}, vim.fault.OvfElementInvalidValue),
        (GOOD.replace(">14<", ">77<").replace("required", "x"), {}, vim.fault.OvfUnsupportedType),
    ],
)
def test_what_is_wrong_stands_in_the_result(
    client: Client, text: str, fields: dict[str, Any], fault: type[Exception]
) -> None:
    result = created(client, text, **fields)

    assert result.importSpec is None
    [error] = result.error
    assert isinstance(error, fault), error


def test_what_the_inventory_does_not_have_is_raised(client: Client) -> None:
    pool = client.pool
    manager = client.content.ovfManager
    with pytest.raises(vmodl.fault.ManagedObjectNotFound):
        manager.CreateImportSpec(GOOD, pool, vim.Datastore("datastore-none"), asked())
    with pytest.raises(vmodl.fault.NotSupported):
        manager.CreateDescriptor(client.folder, Manager.CreateDescriptorParams())
