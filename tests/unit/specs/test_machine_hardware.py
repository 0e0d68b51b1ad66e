"""The parts of a new machine's spec that flavor and image wish for."""

from __future__ import annotations

from typing import Any

import pytest
from pyVmomi import vim

from tests.builders import an_instance
from vmops.model.datastore_path import DatastorePath
from vmops.model.hardware import Firmware, Hardware
from vmops.model.image import AdapterType, VifModel
from vmops.model.instance import Flavor, Requester
from vmops.model.size import Allocation, SharesLevel
from vmops.specs import disks, media, nics
from vmops.specs import virtual_machine as vm_specs
from vmops.specs.annotation import annotation
from vmops.specs.places import Places

ALLOCATION = Allocation(reservation=5, limit=9, level=SharesLevel.CUSTOM, shares=70)


def spec_of(**changes: Any) -> Any:
    given: dict[str, Any] = {
        "instance": an_instance(),
        "vmx": DatastorePath("ds", "u/u.vmx"),
        "guest_id": "otherGuest",
    }
    return vm_specs.new_machine(vm_specs.NewMachine(**{**given, **changes}))


def devices(spec: Any, kind: Any) -> list[Any]:
    return [c.device for c in spec.deviceChange if isinstance(c.device, kind)]


def test_a_machine_without_wishes_leaves_all_to_the_server() -> None:
    spec = spec_of()
    unset = (
        spec.version,
        spec.firmware,
        spec.bootOptions,
        spec.nestedHVEnabled,
        spec.annotation,
        spec.managedBy,
    )
    assert unset == (None,) * 6
    assert not spec.vmProfile
    assert not devices(spec, vim.vm.device.VirtualTPM)
    assert not devices(spec, vim.vm.device.VirtualVideoCard)


def test_a_machine_has_what_its_hardware_says() -> None:
    spec = spec_of(
        hardware=Hardware(
            version="vmx-19",
            firmware=Firmware.EFI,
            secure_boot=True,
            tpm=True,
            video_ram_kib=4096,
            nested_virtualization=True,
        )
    )
    assert (spec.version, spec.firmware, spec.nestedHVEnabled) == ("vmx-19", "efi", True)
    assert spec.bootOptions.efiSecureBootEnabled is True
    (tpm,) = devices(spec, vim.vm.device.VirtualTPM)
    (card,) = devices(spec, vim.vm.device.VirtualVideoCard)
    assert card.videoRamSizeInKB == 4096
    assert len({tpm.key, card.key, nics.FIRST_NIC_KEY, -200}) == 4


def test_a_machine_names_its_manager_and_its_policy() -> None:
    spec = spec_of(managed_by="org.example", storage_policy="p-1")
    assert (spec.managedBy.extensionKey, spec.managedBy.type) == ("org.example", "instance")
    assert [profile.profileId for profile in spec.vmProfile] == ["p-1"]


@pytest.mark.parametrize("allocation", [None, ALLOCATION])
def test_a_nic_has_bandwidth_allocated_only_if_asked(allocation: Allocation | None) -> None:
    backing = nics.NicBacking(kind="standard", name="n")
    card: Any = nics.add_nic(0, VifModel.VMXNET3, "", backing, allocation).device
    found = card.resourceAllocation
    if allocation is None:
        assert found is None
    else:
        assert (found.reservation, found.limit) == (5, 9)
        assert (found.share.level, found.share.shares) == ("custom", 70)


@pytest.mark.parametrize("allocation", [None, ALLOCATION])
def test_a_root_disk_has_operations_allocated_only_if_asked(allocation: Allocation | None) -> None:
    disk = disks.RootDisk(
        path=DatastorePath("ds", "u/u.vmdk"),
        capacity_bytes=1024,
        adapter=AdapterType.IDE,
        io=allocation,
    )
    device: Any = disks.root_disk(disk, Places().take(AdapterType.IDE)).device
    if allocation is None:
        assert device.storageIOAllocation is None
    else:
        found = device.storageIOAllocation
        assert (found.reservation, found.limit, found.shares.shares) == (5, 9, 70)


def test_every_new_disk_gets_the_policy_and_no_drive_or_controller() -> None:
    folder = DatastorePath("ds", "u")
    spec = media.attach(
        media.NewMedia(
            root=disks.RootDisk(
                path=folder.joined("u.vmdk"), capacity_bytes=1024, adapter=AdapterType.LSI_LOGIC
            ),
            extra=(
                disks.ExtraDisk(
                    path=folder.joined("e.vmdk"), capacity_bytes=1024, adapter=AdapterType.LSI_LOGIC
                ),
            ),
            cdroms=(folder.joined("c.iso"),),
            storage_policy="p-1",
        ),
        {},
    )
    with_policy = [type(c.device).__name__ for c in spec.deviceChange if c.profile]
    assert with_policy == ["vim.vm.device.VirtualDisk"] * 2


def test_the_notes_have_one_fact_in_a_line() -> None:
    requester = Requester(user_name="al\nice", project_id="p")
    notes = annotation(an_instance(name="vmops-test-x"), "i-1", requester, "vmops 1")
    facts = dict(line.rsplit(":", 1) for line in notes.splitlines())
    assert (facts["name"], facts["username"], facts["projectid"]) == ("vmops-test-x", "al ice", "p")
    assert (facts["imageid"], facts["package"], facts["userid"]) == ("i-1", "vmops 1", "")
    other = annotation(
        an_instance(), "", requester, "vmops 1", of=Flavor(name="big", memory_mib=8192)
    )
    assert "flavor:name:big\n" in other
    assert "flavor:memory_mb:8192\n" in other
