"""Volumes come to instances and leave them."""

from __future__ import annotations

import copy
import json
import re
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from pyVmomi import vim

from tests.backends import second_view
from tests.backends.capabilities import Capability
from tests.backends.lab import LabBackend
from tests.contract.engine import Bench
from tests.contract.needs import needs
from tests.contract.volumes import (
    MadeVolume,
    a_first_class_disk,
    a_shadow_vm,
    disk_of,
    disks_of,
    notes,
    paths,
)
from vmops import Instance
from vmops.errors import (
    Busy,
    InstanceNotFound,
    InvalidPowerState,
    InvalidState,
    NotSupported,
    VolumeInUse,
    VolumeNotFound,
)
from vmops.model.image import AdapterType
from vmops.progress import Event, StepStarted

MAKERS = {"vmdk": a_shadow_vm, "fcd": a_first_class_disk}
ISCSI = {
    "driver_volume_type": "iscsi",
    "data": {"volume_id": "v-1", "target_portal": "192.0.2.1:3260", "target_iqn": "iqn.x:1"},
}


@pytest.fixture(params=list(MAKERS))
def volume(request: pytest.FixtureRequest, bench: Bench) -> MadeVolume:
    """A volume of either kind."""
    lacks = bench.backend.lacks
    if request.param == "fcd" and (reason := lacks.get(Capability.FIRST_CLASS_DISKS)):
        pytest.skip(f"needs {Capability.FIRST_CLASS_DISKS}: {reason}")
    return MAKERS[request.param](bench)


def attach(bench: Bench, volume: MadeVolume, instance: Instance, **options: Any) -> None:
    bench.ops.attach_volume(None, volume.connection, instance, **options)


def detach(bench: Bench, volume: MadeVolume, instance: Instance) -> None:
    bench.ops.detach_volume(None, volume.connection, instance)


# Coming and leaving


@pytest.mark.parametrize("power_on", [True, False], ids=["running", "off"])
def test_a_volume_comes_and_leaves(bench: Bench, volume: MadeVolume, power_on: bool) -> None:
    instance = bench.spawn(power_on=power_on)
    before = paths(bench, instance)
    attach(bench, volume, instance)
    assert paths(bench, instance) == [*before, volume.path]
    detach(bench, volume, instance)
    assert paths(bench, instance) == before
    assert notes(bench, instance) == {}
    attach(bench, volume, instance)  # nothing keeps it from coming again
    assert paths(bench, instance) == [*before, volume.path]


@pytest.mark.parametrize("same", [True, False], ids=["this-volume", "another-volume"])
def test_a_place_that_another_process_took_meanwhile_is_no_hindrance(
    bench: Bench, volume: MadeVolume, same: bool
) -> None:
    instance = bench.spawn()
    other = volume if same else MAKERS["vmdk"](bench)
    came: list[str] = []

    def observe(event: Event) -> None:
        attaches = isinstance(event, StepStarted) and event.title == "Attach the volume's disk"
        if attaches and not came:
            came.append(other.id)
            attach(bench, other, instance)

    late = bench.engine(observe=observe)
    late.attach_volume(None, volume.connection, instance)
    assert came == [other.id]
    assert sorted(paths(bench, instance)[1:]) == sorted({volume.path, other.path})


@needs(Capability.COUNTED_CALLS)
def test_it_is_one_look_and_one_change(bench: Bench, volume: MadeVolume) -> None:
    instance = bench.spawn()
    bench.session.inventory.wait_fresh()
    fcd = volume.connection["driver_volume_type"] == "vstorageobject"
    for do, change in ((attach, "AttachDisk_Task"), (detach, "DetachDisk_Task")):
        calls = bench.calls_of(partial(do, bench, volume, instance))
        assert calls == {"RetrievePropertiesEx": 1, change if fcd else "ReconfigVM_Task": 1}


@needs(Capability.DISK_BYTES)
def test_a_vmdk_volume_is_noted_by_its_disks_uuid_as_nova_does(bench: Bench) -> None:
    instance, volume = bench.spawn(), a_shadow_vm(bench)
    attach(bench, volume, instance)
    uuid = disk_of(volume.holder).backing.uuid
    assert notes(bench, instance) == {f"volume-{volume.id}": uuid}
    assert disks_of(bench.vm(instance))[1].backing.uuid == uuid


def test_a_connection_may_be_text(bench: Bench, volume: MadeVolume) -> None:
    instance = bench.spawn()
    text = json.dumps(volume.connection)
    bench.ops.attach_volume(None, text, instance)
    assert volume.path in paths(bench, instance)
    bench.ops.detach_volume(None, text, instance)
    assert volume.path not in paths(bench, instance)


def test_the_volume_engine_by_itself_has_novas_methods(bench: Bench, volume: MadeVolume) -> None:
    instance = bench.spawn()
    bench.ops.volumeops.attach_volume(volume.connection, instance)
    assert volume.path in paths(bench, instance)
    bench.ops.volumeops.detach_volume(volume.connection, instance)
    assert volume.path not in paths(bench, instance)


def test_many_volumes_get_places_of_their_own(bench: Bench) -> None:
    instance = bench.spawn()
    volumes = [a_shadow_vm(bench) for _ in range(3)]
    for volume in volumes:
        attach(bench, volume, instance)
    detach(bench, volumes[1], instance)
    assert set(paths(bench, instance)[1:]) == {volumes[0].path, volumes[2].path}
    places = {(d.controllerKey, d.unitNumber) for d in disks_of(bench.vm(instance))}
    assert len(places) == 3


# Where its disk goes


def test_it_goes_where_the_root_disk_is(bench: Bench, volume: MadeVolume) -> None:
    image = bench.images.named("flat", vmware_adaptertype="paraVirtual")
    instance = bench.spawn(image)
    attach(bench, volume, instance)
    root, other = disks_of(bench.vm(instance))
    assert other.controllerKey == root.controllerKey


def test_a_controller_that_is_missing_comes_with_it(bench: Bench, volume: MadeVolume) -> None:
    instance = bench.spawn(bench.images.named("flat", vmware_adaptertype="lsiLogic"))
    attach(bench, volume, instance, disk_bus="paraVirtual")
    (controller,) = second_view.devices(bench.vm(instance), vim.vm.device.ParaVirtualSCSIController)
    disk = disks_of(bench.vm(instance))[1]
    assert (disk.backing.fileName, disk.controllerKey) == (volume.path, controller.key)
    assert controller.busNumber == 1


@needs(Capability.COUNTED_CALLS)
def test_a_controller_costs_a_vmdk_volume_no_call(bench: Bench) -> None:
    instance, volume = bench.spawn(), a_shadow_vm(bench)
    calls = bench.calls_of(
        lambda: attach(bench, volume, instance, disk_bus=AdapterType.PARA_VIRTUAL)
    )
    assert calls["ReconfigVM_Task"] == 1


@needs(Capability.DISK_BYTES)
def test_a_disk_on_ide_waits_until_the_instance_is_off(bench: Bench, volume: MadeVolume) -> None:
    instance = bench.spawn(bench.images.named("flat", vmware_adaptertype="ide"))
    before = bench.world()
    with pytest.raises(InvalidPowerState, match=r"is running: a disk on IDE .* Stop it first"):
        attach(bench, volume, instance, disk_bus="ide")
    assert bench.world() == before
    bench.ops.power_off(instance)
    attach(bench, volume, instance)
    bench.ops.power_on(None, instance)
    with pytest.raises(InvalidPowerState, match="Stop it first"):
        detach(bench, volume, instance)
    assert volume.path in paths(bench, instance)
    bench.ops.power_off(instance)
    detach(bench, volume, instance)


@needs(Capability.DISK_BYTES)
def test_on_another_bus_it_comes_at_once(bench: Bench, volume: MadeVolume) -> None:
    instance = bench.spawn(bench.images.named("flat", vmware_adaptertype="ide"))
    attach(bench, volume, instance, disk_bus="lsiLogic")
    assert volume.path in paths(bench, instance)


@needs(Capability.DISK_BYTES)
def test_beside_ide_it_comes_to_a_bus_that_can_be_plugged(bench: Bench, volume: MadeVolume) -> None:
    instance = bench.spawn(bench.images.named("flat", vmware_adaptertype="ide"))
    attach(bench, volume, instance)
    (lsi,) = second_view.devices(bench.vm(instance), vim.vm.device.VirtualLsiLogicController)
    found = second_view.devices(bench.vm(instance), vim.vm.device.VirtualDisk)
    assert lsi.key in {disk.controllerKey for disk in found}
    detach(bench, volume, instance)
    assert volume.path not in paths(bench, instance)


# What is refused


def test_what_is_attached_already_stays_as_it_is(bench: Bench, volume: MadeVolume) -> None:
    instance = bench.spawn()
    attach(bench, volume, instance)
    before = bench.vms()
    attach(bench, volume, instance)
    assert bench.vms() == before


@needs(Capability.KEYED_PATHS)
@pytest.mark.parametrize("power_on", [True, False], ids=["running", "off"])
def test_what_another_instance_has_is_named(
    bench: Bench, volume: MadeVolume, power_on: bool
) -> None:
    """Also of one that is off: both could not run, and the volume would be lost between them."""
    holder, other = bench.spawn(power_on=power_on), bench.spawn()
    attach(bench, volume, holder)
    before = bench.vms()
    told = f"Volume {volume.id} is attached to {holder.name}. Detach it first."
    with pytest.raises(VolumeInUse, match=f"^{re.escape(told)}$"):
        attach(bench, volume, other)
    assert bench.vms() == before
    detach(bench, volume, holder)
    attach(bench, volume, other)


def test_what_is_not_attached_cannot_leave(bench: Bench, volume: MadeVolume) -> None:
    instance, other = bench.spawn(), a_shadow_vm(bench)
    attach(bench, other, instance)
    before = bench.vms()
    with pytest.raises(VolumeNotFound) as error:
        detach(bench, volume, instance)
    assert error.value.available == (other.id,)
    assert bench.vms() == before


def test_a_volume_that_is_not_there(bench: Bench) -> None:
    instance, volume = bench.spawn(), a_shadow_vm(bench)
    second_view.finished(volume.holder.Destroy_Task())
    with pytest.raises(VolumeNotFound, match=volume.id):
        attach(bench, volume, instance)


@needs(Capability.FIRST_CLASS_DISKS)
def test_a_first_class_disk_that_is_not_there(bench: Bench) -> None:
    instance, volume = bench.spawn(), a_first_class_disk(bench)
    volume.connection["data"]["id"] = "00000000-0000-0000-0000-000000000000"
    with pytest.raises(VolumeNotFound, match=volume.id):
        attach(bench, volume, instance)


def test_an_instance_that_is_not_there(bench: Bench, volume: MadeVolume) -> None:
    unknown = "7e570000-0000-0000-0000-000000000000"
    for do in (bench.ops.attach_volume, bench.ops.detach_volume):
        with pytest.raises(InstanceNotFound):
            do(None, volume.connection, unknown)


@needs(Capability.POWER_FAULTS)
@pytest.mark.parametrize("state", ["suspended", "paused", "rescued"])
def test_in_some_states_nothing_comes_or_leaves(
    bench: Bench, volume: MadeVolume, state: str
) -> None:
    instance, held = bench.spawn(), a_shadow_vm(bench)
    attach(bench, held, instance)
    {
        "suspended": lambda: bench.ops.suspend(instance),
        "paused": lambda: bench.ops.pause(instance),
        "rescued": lambda: bench.ops.rescue(None, instance, None, "flat"),
    }[state]()
    before = bench.vms()
    refused: list[Callable[[], object]] = [
        lambda: attach(bench, volume, instance),
        lambda: detach(bench, held, instance),
    ]
    for do in refused:
        with pytest.raises((InvalidState, InvalidPowerState), match=f"is {state}"):
            do()
    assert bench.vms() == before


def test_iscsi_is_refused_by_name(bench: Bench) -> None:
    instance = bench.spawn()
    before = bench.vms()
    for do in (bench.ops.attach_volume, bench.ops.detach_volume):
        with pytest.raises(NotSupported, match="iSCSI"):
            do(None, ISCSI, instance)
    assert bench.vms() == before


def test_two_at_once_are_told_apart(bench: Bench, volume: MadeVolume) -> None:
    """The volume engine and the rest of the engine share what runs on an instance."""
    instance = bench.spawn()
    began, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        with bench.ops._alone(instance.uuid, "resize"):
            began.set()
            go_on.wait(30)

    thread = threading.Thread(target=hold)
    thread.start()
    try:
        assert began.wait(30)
        with pytest.raises(Busy, match="resize has been running since"):
            attach(bench, volume, instance)
        with pytest.raises(Busy, match="resize"):
            bench.ops.volumeops.detach_volume(volume.connection, instance)
    finally:
        go_on.set()
        thread.join()


# Snapshots


def snapshot_of(bench: Bench, instance: Instance) -> Any:
    vm = bench.vm(instance)
    return second_view.finished(vm.CreateSnapshot_Task(name="by hand", memory=False, quiesce=False))


@needs(Capability.DISK_BYTES)
def test_what_a_snapshot_has_does_not_leave_without_what_was_written_since(bench: Bench) -> None:
    instance, volume = bench.spawn(), a_shadow_vm(bench)
    attach(bench, volume, instance)
    snapshot = snapshot_of(bench, instance)
    assert volume.path not in paths(bench, instance)
    with pytest.raises(InvalidState, match=r"snapshot of .* Delete the instance's snapshots"):
        detach(bench, volume, instance)
    second_view.finished(snapshot.RemoveSnapshot_Task(removeChildren=False))
    detach(bench, volume, instance)
    assert len(disks_of(bench.vm(instance))) == 1


@needs(Capability.DISK_BYTES)
def test_what_came_after_the_snapshot_leaves(bench: Bench, volume: MadeVolume) -> None:
    instance = bench.spawn()
    snapshot_of(bench, instance)
    attach(bench, volume, instance)
    detach(bench, volume, instance)
    assert len(disks_of(bench.vm(instance))) == 1


@needs(Capability.DISK_BYTES)
def test_a_volume_with_a_snapshot_of_its_own_comes_and_leaves(bench: Bench) -> None:
    """The disk is then a layer over another one, of which the instance's snapshots know nothing."""
    instance, volume = bench.spawn(), a_shadow_vm(bench)
    second_view.finished(
        volume.holder.CreateSnapshot_Task(name="by Cinder", memory=False, quiesce=False)
    )
    top = disk_of(volume.holder).backing.fileName
    assert top != volume.path
    attach(bench, volume, instance)
    assert paths(bench, instance)[1] == top
    detach(bench, volume, instance)
    assert len(disks_of(bench.vm(instance))) == 1


# What a volume service asks


def test_the_connector_names_the_machine_and_the_endpoint(bench: Bench) -> None:
    instance = bench.spawn()
    assert bench.ops.volumeops.get_volume_connector(instance) == {
        "ip": bench.session.endpoint.host,
        "host": bench.session.endpoint.host,
        "initiator": None,
        "instance": bench.vm(instance)._GetMoId(),
    }
    gone = bench.ops.volumeops.get_volume_connector(
        {"uuid": "7e570000-1111-1111-1111-111111111111"}
    )
    assert "instance" not in gone


@needs(Capability.CONTROL)
def test_the_connector_names_the_hosts_iscsi_adapter(bench: Bench) -> None:
    instance = bench.spawn()
    name = "iqn.1998-01.com.vmware:esx1"
    host = second_view.properties(bench.vm(instance), "runtime.host")["runtime.host"]
    before = second_view.properties(host, "config")["config"]
    config = copy.copy(before)
    config.storageDevice = vim.host.StorageDeviceInfo(
        softwareInternetScsiEnabled=True, hostBusAdapter=[_disk_adapter(), _iscsi_adapter(name)]
    )
    assert isinstance(bench.backend, LabBackend)
    bench.backend.change(host, {"config": config})
    try:
        assert bench.ops.volumeops.get_volume_connector(instance)["initiator"] == name
    finally:
        bench.backend.change(host, {"config": before})


def _disk_adapter() -> Any:
    return vim.host.BlockHba(device="vmhba0", bus=0, status="online", model="AHCI")


def _iscsi_adapter(name: str) -> Any:
    kind = vim.host.InternetScsiHba
    return kind(
        device="vmhba64", bus=64, status="online", model="iSCSI Software Adapter",
        isSoftwareBased=True, iScsiName=name,
        discoveryCapabilities=kind.DiscoveryCapabilities(
            iSnsDiscoverySettable=True, slpDiscoverySettable=True,
            staticTargetDiscoverySettable=True, sendTargetsDiscoverySettable=True,
        ),
        discoveryProperties=kind.DiscoveryProperties(
            iSnsDiscoveryEnabled=False, slpDiscoveryEnabled=False,
            staticTargetDiscoveryEnabled=True, sendTargetsDiscoveryEnabled=True,
        ),
        authenticationCapabilities=kind.AuthenticationCapabilities(
            chapAuthSettable=True, krb5AuthSettable=False, srpAuthSettable=False,
            spkmAuthSettable=False,
        ),
        authenticationProperties=kind.AuthenticationProperties(chapAuthEnabled=False),
        ipCapabilities=kind.IPCapabilities(
            addressSettable=False, ipConfigurationMethodSettable=False, subnetMaskSettable=False,
            defaultGatewaySettable=False, primaryDnsServerAddressSettable=False,
            alternateDnsServerAddressSettable=False,
        ),
        ipProperties=kind.IPProperties(dhcpConfigurationEnabled=False),
    )  # fmt: skip


# Disks by their path, as Nova's driver attaches them


@needs(Capability.DISK_BYTES)
def test_a_disk_comes_by_its_path_and_leaves_by_its_key(bench: Bench) -> None:
    instance, volume = bench.spawn(), a_shadow_vm(bench)
    vm = bench.vm(instance)
    ops = bench.engine().volumeops
    ops.attach_disk_to_vm(vm._GetMoId(), instance, "lsiLogic", "thin", volume.path)
    assert paths(bench, instance)[1] == volume.path
    assert notes(bench, instance) == {}
    ops.detach_disk_from_vm(vm, instance, disks_of(vm)[1])
    assert len(disks_of(vm)) == 1
    assert volume.path in bench.tree()
    for options in ({"vmdk_path": None}, {"vmdk_path": volume.path, "linked_clone": True}):
        with pytest.raises(NotSupported):
            ops.attach_disk_to_vm(vm, instance, "lsiLogic", "thin", **options)
