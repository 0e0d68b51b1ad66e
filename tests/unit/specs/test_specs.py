"""Specs: what is asked of the server for what callers ask of us."""

from __future__ import annotations

from typing import Any

import pytest
from pyVmomi import vim

from tests.builders import an_instance
from vmops.model import extra_config
from vmops.model.datastore_path import DatastorePath
from vmops.model.hardware import Firmware, Hardware
from vmops.model.image import AdapterType, DiskType, VifModel
from vmops.specs import disks, media, nics
from vmops.specs import virtual_machine as vm_specs

STANDARD = nics.NicBacking(kind="standard", name="VM Network")
DEVICE = vim.vm.device


def machine(**changes: Any) -> vm_specs.NewMachine:
    given: dict[str, Any] = {
        "instance": an_instance(vcpus=2),
        "vmx": DatastorePath("ds", "u/u.vmx"),
        "guest_id": "otherGuest",
    }
    return vm_specs.NewMachine(**{**given, **changes})


def test_identity_and_size() -> None:
    wanted = machine()
    spec = vm_specs.new_machine(wanted)
    instance = wanted.instance
    assert (spec.name, spec.instanceUuid, spec.uuid) == (instance.name, *[instance.uuid] * 2)
    assert (spec.numCPUs, spec.memoryMB) == (2, instance.flavor.memory_mib)
    assert spec.files
    assert spec.files.vmPathName == "[ds] u/u.vmx"
    assert spec.firmware is None


def test_efi() -> None:
    efi = Hardware(firmware=Firmware.EFI)
    assert vm_specs.new_machine(machine(hardware=efi)).firmware == "efi"


def test_extra_config_has_uuid_and_interfaces_and_what_was_given() -> None:
    new_nics = tuple(
        vm_specs.NewNic(backing=STANDARD, model=VifModel.E1000, interface_id=name)
        for name in ("p0", "", "p2")
    )
    wanted = machine(nics=new_nics, extra_config={"k": "v"})
    keys = {each.key: each.value for each in vm_specs.new_machine(wanted).extraConfig}
    assert keys[extra_config.INSTANCE_UUID] == wanted.instance.uuid
    assert keys["k"] == "v"
    assert {k: v for k, v in keys.items() if "iface" in k} == {
        "nvp.iface-id.0": "p0",
        "nvp.iface-id.2": "p2",
    }


@pytest.mark.parametrize("model", list(VifModel))
def test_every_nic_model_has_its_device(model: VifModel) -> None:
    card = nics.add_nic(0, model, "00:50:56:00:00:01", STANDARD).device
    assert type(card).__name__ == f"vim.vm.device.{model.value}"
    assert isinstance(card, DEVICE.VirtualEthernetCard)
    assert (card.addressType, card.macAddress) == ("manual", "00:50:56:00:00:01")


def test_nics_have_different_keys_below_zero() -> None:
    keys = [nics.add_nic(n, VifModel.E1000, "", STANDARD).device.key for n in range(10)]
    assert len(set(keys)) == 10
    assert max(keys) < 0


def test_a_mac_that_is_not_given_is_the_servers_to_choose() -> None:
    device = nics.add_nic(0, VifModel.E1000, "", STANDARD).device
    assert isinstance(device, DEVICE.VirtualEthernetCard)
    assert (device.addressType, device.macAddress) == ("generated", None)


def test_backings() -> None:
    distributed: Any = nics.nic_backing(
        nics.NicBacking(kind="distributed", name="n", portgroup_key="pg", switch_uuid="sw")
    )
    assert (distributed.port.portgroupKey, distributed.port.switchUuid) == ("pg", "sw")
    standard: Any = nics.nic_backing(STANDARD)
    assert standard.deviceName == "VM Network"
    opaque: Any = nics.nic_backing(nics.NicBacking(kind="opaque", name="n", portgroup_key="id"))
    assert opaque.opaqueNetworkId == "id"


def root(**changes: Any) -> disks.RootDisk:
    given: dict[str, Any] = {
        "path": DatastorePath("ds", "u/u.vmdk"),
        "capacity_bytes": 1024**3,
        "adapter": AdapterType.LSI_LOGIC,
    }
    return disks.RootDisk(**{**given, **changes})


def changes(disk: disks.RootDisk) -> list[Any]:
    return list(media.attach(media.NewMedia(root=disk), {}).deviceChange)


@pytest.mark.parametrize(
    ("adapter", "controller"),
    [
        (AdapterType.LSI_LOGIC, DEVICE.VirtualLsiLogicController),
        (AdapterType.LSI_LOGIC_SAS, DEVICE.VirtualLsiLogicSASController),
        (AdapterType.BUS_LOGIC, DEVICE.VirtualBusLogicController),
        (AdapterType.PARA_VIRTUAL, DEVICE.ParaVirtualSCSIController),
    ],
)
def test_a_scsi_disk_brings_its_controller(adapter: AdapterType, controller: Any) -> None:
    first, second = changes(root(adapter=adapter))
    assert type(first.device) is controller
    assert second.device.controllerKey == first.device.key
    assert second.device.capacityInKB == 1024 * 1024


def test_an_ide_disk_goes_to_the_controller_that_every_vm_has() -> None:
    (change,) = changes(root(adapter=AdapterType.IDE))
    assert change.device.controllerKey == 200


def test_a_linked_clone_is_created_with_its_parent() -> None:
    parent = DatastorePath("ds", "cache/i/i.vmdk")
    change = changes(root(parent=parent))[-1]
    assert change.fileOperation == "create"
    assert change.device.backing.parent.fileName == "[ds] cache/i/i.vmdk"


def test_a_disk_that_is_there_is_attached_and_not_created() -> None:
    change = changes(root())[-1]
    assert change.fileOperation is None
    assert change.device.backing.parent is None


@pytest.mark.parametrize(
    ("disk_type", "thin", "eager"),
    [
        (DiskType.THIN, True, None),
        (DiskType.SPARSE, True, None),
        (DiskType.STREAM_OPTIMIZED, True, None),
        (DiskType.PREALLOCATED, None, None),
        (DiskType.THICK, None, None),
        (DiskType.EAGER_ZEROED_THICK, None, True),
    ],
)
def test_provisioning(disk_type: DiskType, thin: bool | None, eager: bool | None) -> None:
    backing = changes(root(disk_type=disk_type))[-1].device.backing
    assert (backing.thinProvisioned, backing.eagerlyScrub) == (thin, eager)


@pytest.mark.parametrize("disk_type", list(DiskType))
def test_every_disk_type_has_a_provisioning(disk_type: DiskType) -> None:
    assert disks.provisioning(disk_type) in vim.VirtualDiskManager.VirtualDiskType.values


def test_capacities_are_rounded_up_to_whole_kib() -> None:
    change = changes(root(capacity_bytes=1025))[-1]
    assert change.device.capacityInKB == 2
