"""The guest operating systems a virtual machine can be for."""

from __future__ import annotations

import re
from functools import cache

from pyVmomi import vim

from vmops.lab.inventory.wire_defaults import filled
from vmops.lab.machine.devices.nics import CARD_MODELS
from vmops.lab.machine.devices.slots import SCSI_MODELS

_device = vim.vm.device
MAX_CPUS = 768  # vSphere 8 configuration maximums
MAX_MEMORY_MIB = 24 * 1024 * 1024

# Names people know; for the others the identifier is taken apart.
_FULL_NAMES = {
    "otherGuest": "Other (32-bit)",
    "otherGuest64": "Other (64-bit)",
    "otherLinuxGuest": "Other Linux (32-bit)",
    "otherLinux64Guest": "Other Linux (64-bit)",
    "other5xLinux64Guest": "Other 5.x or later Linux (64-bit)",
    "other6xLinux64Guest": "Other 6.x or later Linux (64-bit)",
    "ubuntuGuest": "Ubuntu Linux (32-bit)",
    "ubuntu64Guest": "Ubuntu Linux (64-bit)",
    "debian12_64Guest": "Debian GNU/Linux 12 (64-bit)",
    "debian11_64Guest": "Debian GNU/Linux 11 (64-bit)",
    "rhel9_64Guest": "Red Hat Enterprise Linux 9 (64-bit)",
    "rhel8_64Guest": "Red Hat Enterprise Linux 8 (64-bit)",
    "centos64Guest": "CentOS 4/5 or later (64-bit)",
    "sles15_64Guest": "SUSE Linux Enterprise 15 (64-bit)",
    "vmwarePhoton64Guest": "VMware Photon OS (64-bit)",
    "windows9Server64Guest": "Microsoft Windows Server 2016 (64-bit)",
    "windows2019srv_64Guest": "Microsoft Windows Server 2019 (64-bit)",
    "windows2019srvNext_64Guest": "Microsoft Windows Server 2022 (64-bit)",
    "windows9_64Guest": "Microsoft Windows 10 (64-bit)",
    "vmkernel7Guest": "VMware ESXi 7.0 or later",
    "vmkernel8Guest": "VMware ESXi 8.0 or later",
}


@cache
def guest_ids() -> tuple[str, ...]:
    """Return every known identifier, ``otherLinux64Guest`` and so on."""
    identifier = vim.vm.GuestOsDescriptor.GuestOsIdentifier
    return tuple(str(value) for value in identifier.values if value != "unknown")


def full_name(guest_id: str) -> str:
    """Return the name of a guest operating system as a list shows it."""
    if guest_id in _FULL_NAMES:
        return _FULL_NAMES[guest_id]
    is_64 = "64" in guest_id
    words = re.sub(r"_?64|Guest|_", " ", guest_id).strip()
    words = re.sub(r"(?<=[a-z])(?=[A-Z0-9])", " ", words)
    return f"{words[:1].upper()}{words[1:]} ({'64' if is_64 else '32'}-bit)"


@cache
def vmx_names() -> dict[str, str]:
    """Map identifiers to what a .vmx file calls them: ``otherlinux-64``."""
    return {guest_id: _vmx_name(guest_id) for guest_id in guest_ids()}


def _vmx_name(guest_id: str) -> str:
    name = guest_id.removesuffix("Guest") if guest_id != "otherGuest64" else "other64"
    return re.sub(r"_?64$", "-64", name).lower()


@cache
def id_of_vmx_name(name: str) -> str | None:
    """Return the identifier for a .vmx file's name of it, None if there is none."""
    if name in guest_ids():
        return name
    wanted = name.lower()
    return next((each for each, vmx in vmx_names().items() if vmx == wanted), None)


def is_64_bit(guest_id: str) -> bool:
    """Say whether the guest needs a 64-bit processor."""
    return "64" in guest_id or guest_id.startswith("vmkernel")


def _family(guest_id: str) -> str:
    if guest_id.startswith("win"):
        return "windowsGuest"
    if guest_id.startswith(("darwin",)):
        return "darwinGuestFamily"
    if guest_id.startswith(("solaris",)):
        return "solarisGuest"
    if guest_id.startswith(("other", "freebsd", "os2", "dos", "netware")) and (
        "Linux" not in guest_id
    ):
        return "otherGuestFamily"
    return "linuxGuest"


@cache
def descriptor(guest_id: str) -> vim.vm.GuestOsDescriptor:
    """Build the GuestOsDescriptor of one operating system."""
    modern = is_64_bit(guest_id)
    controllers = [*SCSI_MODELS.values(), _device.VirtualIDEController]
    controllers += [_device.VirtualAHCIController, _device.VirtualNVMEController]
    return filled(
        vim.vm.GuestOsDescriptor,
        id=guest_id,
        family=_family(guest_id),
        fullName=full_name(guest_id),
        supportedMaxCPUs=MAX_CPUS,
        numSupportedPhysicalSockets=MAX_CPUS,
        numSupportedCoresPerSocket=MAX_CPUS,
        supportedMinMemMB=32,
        supportedMaxMemMB=MAX_MEMORY_MIB,
        recommendedMemMB=1024,
        recommendedColorDepth=32,
        supportedDiskControllerList=controllers,
        recommendedSCSIController=SCSI_MODELS["pvscsi" if modern else "lsilogic"],
        recommendedDiskController=SCSI_MODELS["pvscsi" if modern else "lsilogic"],
        supportedNumDisks=60,
        recommendedDiskSizeMB=8192,
        recommendedCdromController=_device.VirtualIDEController,
        supportedEthernetCard=list(CARD_MODELS.values()),
        recommendedEthernetCard=CARD_MODELS["vmxnet3" if modern else "e1000"],
        supportedFirmware=["bios", "efi"],
        recommendedFirmware="bios",
        supportLevel="supported",
        supportedForCreate=True,
        vRAMSizeInKB=vim.option.IntOption(
            valueIsReadonly=False, min=2048, max=262144, defaultValue=4096
        ),
        supportsPvscsiControllerForBoot=True,
        diskUuidEnabled=True,
    )
