"""The names of all properties of flavors and images that are read; others say nothing to vSphere.

What each means is on the page docs/properties.md.
"""

from __future__ import annotations

from vmops.model.hardware import ImageHardware
from vmops.model.topology import CpuTopology

_ALLOCATED = ("cpu", "memory", "disk_io", "vif")
_ALLOCATION = ("reservation", "limit", "shares_level", "shares_share")
_TOPOLOGY = ("threads", *CpuTopology.WORDS)

FLAVOR_PROPERTIES: tuple[str, ...] = (
    *(f"quota:{resource}_{value}" for resource in _ALLOCATED for value in _ALLOCATION),
    *(f"hw:cpu_{word}" for word in _TOPOLOGY),
    "hw:tpm_model",
    "hw:tpm_version",
    "hw_video:ram_max_mb",
    "os:secure_boot",
    "vmware:hw_version",
    "vmware:hv_enabled",
    "vmware:storage_policy",
)
"""Nova's extra specs."""

IMAGE_PROPERTIES: tuple[str, ...] = (
    "vmware_ostype",
    "os_distro",
    "vmware_disktype",
    "hw_disk_type",
    "vmware_adaptertype",
    "hw_disk_bus",
    "hw_scsi_model",
    "hw_vif_model",
    "hw_firmware_type",
    *ImageHardware.NAMES,
    "vmware_linked_clone",
    "img_linked_clone",
    "img_config_drive",
)
"""Glance's: the older names and the present ones."""
