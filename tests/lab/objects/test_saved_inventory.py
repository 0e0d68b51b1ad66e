"""What a lab still knows after it was stopped, or killed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pyVmomi import vim

from tests.lab.client import Client, connect
from tests.lab.specs import (
    config_spec,
    device,
    distributed_nic,
    new_disk,
    of_type,
    scsi,
    standard_nic,
)
from vmops.lab import Lab, LabSettings


@pytest.fixture
def settings(tmp_path: Path) -> LabSettings:
    return LabSettings(state_dir=tmp_path / "lab", hypervisor="none")


@contextmanager
def session(settings: LabSettings, *, kill: bool = False) -> Iterator[Client]:
    with Lab.run(settings) as lab:
        client = connect(lab)
        try:
            yield client
        finally:
            if kill:
                client.stub.DropConnections()
                lab.kill()
            else:
                client.close()


def shown(vm: Any) -> dict[str, str]:
    """What the machine says of itself that must not change."""
    config = vm.config
    volatile = ("changeVersion", "modified", "createDate")
    fields = [prop.name for prop in vim.vm.ConfigInfo._GetPropertyList()]
    return {name: str(getattr(config, name)) for name in fields if name not in volatile}


@pytest.mark.parametrize("kill", [False, True])
def test_machines_are_found_again_with_their_ids(settings: LabSettings, kill: bool) -> None:
    with session(settings, kill=kill) as client:
        folder = client.folder.CreateFolder("outer").CreateFolder("inner")
        pool = client.pool.CreateResourcePool(
            "pool",
            vim.ResourceConfigSpec(
                cpuAllocation=vim.ResourceAllocationInfo(
                    reservation=1,
                    limit=5,
                    expandableReservation=True,
                    shares=vim.SharesInfo(level="high", shares=8000),
                ),
                memoryAllocation=vim.ResourceAllocationInfo(
                    reservation=0,
                    limit=-1,
                    expandableReservation=True,
                    shares=vim.SharesInfo(level="normal", shares=163840),
                ),
            ),
        )
        host = client.compute.host[1]
        vm = client.create(
            "m", scsi(), new_disk(), standard_nic(), folder=folder, pool=pool, host=host
        )
        client.result(vm.Rename_Task("renamed"))
        before = shown(vm)
        moids = [each._moId for each in (vm, folder, pool)]
        template = client.create("template")
        template.MarkAsTemplate()

    with session(settings) as client:
        vm = client.content.searchIndex.FindByInventoryPath("DC0/vm/outer/inner/renamed")
        assert [each._moId for each in (vm, vm.parent, vm.resourcePool)] == moids
        assert shown(vm) == before
        assert (vm.runtime.host.name, vm.runtime.powerState) == ("esx2.lab.local", "poweredOff")
        assert vm.resourcePool.config.cpuAllocation.limit == 5
        assert vm in client.network("VM Network").vm
        template = client.content.searchIndex.FindByInventoryPath("DC0/vm/template")
        assert template.config.template
        assert template.resourcePool is None


def test_claims_have_numbers_and_outlive_a_restart(settings: LabSettings) -> None:
    """Levels by name, with the numbers that the API reference gives them; or numbers alone."""
    shares, claims = vim.SharesInfo, device.VirtualEthernetCard.ResourceAllocation
    first, second = new_disk(key=-2, unit=0), new_disk(key=-3, unit=1)
    first.device.storageIOAllocation = vim.StorageResourceManager.IOAllocationInfo(
        limit=500, shares=shares(level="high", shares=0)
    )
    second.device.storageIOAllocation = vim.StorageResourceManager.IOAllocationInfo(
        shares=shares(level="custom", shares=700), reservation=10
    )
    cards = [
        standard_nic(
            key=-10 - place,
            resourceAllocation=claims(limit=limit, share=shares(level=level, shares=number)),
        )
        for place, (limit, level, number) in enumerate([(100, "low", 0), (None, "custom", 7)])
    ]
    cpu = vim.ResourceAllocationInfo(shares=shares(level="low", shares=0))
    memory = vim.ResourceAllocationInfo(shares=shares(level="high", shares=0))

    def claimed(vm: Any) -> tuple[list[Any], list[Any]]:
        found = [disk.storageIOAllocation for disk in of_type(vm, device.VirtualDisk)]
        disks = [(one.reservation, one.limit, one.shares) for one in found]
        found = [card.resourceAllocation for card in of_type(vm, device.VirtualEthernetCard)]
        both = disks + [(one.reservation, one.limit, one.share) for one in found]
        own = [vm.config.cpuAllocation.shares, vm.config.memoryAllocation.shares]
        numbers = [(*rest, str(one.level), one.shares) for *rest, one in both]
        return numbers, [(str(one.level), one.shares) for one in own]

    wanted = (
        [
            (0, 500, "high", 2000),
            (10, -1, "custom", 700),
            (0, 100, "low", 25),
            (0, -1, "custom", 7),
        ],
        [("low", 1000), ("high", 64 * 20)],
    )
    with session(settings) as client:
        vm = client.create(
            "m", scsi(), first, second, *cards,
            numCPUs=2, cpuAllocation=cpu, memoryAllocation=memory,
        )  # fmt: skip
        assert claimed(vm) == wanted
        before = shown(vm)

    with session(settings) as client:
        vm = client.content.searchIndex.FindByInventoryPath("DC0/vm/m")
        assert claimed(vm) == wanted
        assert shown(vm) == before


def test_what_is_gone_stays_gone_and_its_id_is_never_given_again(settings: LabSettings) -> None:
    with session(settings) as client:
        client.create("kept")
        gone = client.create("gone")
        client.result(gone.Destroy_Task())

    with session(settings) as client:
        assert [each.name for each in client.folder.childEntity] == ["kept"]
        assert client.create("new")._moId != gone._moId


def test_a_machine_without_a_guest_is_off_and_a_suspended_one_stays_suspended(
    settings: LabSettings,
) -> None:
    with session(settings, kill=True) as client:
        on, suspended, lost = (client.create(name) for name in ("on", "suspended", "lost"))
        for vm in (on, suspended, lost):
            client.result(vm.PowerOnVM_Task())
        client.result(suspended.SuspendVM_Task())
        client.result(lost.SuspendVM_Task())
        client.file("[datastore1] lost/lost.vmss").unlink()

    with session(settings) as client:
        states = {each.name: each.runtime.powerState for each in client.folder.childEntity}
        assert states == {"on": "poweredOff", "suspended": "suspended", "lost": "poweredOff"}
        suspended = client.content.searchIndex.FindByInventoryPath("DC0/vm/suspended")
        client.result(suspended.PowerOnVM_Task())


def test_a_machine_whose_files_are_gone_is_inaccessible_and_comes_back_with_them(
    settings: LabSettings,
) -> None:
    with session(settings) as client:
        vm = client.create("m")
        moid, uuid = vm._moId, vm.config.instanceUuid
        folder = client.file("[datastore1] m")
    folder.rename(folder.with_name("away"))

    with session(settings) as client:
        [vm] = client.folder.childEntity
        assert (vm._moId, vm.name) == (moid, "m")
        assert vm.runtime.connectionState == "inaccessible"
        assert vm.config is None
        assert client.content.searchIndex.FindAllByUuid(None, uuid, True, True) == [vm]
        assert vm.summary.config.vmPathName == "[datastore1] m/m.vmx"
        with pytest.raises(vim.fault.InvalidState):
            client.result(vm.PowerOnVM_Task())
        with pytest.raises(vim.fault.InvalidState):
            client.reconfigure(vm, memoryMB=128)
        folder.with_name("away").rename(folder)
        vm.Reload()
        assert vm.runtime.connectionState == "connected"
        client.result(vm.PowerOnVM_Task())


def test_an_inaccessible_machine_can_be_unregistered_or_destroyed(settings: LabSettings) -> None:
    with session(settings) as client:
        client.create("a")
        client.create("b")
    for name in "ab":
        folder = settings.datastores_dir / "datastore1" / name
        (folder / f"{name}.vmx").unlink()

    with session(settings) as client:
        first, second = client.folder.childEntity
        first.UnregisterVM()
        client.result(second.Destroy_Task())
        assert list(client.folder.childEntity) == []
        assert list(client.compute.host[0].vm) == []


def test_a_lab_that_stops_leaves_no_half_made_machines(settings: LabSettings) -> None:
    with session(settings) as client:
        folder, pool = client.folder, client.pool
        for number in range(30):
            folder.CreateVM_Task(config_spec(f"m{number}", scsi(), new_disk()), pool)

    with session(settings) as client:
        machines = {each.name for each in client.folder.childEntity}
        assert {each.name for each in client.file("[datastore1] ").iterdir()} == machines


def test_port_groups_switches_maintenance_and_names(settings: LabSettings) -> None:
    with session(settings) as client:
        host, other = client.compute.host
        system = host.configManager.networkSystem
        system.AddVirtualSwitch("vSwitch1", None)
        system.AddPortGroup(
            vim.host.PortGroup.Specification(
                name="tagged", vlanId=12, vswitchName="vSwitch1", policy=vim.host.NetworkPolicy()
            )
        )
        other.configManager.networkSystem.RemovePortGroup("VM Network")
        client.result(other.EnterMaintenanceMode_Task(0))
        client.result(client.compute.Rename_Task("production"))

    with session(settings) as client:
        assert client.compute.name == "production"
        host, other = client.compute.host
        groups = {each.spec.name: each.spec.vlanId for each in host.config.network.portgroup}
        assert groups == {"VM Network": 0, "tagged": 12}
        assert [each.name for each in client.network("tagged").host] == ["esx1.lab.local"]
        assert [each.name for each in other.network] == ["dv-net"]
        assert other.runtime.inMaintenanceMode


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 99}'])
def test_a_damaged_inventory_is_put_aside(settings: LabSettings, text: str) -> None:
    with session(settings) as client:
        client.create("m")
    settings.inventory_file.write_text(text)

    with session(settings) as client:
        assert list(client.folder.childEntity) == []
        client.register("[datastore1] m/m.vmx")

    aside = settings.inventory_file.with_name("inventory.json.unusable")
    assert aside.read_text() == text
    assert len(json.loads(settings.inventory_file.read_text())["machines"]) == 1


def test_a_card_keeps_its_port_over_a_restart(settings: LabSettings) -> None:
    with session(settings) as client:
        group = client.network("dv-net")
        machines = [client.create(f"m{number}", distributed_nic(group)) for number in range(10)]
        ports = {
            vm.name: of_type(vm, device.VirtualEthernetCard)[0].backing.port.portKey
            for vm in machines
        }

    with session(settings) as client:
        group = client.network("dv-net")
        again = {
            vm.name: of_type(vm, device.VirtualEthernetCard)[0].backing.port.portKey
            for vm in client.folder.childEntity
        }
        assert again == ports
        assert set(ports.values()) <= set(group.portKeys)
        new = client.create("new", distributed_nic(group))
        assert (
            of_type(new, device.VirtualEthernetCard)[0].backing.port.portKey not in again.values()
        )
