"""The .vmx file: a virtual machine's configuration on its datastore, written and read back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from uuid import UUID, uuid5

from pyVmomi import vim

from vmops.lab.machine.allocations import follow_hardware, read_allocation, written_allocation
from vmops.lab.machine.config import (
    FIRMWARES,
    HARDWARE_VERSIONS,
    bios_uuid,
    instance_uuid,
    new_config,
)
from vmops.lab.machine.devices.slots import with_children
from vmops.lab.machine.guest_descriptors import full_name, id_of_vmx_name, vmx_names
from vmops.lab.machine.vmx_devices import device_entries, devices_of, place_name
from vmops.lab.storage.errors import InvalidDisk
from vmops.lab.storage.paths import DatastorePath
from vmops.lab.storage.uuids import dashed_uuid, spaced_uuid
from vmops.lab.storage.vmx_text import LARGEST, Entries, read_text, render_text
from vmops.lab.storage.volumes import Volumes
from vmops.lab.whole_files import write_whole

_boot = vim.vm.BootOptions
_FLAGS = {
    "mem.hotadd": "memoryHotAddEnabled",
    "vcpu.hotadd": "cpuHotAddEnabled",
    "vcpu.hotremove": "cpuHotRemoveEnabled",
    "vhv.enable": "nestedHVEnabled",
    "vpmc.enable": "vPMCEnabled",
    "ctkEnabled": "changeTrackingEnabled",
    "sched.mem.pin": "memoryReservationLockedToMax",
}
_TOOL_HOOKS = {
    "toolScripts.afterPowerOn": "afterPowerOn",
    "toolScripts.afterResume": "afterResume",
    "toolScripts.beforeSuspend": "beforeGuestStandby",
    "toolScripts.beforePowerOff": "beforeGuestShutdown",
    "tools.syncTime": "syncTimeWithHost",
}
_POWER_OPS = {
    "powerType.powerOff": "powerOffType",
    "powerType.suspend": "suspendType",
    "powerType.reset": "resetType",
}
_IGNORED = (".encoding", "config.version", "guestOS.detailed.data")
LOCATION = "uuid.location"
"""Where a machine's files are, as a UUID. In the extra configuration it stands as long as they are
elsewhere than the file says; see `moved_or_copied`."""
_LOCATIONS = UUID("5f0c9a57-6a1e-4c55-8c0f-3a2b7b1f6d90")


def without_location(options: Sequence[vim.option.OptionValue]) -> list[vim.option.OptionValue]:
    """Return extra configuration for files that are where they are meant to be."""
    return [option for option in options if option.key.lower() != LOCATION]


def write_vmx(volumes: Volumes, vmx: DatastorePath, config: vim.vm.ConfigInfo) -> None:
    """Write a configuration to its .vmx file, as a whole or not at all. Blocking.

    Raises:
        OSError: the file cannot be written.
    """
    file = volumes.resolve(vmx)
    write_whole(file, render_text(entries_of(config, vmx.parent)))


def read_vmx(volumes: Volumes, vmx: DatastorePath) -> vim.vm.ConfigInfo:
    """Read the configuration a .vmx file holds. Blocking.

    Disks come without what their own files say; see `virtual_machine_register`.

    Raises:
        OSError: the file cannot be read.
        InvalidDisk: it is not a .vmx file.
        InvalidDatastorePath: it names a file outside of the datastores.
    """
    file: Path = volumes.resolve(vmx)
    with file.open("rb") as stream:
        content = stream.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise InvalidDisk(vmx, "it is too large for a .vmx file")
    entries = read_text(content.decode("utf-8", errors="replace"))
    if "config.version" not in entries:
        raise InvalidDisk(vmx, "it is not a .vmx file")
    return config_of(entries, vmx)


def entries_of(config: vim.vm.ConfigInfo, folder: DatastorePath) -> Entries:
    """Return the entries of a configuration."""
    entries = _hardware_entries(config, folder)
    entries.update({option.key: str(option.value) for option in config.extraConfig})
    return entries


def without_conflicts(
    config: vim.vm.ConfigInfo, folder: DatastorePath
) -> list[vim.option.OptionValue]:
    """Return the extra configuration without keys that stand for something else in the file.

    The API reference: such keys "are silently ignored".
    """
    taken = _hardware_entries(config, folder)
    return [
        option
        for option in config.extraConfig
        if (option.key not in taken or option.key.lower() == LOCATION)
        and option.key not in _IGNORED
    ]


def _hardware_entries(config: vim.vm.ConfigInfo, folder: DatastorePath) -> Entries:
    hardware = config.hardware
    entries = Entries(
        {
            ".encoding": "UTF-8",
            "config.version": "8",
            "virtualHW.version": str(int(config.version.removeprefix("vmx-"))),
            "displayName": config.name,
            "guestOS": vmx_names().get(config.guestId, config.guestId),
            "memSize": str(hardware.memoryMB),
            "numvcpus": str(hardware.numCPU),
            "cpuid.coresPerSocket": str(hardware.numCoresPerSocket),
            "uuid.bios": spaced_uuid(config.uuid),
            LOCATION: _location(folder),
            "vc.uuid": spaced_uuid(config.instanceUuid or ""),
            "firmware": config.firmware or "bios",
            "annotation": config.annotation or "",
            "disk.EnableUUID": _bool(config.flags.diskUuidEnabled),
            "swapPlacement": config.swapPlacement or "inherit",
        }
    )
    if config.alternateGuestName:
        entries["guestOSAltName"] = config.alternateGuestName
    for key, name in _FLAGS.items():
        entries[key] = _bool(getattr(config, name))
    for key, name in _TOOL_HOOKS.items():
        entries[key] = _bool(getattr(config.tools, name))
    for key, name in _POWER_OPS.items():
        entries[key] = getattr(config.defaultPowerOps, name) or "soft"
    if config.managedBy is not None:
        entries["managedBy.extensionKey"] = config.managedBy.extensionKey
        entries["managedBy.type"] = config.managedBy.type
    for prefix, allocation in (
        ("sched.cpu", config.cpuAllocation),
        ("sched.mem", config.memoryAllocation),
    ):
        if allocation is not None:
            for key, value in written_allocation(allocation, allocation.shares):
                entries[f"{prefix}.{key}"] = value
    _write_boot(entries, config)
    entries.update(device_entries(hardware.device, folder))
    return entries


def config_of(entries: Entries, vmx: DatastorePath) -> vim.vm.ConfigInfo:
    """Build the configuration that entries describe; those not understood are extra ones."""
    for key in _IGNORED:
        entries.take(key)
    name = entries.take("displayName") or vmx.name.rpartition(".")[0]
    config = new_config(
        name,
        vmx,
        memory_mib=max(4, entries.take_int("memSize") or 32),
        cpus=max(1, entries.take_int("numvcpus") or 1),
    )
    version = entries.take_int("virtualHW.version")
    if version in HARDWARE_VERSIONS:
        config.version = f"vmx-{version:02d}"
    guest = id_of_vmx_name(entries.take("guestOS") or "") or "otherGuest"
    config.guestId, config.guestFullName = guest, full_name(guest)
    config.hardware.numCoresPerSocket = max(1, entries.take_int("cpuid.coresPerSocket") or 1)
    config.uuid = (dashed_uuid(entries.take("uuid.bios")) or bios_uuid()).lower()
    config.instanceUuid = (dashed_uuid(entries.take("vc.uuid")) or instance_uuid()).lower()
    firmware = (entries.take("firmware") or "bios").lower()
    config.firmware = firmware if firmware in FIRMWARES else "bios"
    config.annotation = entries.take("annotation") or ""
    config.alternateGuestName = entries.take("guestOSAltName") or ""
    config.flags.diskUuidEnabled = entries.take_bool("disk.EnableUUID")
    config.swapPlacement = entries.take("swapPlacement") or "inherit"
    for key, field in _FLAGS.items():
        setattr(config, field, entries.take_bool(key))
    for key, field in _TOOL_HOOKS.items():
        setattr(config.tools, field, entries.take_bool(key, getattr(config.tools, field)))
    for key, field in _POWER_OPS.items():
        setattr(config.defaultPowerOps, field, entries.take(key) or "soft")
    extension, kind = entries.take("managedBy.extensionKey"), entries.take("managedBy.type")
    if extension and kind:
        config.managedBy = vim.ext.ManagedByInfo(extensionKey=extension, type=kind)
    read_allocation(entries, "sched.cpu", config.cpuAllocation)
    read_allocation(entries, "sched.mem", config.memoryAllocation)
    follow_hardware(config)
    boot = entries.take_prefixed("bios.") | entries.take_prefixed("uefi.")
    config.hardware.device = with_children(devices_of(entries, vmx.parent))
    _read_boot(boot, config, entries)
    if entries.get(LOCATION) == _location(vmx.parent):
        entries.take(LOCATION)
    config.extraConfig = [
        vim.option.OptionValue(key=key, value=value) for key, value in entries.items()
    ]
    return config


def _location(folder: DatastorePath) -> str:
    return spaced_uuid(str(uuid5(_LOCATIONS, str(folder))))


def _bool(value: object) -> str:
    return "TRUE" if value else "FALSE"


def _write_boot(entries: Entries, config: vim.vm.ConfigInfo) -> None:
    options = config.bootOptions or _boot()
    entries["bios.bootDelay"] = str(options.bootDelay or 0)
    entries["bios.forceSetupOnce"] = _bool(options.enterBIOSSetup)
    entries["uefi.secureBoot.enabled"] = _bool(options.efiSecureBootEnabled)
    names = {each.key: place_name(each, config.hardware.device) for each in config.hardware.device}
    order = []
    for entry in options.bootOrder or ():
        is_cdrom = isinstance(entry, _boot.BootableCdromDevice)
        name = "cdrom" if is_cdrom else names.get(getattr(entry, "deviceKey", 0))
        if name is not None:
            order.append(name)
    if order:
        entries["bios.bootOrder"] = ",".join(order)


def _read_boot(given: dict[str, str], config: vim.vm.ConfigInfo, entries: Entries) -> None:
    boot = Entries(given)
    options = config.bootOptions = config.bootOptions or _boot()
    options.bootDelay = max(0, boot.take_int("bootDelay") or 0)
    options.enterBIOSSetup = boot.take_bool("forceSetupOnce")
    options.efiSecureBootEnabled = boot.take_bool("secureBoot.enabled")
    devices = config.hardware.device
    keys = {place_name(each, devices): each for each in devices}
    for word in (boot.take("bootOrder") or "").split(","):
        device = keys.get(word.strip())
        if word.strip() == "cdrom":
            options.bootOrder.append(_boot.BootableCdromDevice())
        elif isinstance(device, vim.vm.device.VirtualDisk):
            options.bootOrder.append(_boot.BootableDiskDevice(deviceKey=device.key))
        elif isinstance(device, vim.vm.device.VirtualEthernetCard):
            options.bootOrder.append(_boot.BootableEthernetDevice(deviceKey=device.key))
    entries.update({f"bios.{key}": value for key, value in boot.items()})
