"""What flavor and image make of a machine together, and what they cannot."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import pytest

from vmops.errors import ImageNotAcceptable, InstanceUnacceptable
from vmops.model.hardware import (
    Firmware,
    FlavorHardware,
    Hardware,
    ImageHardware,
    SecureBoot,
    hardware_version,
    machine_hardware,
)
from vmops.model.image import ImageProperties
from vmops.model.topology import CpuTopology, cores_per_socket

BOOTS = (None, SecureBoot.REQUIRED, SecureBoot.OPTIONAL, SecureBoot.DISABLED)


def together(specs: Mapping[str, str], image: Mapping[str, str], firmware: Firmware) -> Hardware:
    return machine_hardware(
        FlavorHardware.from_extra_specs(specs),
        ImageHardware.from_properties(image),
        firmware,
        "otherGuest",
    )


def test_nothing_asked_for_is_the_servers_own() -> None:
    assert together({}, {}, Firmware.BIOS) == Hardware()


@pytest.mark.parametrize(
    ("text", "version"), [("", ""), ("vmx-9", "vmx-09"), ("vmx-09", "vmx-09"), ("vmx-21", "vmx-21")]
)
def test_versions_are_written_as_the_server_writes_them(text: str, version: str) -> None:
    assert hardware_version(text) == version


@pytest.mark.parametrize("firmware", Firmware)
@pytest.mark.parametrize(("flavor", "image"), list(itertools.product(BOOTS, BOOTS)))
def test_secure_boot_for_every_pair_of_wishes(
    flavor: SecureBoot | None, image: SecureBoot | None, firmware: Firmware
) -> None:
    wanted = {flavor, image}
    specs = {"os:secure_boot": flavor.value} if flavor else {}
    properties = {"os_secure_boot": image.value} if image else {}
    required = SecureBoot.REQUIRED in wanted
    if required and (SecureBoot.DISABLED in wanted or firmware is Firmware.BIOS):
        with pytest.raises(InstanceUnacceptable):
            together(specs, properties, firmware)
        return
    optional = SecureBoot.OPTIONAL in wanted and SecureBoot.DISABLED not in wanted
    is_secure = together(specs, properties, firmware).secure_boot
    assert is_secure is (required or (optional and firmware is Firmware.EFI))


def test_a_tpm_of_any_model_is_a_tpm() -> None:
    for image in ({"hw_tpm_model": "tpm-tis"}, {"hw_tpm_version": "2.0"}):
        assert together({}, image, Firmware.EFI).tpm
    assert together({"hw:tpm_model": "tpm-crb"}, {}, Firmware.EFI).tpm
    with pytest.raises(ImageNotAcceptable, match=r"1\.2"):
        ImageHardware.from_properties({"hw_tpm_version": "1.2"})


@pytest.mark.parametrize(
    ("properties", "says"),
    [
        ({"hw_video_ram": "much"}, "hw_video_ram"),
        ({"hw_cpu_threads": "2"}, "threads"),
        ({"hw_cpu_cores": "-1"}, "hw_cpu_cores"),
        ({"os_secure_boot": "yes"}, "required, optional, disabled"),
    ],
)
def test_an_image_that_means_nothing_is_refused(properties: dict[str, str], says: str) -> None:
    with pytest.raises(ImageNotAcceptable, match=says):
        ImageProperties.from_mapping(properties)


def test_properties_are_the_same_after_a_round() -> None:
    given = ImageProperties.from_mapping(
        {
            "vmware_ostype": "debian12_64Guest",
            "vmware_disktype": "sparse",
            "hw_firmware_type": "uefi",
            "img_linked_clone": "no",
            "os_secure_boot": "required",
            "hw_tpm_model": "tpm-crb",
            "hw_video_ram": "16",
            "hw_cpu_max_cores": "4",
        }
    )
    assert ImageProperties.from_mapping(given.to_mapping()) == given


def test_what_is_given_under_its_present_name_overrides_the_older_one() -> None:
    stored = ImageProperties.from_mapping(
        {"vmware_ostype": "a", "vmware_adaptertype": "ide", "vmware_linked_clone": "true"}
    )
    given = {"os_distro": "otherGuest64", "hw_scsi_model": "vmpvscsi", "img_linked_clone": "false"}
    found = stored.overridden_by(given)
    assert (found.guest_id, found.adapter_type) == ("otherGuest64", "paraVirtual")
    assert found.linked_clone is False
    assert stored.overridden_by({"os_distro": "debian"}).guest_id == "a"


@pytest.mark.parametrize("vcpus", [1, 2, 6, 8])
def test_limits_alone_are_met_with_as_many_sockets_as_they_allow(vcpus: int) -> None:
    for most_sockets, most_cores in itertools.product((0, 1, 2, 3, 8), repeat=2):
        limits = CpuTopology(max_sockets=most_sockets, max_cores=most_cores)
        allowed = [
            cores
            for cores in range(1, vcpus + 1)
            if vcpus % cores == 0
            and cores <= (most_cores or vcpus)
            and vcpus // cores <= (most_sockets or vcpus)
        ]
        if not allowed:
            with pytest.raises(InstanceUnacceptable):
                cores_per_socket(vcpus, limits, CpuTopology())
        elif limits == CpuTopology():
            assert cores_per_socket(vcpus, limits, CpuTopology()) == 0
        else:
            assert cores_per_socket(vcpus, limits, CpuTopology()) == min(allowed)


def test_an_images_wish_counts_before_the_flavors() -> None:
    assert cores_per_socket(8, CpuTopology(cores=2), CpuTopology(sockets=1)) == 8
    assert cores_per_socket(8, CpuTopology(cores=2), CpuTopology()) == 2


def test_a_flavors_wish_beyond_the_images_limits_is_dropped() -> None:
    assert cores_per_socket(8, CpuTopology(cores=8), CpuTopology(max_cores=4)) == 1
