"""CreateVM_Task: files, names, devices every machine has, and what is refused."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from pyVmomi import vim, vmodl

from tests.lab.client import Client, connect
from tests.lab.specs import (
    add,
    config_spec,
    device,
    disk,
    distributed_nic,
    extra,
    new_disk,
    of_type,
    scsi,
    standard_nic,
)
from vmops.lab import Lab


def files_of(client: Client, folder: str) -> list[str]:
    return sorted(file.name for file in client.file(f"[datastore1] {folder}").iterdir())


def test_a_machine_gets_a_folder_of_its_name_and_the_devices_of_every_machine(
    client: Client, name: str
) -> None:
    vm = client.create(name)

    assert vm.config.files.vmPathName == f"[datastore1] {name}/{name}.vmx"
    assert files_of(client, name) == [f"{name}.vmx"]
    keys = [each.key for each in vm.config.hardware.device]
    assert keys == [100, 200, 201, 300, 400, 500, 600, 700, 12000]


def test_it_stands_everywhere_it_belongs(client: Client, name: str) -> None:
    vm = client.create(name, standard_nic())

    host = vm.runtime.host
    assert vm in host.vm
    assert vm in client.pool.vm
    assert vm in client.folder.childEntity
    assert vm in client.network("VM Network").vm
    assert [each.name for each in vm.datastore] == ["datastore1"]
    assert vm in vm.datastore[0].vm
    assert vm.parent == client.folder
    assert vm.resourcePool == client.pool
    assert vm.environmentBrowser == client.compute.environmentBrowser


def test_what_the_spec_says_is_what_config_and_summary_show(client: Client, name: str) -> None:
    vm = client.create(
        name,
        numCPUs=4,
        numCoresPerSocket=2,
        memoryMB=128,
        annotation="a\nb",
        firmware="efi",
        uuid="564D0000-0000-0000-0000-0000000000AB",
        instanceUuid="AABBCCDD-0000-4000-8000-000000000001",
        version="vmx-13",
        extraConfig=extra(**{"nvp.vm-uuid": "x", "gone": ""}),
        managedBy=vim.ext.ManagedByInfo(extensionKey="org.openstack.compute", type="instance"),
        cpuAllocation=vim.ResourceAllocationInfo(
            reservation=100, limit=2000, shares=vim.SharesInfo(level="high", shares=0)
        ),
    )

    config, summary = vm.config, vm.summary.config
    assert (config.hardware.numCPU, config.hardware.numCoresPerSocket) == (4, 2)
    assert (summary.numCpu, summary.memorySizeMB, summary.name) == (4, 128, name)
    assert config.annotation == summary.annotation == "a\nb"
    assert config.firmware == "efi"
    assert config.version == "vmx-13"
    assert config.uuid == summary.uuid == "564d0000-0000-0000-0000-0000000000ab"
    assert config.instanceUuid == "aabbccdd-0000-4000-8000-000000000001"
    assert {each.key: each.value for each in config.extraConfig} == {"nvp.vm-uuid": "x"}
    assert config.managedBy.extensionKey == "org.openstack.compute"
    assert (config.cpuAllocation.reservation, config.cpuAllocation.limit) == (100, 2000)
    assert config.guestFullName == "Other Linux (64-bit)"


def test_a_name_that_is_taken_in_the_folder_is_refused(client: Client, name: str) -> None:
    first = client.create(name)

    with pytest.raises(vim.fault.DuplicateName) as caught:
        client.create(name)

    assert caught.value.name == name
    assert caught.value.object == first
    assert files_of(client, name) == [f"{name}.vmx"]


def test_of_two_that_come_at_once_with_one_name_one_is_refused(lab: Lab, name: str) -> None:
    def create(_: object) -> Any:
        client = connect(lab)
        try:
            return client.create(name).name
        except vim.fault.DuplicateName as fault:
            return fault
        finally:
            client.close()

    with ThreadPoolExecutor(4) as pool:
        outcomes = list(pool.map(create, range(4)))

    assert sum(outcome == name for outcome in outcomes) == 1
    assert sum(isinstance(outcome, vim.fault.DuplicateName) for outcome in outcomes) == 3


def test_a_folder_that_is_there_makes_the_next_one_numbered(client: Client, name: str) -> None:
    client.file(f"[datastore1] {name}").mkdir()

    vm = client.create(name)

    assert vm.config.files.vmPathName == f"[datastore1] {name}_1/{name}_1.vmx"


def test_a_vmx_file_that_is_there_is_not_overwritten(client: Client, name: str) -> None:
    path = f"[datastore1] {name}/{name}.vmx"
    client.file(path).parent.mkdir()
    client.file(path).write_text("mine")

    with pytest.raises(vim.fault.FileAlreadyExists):
        client.create(name, path=path)

    assert client.file(path).read_text() == "mine"


def test_the_same_instance_uuid_again_gets_another_one(client: Client, name: str) -> None:
    uuid = "0f0f0f0f-0000-4000-8000-000000000002"
    first = client.create(name, instanceUuid=uuid)
    second = client.create(f"{name}-2", instanceUuid=uuid)

    assert first.config.instanceUuid == uuid
    assert second.config.instanceUuid != uuid


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("memoryMB", 1026),
        ("memoryMB", 0),
        ("numCPUs", 0),
        ("numCPUs", 100_000),
        ("numCoresPerSocket", 3),
        ("guestId", "noSuchGuest"),
        ("firmware", "openfirmware"),
        ("version", "vmx-99"),
        ("uuid", "not a uuid"),
        ("instanceUuid", "1234"),
    ],
)
def test_a_value_that_cannot_be_is_named_and_leaves_nothing(
    client: Client, name: str, field: str, value: int | str
) -> None:
    wrong: dict[str, Any] = {"numCPUs": 4, field: value}
    with pytest.raises(vmodl.fault.InvalidArgument) as caught:
        client.create("invalid", **wrong)

    assert caught.value.invalidProperty == f"configSpec.{field}"
    assert not client.file("[datastore1] invalid").exists()
    assert all(each.name != "invalid" for each in client.folder.childEntity)


@pytest.mark.parametrize("bad", ["", "   ", "a\nb", "n" * 81])
def test_a_name_that_cannot_be_is_refused(client: Client, bad: str) -> None:
    with pytest.raises(vim.fault.InvalidName):
        client.create(bad)


@pytest.mark.parametrize("bad", ["../../up", "..", "/etc/passwd", "a/b", "."])
def test_a_name_never_leads_out_of_the_datastore(client: Client, bad: str) -> None:
    vm = client.create(bad)

    folder = vm.config.files.vmPathName.removeprefix("[datastore1] ")
    assert folder.count("/") == 1
    assert ".." not in folder.split("/")
    assert client.file(vm.config.files.vmPathName).is_file()
    assert "/" not in vm.name
    client.result(vm.Destroy_Task())


@pytest.mark.parametrize(
    ("path", "fault"),
    [
        ("[nowhere]", vim.fault.InvalidDatastorePath),
        ("[datastore1] ../x", vim.fault.InvalidDatastorePath),
        ("no brackets", vim.fault.InvalidDatastorePath),
        ("", vmodl.fault.InvalidArgument),
    ],
)
def test_a_path_that_is_none_is_refused(client: Client, path: str, fault: type[Exception]) -> None:
    with pytest.raises(fault):
        client.create("x", path=path)


def test_a_host_in_maintenance_or_of_no_pool_is_refused(own: Client, name: str) -> None:
    client = own
    host = client.compute.host[1]
    client.result(host.EnterMaintenanceMode_Task(0))
    try:
        assert host.runtime.inMaintenanceMode
        with pytest.raises(vim.fault.InvalidState):
            client.create(name, host=host)
        assert client.create(name).runtime.host == client.compute.host[0]
    finally:
        client.result(host.ExitMaintenanceMode_Task(0))
    assert not host.summary.runtime.inMaintenanceMode


def test_a_folder_for_hosts_holds_no_machines(client: Client) -> None:
    with pytest.raises(vmodl.fault.NotSupported):
        client.create("x", folder=client.datacenter.hostFolder)


def test_a_failing_device_leaves_neither_disks_nor_folder(client: Client, name: str) -> None:
    before = sorted(client.file("[datastore1] ").rglob("*"))
    good = [scsi(), new_disk(key=-2), new_disk(key=-3)]
    unreachable = add(disk(controller=-1, name="[datastore1] missing.vmdk", key=-4))

    with pytest.raises(vim.fault.FileNotFound):
        client.create(name, *good, unreachable)

    assert sorted(client.file("[datastore1] ").rglob("*")) == before


def test_a_disk_that_cannot_be_made_takes_back_those_made_before(client: Client, name: str) -> None:
    client.file("[datastore1] in-the-way-flat.vmdk").write_bytes(b"x")
    before = sorted(client.file("[datastore1] ").rglob("*"))

    with pytest.raises(vim.fault.FileAlreadyExists):
        client.create(
            name, scsi(), new_disk(key=-2), new_disk(key=-3, name="[datastore1] in-the-way.vmdk")
        )

    assert sorted(client.file("[datastore1] ").rglob("*")) == before


def test_twenty_at_once_are_twenty(lab: Lab, name: str) -> None:
    def create(number: int) -> Any:
        client = connect(lab)
        try:
            vm = client.create(f"{name}-{number}", scsi(), new_disk(), standard_nic())
            return vm.config.files.vmPathName, of_type(vm, device.VirtualEthernetCard)[0].macAddress
        finally:
            client.close()

    with ThreadPoolExecutor(20) as pool:
        made = list(pool.map(create, range(20)))

    assert len({path for path, _ in made}) == 20
    assert len({address for _, address in made}) == 20


def test_ports_of_a_distributed_switch_go_to_one_card_each(
    lab: Lab, client: Client, name: str
) -> None:
    group = client.network("dv-net")

    def create(number: int) -> Any:
        own = connect(lab)
        try:
            vm = own.create(f"{name}-{number}", distributed_nic(group))
            [card] = of_type(vm, device.VirtualEthernetCard)
            return card.backing.port.portKey
        finally:
            own.close()

    with ThreadPoolExecutor(12) as pool:
        ports = list(pool.map(create, range(12)))

    assert len(set(ports)) == 12
    assert set(ports) <= set(group.portKeys)


def test_on_a_single_host(esx: Client, name: str) -> None:
    vm = esx.create(name, scsi(), new_disk(), standard_nic())

    assert vm.runtime.host.name == "esx1.lab.local"
    [card] = of_type(vm, device.VirtualEthernetCard)
    assert card.addressType == "generated"
    assert card.macAddress.startswith("00:0c:29:")


def test_a_spec_without_devices_is_a_spec(client: Client) -> None:
    vm = client.result(
        client.folder.CreateVM_Task(
            vim.vm.ConfigSpec(
                name="bare", files=vim.vm.FileInfo(vmPathName="[datastore2] bare/other.vmx")
            ),
            client.pool,
        )
    )

    assert config_spec("bare").name == vm.name
    assert vm.config.files.vmPathName == "[datastore2] bare/other.vmx"
    assert (vm.config.hardware.memoryMB, vm.config.guestId) == (32, "otherGuest")
