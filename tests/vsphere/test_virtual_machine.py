from __future__ import annotations

from collections import Counter

import pytest
from pyVmomi import vim

from tests.vsphere.conftest import MakeVm, Place, eventually
from vmops.errors import (
    DuplicateName,
    InstanceNotFound,
    InvalidPowerState,
    ManagedObjectNotFound,
    NotSupported,
)
from vmops.model.datastore_path import DatastorePath
from vmops.model.power import PowerState
from vmops.vsphere.live.stream import STREAM_METHODS
from vmops.vsphere.objects.folder import Folder
from vmops.vsphere.objects.lookup import find_vm, find_vm_on_server, with_vm
from vmops.vsphere.objects.virtual_machine import VirtualMachine
from vmops.vsphere.session import Session

NOWHERE = "00000000-0000-4000-8000-000000000000"


def beside_the_stream(session: Session, before: Counter[str]) -> dict[str, int]:
    return {m: n for m, n in (session.counts - before).items() if m not in STREAM_METHODS}


def test_power_states(session: Session, make_vm: MakeVm) -> None:
    vm, _ = make_vm(session)
    assert vm.power_state() is PowerState.POWERED_OFF
    vm.power_on()
    assert vm.power_state() is PowerState.POWERED_ON
    vm.suspend()
    assert vm.power_state() is PowerState.SUSPENDED
    vm.power_on()
    vm.reset()
    vm.power_off()
    assert vm.power_state() is PowerState.POWERED_OFF


def test_each_power_operation_is_one_call(lab: Place, make_vm: MakeVm) -> None:
    with lab.connect() as session:
        vm, _ = make_vm(session)
        for change, method in (
            (vm.power_on, "PowerOnVM_Task"),
            (vm.reset, "ResetVM_Task"),
            (vm.suspend, "SuspendVM_Task"),
            (vm.power_on, "PowerOnVM_Task"),
            (vm.power_off, "PowerOffVM_Task"),
        ):
            before = session.counts
            change()
            assert beside_the_stream(session, before) == {method: 1}


def test_a_running_machine_is_not_destroyed(session: Session, make_vm: MakeVm) -> None:
    vm, _ = make_vm(session)
    vm.power_on()
    with pytest.raises(InvalidPowerState):
        vm.destroy()
    vm.power_off()
    vm.destroy()
    vm.destroy(missing_ok=True)
    with pytest.raises(ManagedObjectNotFound):
        vm.destroy()


def test_reconfigures_and_renames(lab: Place, make_vm: MakeVm) -> None:
    with lab.connect() as session:
        vm, _ = make_vm(session)
        vm.reconfigure(vim.vm.ConfigSpec(memoryMB=128))
        vm.rename("another")
        found = vm.read("name", "config.hardware.memoryMB")
        assert found == {"name": "another", "config.hardware.memoryMB": 128}
        with pytest.raises(DuplicateName):
            make_vm(session, name="another")


def test_lists_its_files_in_one_read(lab: Place, make_vm: MakeVm) -> None:
    with lab.connect() as session:
        options = [
            vim.option.OptionValue(key="volume-1", value="disk-uuid"),
            vim.option.OptionValue(key="volume-2", value=""),
        ]
        vm, instance_uuid = make_vm(session, extraConfig=options)
        vmx = DatastorePath.parse(vm.files().vmx)
        change = vim.vm.device.VirtualDeviceSpec(
            operation="add",
            fileOperation="create",
            device=vim.vm.device.VirtualDisk(
                key=-1,
                controllerKey=-2,
                unitNumber=0,
                capacityInKB=1024,
                backing=vim.vm.device.VirtualDisk.FlatVer2BackingInfo(
                    fileName=str(vmx.parent.joined("d.vmdk")),
                    diskMode="persistent",
                    thinProvisioned=True,
                ),
            ),
        )
        controller = vim.vm.device.VirtualDeviceSpec(
            operation="add",
            device=vim.vm.device.ParaVirtualSCSIController(
                key=-2, busNumber=0, sharedBus="noSharing"
            ),
        )
        vm.reconfigure(vim.vm.ConfigSpec(deviceChange=[controller, change]))
        before = session.counts
        files = vm.files()
        assert beside_the_stream(session, before) == {"RetrievePropertiesEx": 1}
        assert files.instance_uuid == instance_uuid
        assert files.power_state is PowerState.POWERED_OFF
        assert files.extra_config["volume-1"] == "disk-uuid"
        (disk,) = files.disks
        assert disk.file_name == str(vmx.parent.joined("d.vmdk"))
        assert disk.capacity_bytes == 1024 * 1024
        assert vm.disk_paths() == (vmx.parent.joined("d.vmdk"),)
        vm.detach_devices({disk.key, 4711})
        assert vm.files().disks == ()
        assert session.datastore_files.exists(vmx.parent.joined("d.vmdk"))
        vm.destroy()
        session.file_manager.delete(vmx.parent, missing_ok=True)


def test_screens(lab: Place, make_vm: MakeVm) -> None:
    with lab.connect() as session:
        vm, _ = make_vm(session)
        with pytest.raises(InvalidPowerState, match="no screen"):
            vm.screen()
        vm.power_on()
        assert vm.screen().startswith(b"\x89PNG")


@pytest.mark.vcsim
def test_an_endpoint_without_screens_says_so(simulator: Place, make_vm: MakeVm) -> None:
    with simulator.connect() as session:
        vm, _ = make_vm(session)
        vm.power_on()
        with pytest.raises(NotSupported):
            vm.screen()


def test_is_found_by_its_instance_uuid_in_any_case(session: Session, make_vm: MakeVm) -> None:
    vm, instance_uuid = make_vm(session)
    found = find_vm_on_server(session, instance_uuid.upper())
    assert found
    assert found.moid == vm.moid
    assert find_vm(session, instance_uuid).moid == vm.moid
    eventually(lambda: session.inventory.vm_by_uuid(instance_uuid))
    before = session.counts
    assert find_vm(session, instance_uuid.upper()).moid == vm.moid
    assert beside_the_stream(session, before) == {}


def test_what_does_not_exist_is_not_found(session: Session) -> None:
    assert find_vm_on_server(session, NOWHERE) is None
    with pytest.raises(InstanceNotFound, match=NOWHERE):
        find_vm(session, NOWHERE)
    with pytest.raises(InstanceNotFound, match=NOWHERE):
        with_vm(session, NOWHERE, lambda vm: vm.power_state())


def test_a_machine_that_is_gone_is_not_found(lab: Place, make_vm: MakeVm) -> None:
    with lab.connect() as session:
        vm, instance_uuid = make_vm(session)

        def destroyed_meanwhile(found: VirtualMachine) -> PowerState | None:
            vm.destroy(missing_ok=True)
            return found.power_state()

        with pytest.raises(InstanceNotFound, match=instance_uuid):
            with_vm(session, instance_uuid, destroyed_meanwhile)


def test_a_machine_that_was_registered_anew_is_found_under_its_new_reference(
    lab: Place, make_vm: MakeVm
) -> None:
    with lab.connect() as session:
        vm, instance_uuid = make_vm(session)
        vmx = DatastorePath.parse(vm.files().vmx)
        cluster = session.inventory.cluster()
        folder = session.inventory.datacenter(cluster.datacenter).vm_folder
        seen = []

        def work(found: VirtualMachine) -> PowerState | None:
            seen.append(found.moid)
            if len(seen) == 1:
                vm.unregister()
                session.run_task(
                    folder,
                    "RegisterVM_Task",
                    path=str(vmx),
                    asTemplate=False,
                    pool=cluster.resource_pool,
                )
            return found.power_state()

        assert with_vm(session, instance_uuid, work) is PowerState.POWERED_OFF
        assert len(set(seen)) == 2
        left = find_vm_on_server(session, instance_uuid)
        assert left
        left.destroy()


def test_a_folder_that_is_there_is_taken(session: Session) -> None:
    above = Folder(session, session.inventory.datacenters()[0].vm_folder)
    first = above.create_folder("project")
    assert above.create_folder("project").moref._GetMoId() == first.moref._GetMoId()
    session.run_task(first.moref, "Destroy_Task")


def test_of_a_moid(session: Session, make_vm: MakeVm) -> None:
    vm, _ = make_vm(session)
    assert VirtualMachine.of(session, vm.moid).read("name") == vm.read("name")
