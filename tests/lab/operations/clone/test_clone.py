"""Clones: other machines with the same content, whole or over a snapshot."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pyVmomi import vim, vmodl

from tests.lab.client import Client
from tests.lab.machines import CLUSTER, Machine, frozen_disk
from tests.lab.specs import change, device, distributed_nic, extra, new_disk, of_type, standard_nic
from vmops.lab.hypervisor.errors import HypervisorError

LINKED = "createNewChildDiskBacking"


def location(**fields: Any) -> vim.vm.RelocateSpec:
    return vim.vm.RelocateSpec(**fields)


@pytest.fixture
def cloned(machine: Machine) -> Iterator[Callable[..., Machine]]:
    """Clones the machine; the clones are gone afterwards."""
    made: list[Machine] = []

    def clone(
        name: str | None = None,
        *,
        folder: Any = None,
        template: bool = False,
        on: bool = False,
        where: Any = None,
        **spec: Any,
    ) -> Machine:
        task = machine.vm.CloneVM_Task(
            folder or machine.client.folder,
            name or f"{machine.name}-c{len(made)}",
            vim.vm.CloneSpec(location=where or location(), template=template, powerOn=on, **spec),
        )
        made.append(Machine(machine.client, machine.result(task)))
        return made[-1]

    yield clone
    for each in made:
        each.destroy()


@pytest.mark.parametrize("power", ["off", "on", "suspended"])
def test_a_whole_copy(machine: Machine, cloned: Callable[..., Machine], power: str) -> None:
    machine.write(1)
    machine.snapshot("one")
    machine.write(2, at=CLUSTER)
    if power != "off":
        machine.on()
    if power == "suspended":
        machine.result(machine.SuspendVM_Task())
    tree, chain = machine.tree(), machine.chain
    clone = cloned()
    assert clone.runtime.powerState == "poweredOff"
    assert (clone.read(), clone.read(at=CLUSTER)) == (1, 2)
    assert clone.chain == [f"{clone.name}.vmdk"]
    assert clone.vm.snapshot is None
    assert clone.parent == machine.client.folder
    assert clone.resourcePool == machine.client.pool
    assert clone.config.uuid != machine.config.uuid
    assert clone.config.instanceUuid != machine.config.instanceUuid
    ours, theirs = machine.disks[0].backing, clone.disks[0].backing
    assert theirs.uuid != ours.uuid
    # The machine itself is as it was, and neither sees what the other writes.
    assert (machine.tree(), machine.chain[-1]) == (tree, chain[-1])
    assert len(machine.chain) == len(chain)
    assert not machine.runtime.consolidationNeeded
    clone.write(9)
    assert machine.read() == 1


def test_the_configuration_comes_along_and_may_differ(
    machine: Machine, cloned: Callable[..., Machine]
) -> None:
    client = machine.client
    nic = standard_nic()
    group = client.network("dv-net")
    fixed = standard_nic(key=-12, addressType="manual", macAddress="00:50:56:00:00:77")
    client.reconfigure(
        machine.vm,
        nic,
        distributed_nic(group),
        fixed,
        annotation="a note",
        extraConfig=extra(colour="red"),
        numCPUs=2,
    )
    uuid = "99999999-2222-3333-4444-555555555555"
    clone = cloned(
        config=vim.vm.ConfigSpec(
            name="not this one",
            memoryMB=128,
            instanceUuid=uuid,
            extraConfig=extra(size="large"),
            deviceChange=[new_disk(controller=1000, key=-5)],
        )
    )
    assert clone.config.instanceUuid == uuid
    assert clone.name == clone.config.name == f"{machine.name}-c0"
    assert (clone.config.hardware.numCPU, clone.config.hardware.memoryMB) == (2, 128)
    assert clone.config.annotation == "a note"
    options = {each.key: each.value for each in clone.config.extraConfig}
    assert (options["colour"], options["size"]) == ("red", "large")
    assert len(clone.disks) == 2
    ours, theirs = (of_type(each.vm, device.VirtualEthernetCard) for each in (machine, clone))
    assert [
        card.macAddress == mine.macAddress for card, mine in zip(theirs, ours, strict=True)
    ] == [False, False, True]
    ports = [card[1].backing.port.portKey for card in (ours, theirs)]
    assert ports[0] != ports[1]
    assert machine.config.hardware.memoryMB == 64
    assert len(machine.disks) == 1
    clone.on()


def test_a_linked_clone(machine: Machine, cloned: Callable[..., Machine]) -> None:
    machine.write(1)
    snapshot = machine.snapshot("one")
    machine.write(2)
    clone = cloned(where=location(diskMoveType=LINKED), snapshot=snapshot)
    assert clone.chain == [f"{clone.name}.vmdk", f"{machine.name}.vmdk"]
    assert clone.disks[0].backing.parent.fileName == frozen_disk(snapshot)
    assert clone.read() == 1
    clone.write(3)
    assert (clone.read(), machine.read()) == (3, 2)
    assert machine.read(disk=frozen_disk(snapshot)) == 1
    machine.on()
    clone.on()
    # Its own snapshots are merged into its own layer, never into what it stands on.
    clone.off()
    clone.remove(clone.snapshot("c"))
    assert clone.chain == [f"{clone.name}.vmdk", f"{machine.name}.vmdk"]
    assert not clone.runtime.consolidationNeeded
    clone.result(clone.ConsolidateVMDisks_Task())
    assert machine.read(disk=frozen_disk(snapshot)) == 1


def test_a_linked_clone_outlives_the_snapshot_and_the_machine(
    machine: Machine, cloned: Callable[..., Machine]
) -> None:
    machine.write(1)
    snapshot = machine.snapshot("one")
    clone = cloned(where=location(diskMoveType=LINKED), snapshot=snapshot)
    machine.write(2)
    machine.remove(snapshot)
    assert machine.read() == 2
    assert clone.read() == 1
    machine.destroy()
    assert clone.read() == 1
    clone.on()


def test_destroying_a_linked_clone_leaves_what_it_stood_on(
    machine: Machine, cloned: Callable[..., Machine]
) -> None:
    machine.write(1)
    snapshot = machine.snapshot("one")
    clone = cloned(where=location(diskMoveType=LINKED), snapshot=snapshot)
    folder = clone.folder
    clone.destroy()
    assert not folder.exists()
    assert machine.read(disk=frozen_disk(snapshot)) == 1
    machine.remove(snapshot)
    assert machine.vmdks == {".vmdk"}


def test_the_topmost_layer_alone(machine: Machine, cloned: Callable[..., Machine]) -> None:
    machine.write(1)
    machine.snapshot("one")
    machine.write(2, at=CLUSTER)
    two = machine.snapshot("two")
    machine.write(3, at=CLUSTER)
    clone = cloned(where=location(diskMoveType="moveChildMostDiskBacking"), snapshot=two)
    assert clone.chain == [f"{clone.name}.vmdk", f"{machine.name}.vmdk"]
    assert (clone.read(), clone.read(at=CLUSTER)) == (1, 2)
    assert clone.disks[0].backing.uuid != machine.disks[0].backing.uuid


def test_of_a_snapshot_while_the_machine_runs(
    machine: Machine, cloned: Callable[..., Machine]
) -> None:
    client = machine.client
    client.reconfigure(machine.vm, memoryMB=64)
    machine.write(1)
    machine.on()
    snapshot = machine.snapshot("one", memory=True)
    machine.off()
    client.reconfigure(machine.vm, memoryMB=128)
    machine.write(2)
    machine.on()
    clone = cloned(snapshot=snapshot)
    assert clone.read() == 1
    assert clone.config.hardware.memoryMB == 64
    assert clone.runtime.powerState == "poweredOff"


def test_to_another_datastore(machine: Machine, cloned: Callable[..., Machine]) -> None:
    client = machine.client
    machine.write(1)
    client.reconfigure(machine.vm, new_disk(controller=1000, key=-5))
    second = next(each for each in client.datacenter.datastore if each.name == "datastore2")
    first = machine.datastore[0]
    keys = [each.key for each in machine.disks]
    clone = cloned(
        where=location(
            datastore=second,
            disk=[vim.vm.RelocateSpec.DiskLocator(diskId=keys[1], datastore=first)],
        )
    )
    name = clone.name
    assert clone.config.files.vmPathName == f"[datastore2] {name}/{name}.vmx"
    assert [each.backing.fileName for each in clone.disks] == [
        f"[datastore2] {name}/{name}.vmdk",
        f"[datastore1] {name}/{name}_1.vmdk",
    ]
    assert {each.name for each in clone.datastore} == {"datastore1", "datastore2"}
    assert clone.read(disk=clone.disks[0].backing.fileName) == 1
    folder = client.file(clone.disks[1].backing.fileName).parent
    clone.destroy()
    assert not list(folder.glob("*.vmdk"))


@pytest.mark.parametrize("transform", ["flat", "sparse"])
def test_thick_and_thin(machine: Machine, cloned: Callable[..., Machine], transform: str) -> None:
    clone = cloned(where=location(transform=transform))
    assert clone.disks[0].backing.thinProvisioned is (transform == "sparse")


def test_a_template_and_a_machine_of_it(machine: Machine, cloned: Callable[..., Machine]) -> None:
    machine.write(1)
    template = cloned(template=True)
    assert template.config.template
    assert template.resourcePool is None
    client = machine.client
    spec = vim.vm.CloneSpec(location=location(pool=client.pool), template=False, powerOn=True)
    with pytest.raises(vmodl.fault.InvalidArgument):
        client.result(
            template.CloneVM_Task(
                client.folder,
                f"{machine.name}-t",
                vim.vm.CloneSpec(location=location(), template=False, powerOn=False),
            )
        )
    made = Machine(
        client, client.result(template.CloneVM_Task(client.folder, f"{machine.name}-t", spec))
    )
    assert made.runtime.powerState == "poweredOn"
    assert not made.config.template
    made.off()
    assert made.read() == 1
    made.destroy()


def test_disks_and_cards_that_are_left_out(
    machine: Machine, cloned: Callable[..., Machine]
) -> None:
    """They are not copied, and nothing of the machine's is deleted."""
    client = machine.client
    client.reconfigure(machine.vm, new_disk(controller=1000, key=-5), standard_nic())
    [card] = of_type(machine.vm, device.VirtualEthernetCard)
    snapshot = machine.snapshot("one")
    second = machine.disks[1]
    clone = cloned(
        template=True,
        snapshot=snapshot,
        where=location(diskMoveType=LINKED),
        config=vim.vm.ConfigSpec(
            deviceChange=[change("remove", second, "destroy"), change("remove", card)]
        ),
    )
    assert len(clone.disks) == 1
    assert not of_type(clone.vm, device.VirtualEthernetCard)
    assert client.file(second.backing.fileName).exists()
    assert len(machine.disks) == 2


def test_a_disk_that_grows_on_the_way(machine: Machine, cloned: Callable[..., Machine]) -> None:
    machine.write(1)
    [grown] = machine.disks
    grown.capacityInKB = grown.capacityInKB * 2
    clone = cloned(config=vim.vm.ConfigSpec(deviceChange=[change("edit", grown)]))
    assert clone.disks[0].capacityInKB == grown.capacityInKB
    assert machine.disks[0].capacityInKB == grown.capacityInKB // 2
    assert clone.read() == 1


def _tree(client: Client) -> set[str]:
    return {
        str(file)
        for each in client.datacenter.datastore
        for file in client.lab.datastore_root(each.name).rglob("*")
    }


@pytest.mark.parametrize(
    ("fault", "name", "spec"),
    [
        (vim.fault.DuplicateName, None, {}),
        (vim.fault.InvalidName, "", {}),
        (vmodl.fault.InvalidArgument, "x", {"where": {"diskMoveType": LINKED}}),
        (vmodl.fault.InvalidArgument, "x", {"where": {"diskMoveType": "no such"}}),
        (vmodl.fault.InvalidArgument, "x", {"template": True, "powerOn": True}),
        (vmodl.fault.NotSupported, "x", {"memory": True}),
        (vmodl.fault.InvalidArgument, "x", {"config": {"memoryMB": 3}}),
    ],
)
def test_what_cannot_be_leaves_nothing(
    machine: Machine, fault: type[Exception], name: str | None, spec: dict[str, Any]
) -> None:
    client = machine.client
    before = _tree(client)
    fields = {"template": False, "powerOn": False, **spec}
    fields["location"] = location(**fields.pop("where", {}))
    if "config" in fields:
        fields["config"] = vim.vm.ConfigSpec(**fields["config"])
    children = set(client.folder.childEntity)
    with pytest.raises(fault):
        machine.result(
            machine.CloneVM_Task(
                client.folder, machine.name if name is None else name, vim.vm.CloneSpec(**fields)
            )
        )
    assert _tree(client) == before
    assert set(client.folder.childEntity) == children


def test_a_clone_that_cannot_be_powered_on_goes_again(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = machine.client
    before = _tree(client)
    [host] = [machine.runtime.host]

    async def power_on(_: object) -> None:
        raise HypervisorError("no more guests")

    monkeypatch.setattr(client.lab.kernel.hypervisor, "power_on", power_on)
    with pytest.raises(vim.fault.GenericVmConfigFault):
        machine.result(
            machine.CloneVM_Task(
                client.folder,
                "x",
                vim.vm.CloneSpec(location=location(host=host), template=False, powerOn=True),
            )
        )
    assert _tree(client) == before


def test_another_machines_snapshot(machine: Machine, cloned: Callable[..., Machine]) -> None:
    snapshot = machine.snapshot("one")
    client = machine.client
    other = Machine(client, client.create(f"{machine.name}-o"))
    with pytest.raises(vmodl.fault.InvalidArgument):
        client.result(
            other.CloneVM_Task(
                client.folder,
                "x",
                vim.vm.CloneSpec(
                    location=location(), template=False, powerOn=False, snapshot=snapshot
                ),
            )
        )
    other.destroy()
