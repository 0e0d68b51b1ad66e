"""Image properties: Glance's words, old and new."""

from typing import Any

import pytest

from vmops.errors import ImageNotAcceptable, UnsupportedDevice
from vmops.model.image import AdapterType, DiskType, Firmware, ImageProperties, VifModel


@pytest.mark.parametrize(
    ("given", "field", "value"),
    [
        ({}, "guest_id", "otherGuest"),
        ({}, "disk_type", DiskType.PREALLOCATED),
        ({}, "adapter_type", AdapterType.LSI_LOGIC),
        ({}, "vif_model", VifModel.E1000),
        ({"vmware_ostype": "debian12_64Guest"}, "guest_id", "debian12_64Guest"),
        ({"os_distro": "debian12_64Guest"}, "guest_id", "debian12_64Guest"),
        ({"os_distro": "debian"}, "guest_id", "otherGuest"),
        ({"os_distro": "debian", "vmware_ostype": "some"}, "guest_id", "some"),
        ({"vmware_disktype": "streamOptimized"}, "disk_type", DiskType.STREAM_OPTIMIZED),
        ({"hw_disk_type": "sparse"}, "disk_type", DiskType.SPARSE),
        ({"vmware_adaptertype": "paraVirtual"}, "adapter_type", AdapterType.PARA_VIRTUAL),
        ({"vmware_adaptertype": "LSILOGICSAS"}, "adapter_type", AdapterType.LSI_LOGIC_SAS),
        ({"hw_disk_bus": "ide"}, "adapter_type", AdapterType.IDE),
        ({"hw_disk_bus": "scsi", "hw_scsi_model": "vmpvscsi"}, "adapter_type",
         AdapterType.PARA_VIRTUAL),
        ({"hw_vif_model": "vmxnet3"}, "vif_model", VifModel.VMXNET3),
        ({"hw_vif_model": "VirtualE1000e"}, "vif_model", VifModel.E1000E),
        ({"hw_firmware_type": "uefi"}, "firmware", Firmware.EFI),
        ({"vmware_linked_clone": "false"}, "linked_clone", False),
        ({"img_linked_clone": True}, "linked_clone", True),
        ({"unknown": "x"}, "linked_clone", None),
    ],
)  # fmt: skip
def test_properties(given: dict[str, Any], field: str, value: object) -> None:
    assert getattr(ImageProperties.from_mapping(given), field) == value


@pytest.mark.parametrize(
    ("given", "error", "text"),
    [
        ({"vmware_disktype": "qcow2"}, ImageNotAcceptable, "sparse"),
        ({"vmware_adaptertype": "virtio"}, ImageNotAcceptable, "paraVirtual"),
        ({"hw_vif_model": "virtio"}, UnsupportedDevice, "vmxnet3"),
        ({"hw_scsi_model": "virtio-scsi"}, ImageNotAcceptable, "vmpvscsi"),
        ({"vmware_linked_clone": "maybe"}, ImageNotAcceptable, "true or false"),
        ({"hw_firmware_type": "coreboot"}, ImageNotAcceptable, "uefi"),
    ],
)
def test_a_value_that_means_nothing_is_refused_naming_what_does(
    given: dict[str, str], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        ImageProperties.from_mapping(given)
