"""The configuration of a virtual machine apart from its devices."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from uuid import UUID

from pyVmomi import vim, vmodl

from vmops.lab.inventory.argument_faults import invalid_argument
from vmops.lab.machine.allocations import follow_hardware, unlimited
from vmops.lab.machine.devices.defaults import default_devices
from vmops.lab.machine.devices.slots import with_children
from vmops.lab.machine.guest_descriptors import MAX_CPUS, MAX_MEMORY_MIB, full_name, guest_ids
from vmops.lab.machine.hot_add_rules import check_cpus, check_memory
from vmops.lab.storage.paths import DatastorePath
from vmops.lab.storage.vmx_text import Entries

_BootableDevice = vim.vm.BootOptions.BootableDevice
HARDWARE_VERSIONS = (4, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21)
DEFAULT_VERSION = "vmx-21"
FIRMWARES = ("bios", "efi")

_COPIED = (
    "annotation",
    "alternateGuestName",
    "managedBy",
    "swapPlacement",
    "guestAutoLockEnabled",
    "maxMksConnections",
    "changeTrackingEnabled",
    "nestedHVEnabled",
    "vPMCEnabled",
    "memoryHotAddEnabled",
    "cpuHotAddEnabled",
    "cpuHotRemoveEnabled",
    "memoryReservationLockedToMax",
    "npivTemporaryDisabled",
    "latencySensitivity",
    "messageBusTunnelEnabled",
)
_MERGED = {
    "flags": "flags",
    "tools": "tools",
    "powerOpInfo": "defaultPowerOps",
    "bootOptions": "bootOptions",
    "cpuAllocation": "cpuAllocation",
    "memoryAllocation": "memoryAllocation",
}
"""Fields of a ConfigSpec merged field by field into one of vim.vm.ConfigInfo."""
_ONLY_WHEN_OFF = (
    "uuid",
    "guestId",
    "version",
    "firmware",
    "numCoresPerSocket",
    "nestedHVEnabled",
    "cpuHotAddEnabled",
    "cpuHotRemoveEnabled",
    "memoryHotAddEnabled",
)


def new_config(
    name: str, vmx: DatastorePath, *, memory_mib: int = 32, cpus: int = 1
) -> vim.vm.ConfigInfo:
    """Build the configuration a virtual machine has before anything is asked for."""
    now = datetime.now(UTC)
    return vim.vm.ConfigInfo(
        changeVersion=change_version(now),
        modified=now,
        createDate=now,
        name=name,
        guestFullName=full_name("otherGuest"),
        version=DEFAULT_VERSION,
        uuid=bios_uuid(),
        instanceUuid=instance_uuid(),
        template=False,
        guestId="otherGuest",
        alternateGuestName="",
        annotation="",
        files=files_info(vmx),
        tools=_tools(),
        flags=_flags(),
        defaultPowerOps=_power_ops(),
        hardware=vim.vm.VirtualHardware(
            numCPU=cpus,
            numCoresPerSocket=1,
            memoryMB=memory_mib,
            virtualICH7MPresent=False,
            virtualSMCPresent=False,
            device=with_children(default_devices()),
        ),
        cpuAllocation=unlimited("normal", 1000 * cpus),
        memoryAllocation=unlimited("normal", 10 * memory_mib),
        latencySensitivity=vim.LatencySensitivity(level="normal"),
        memoryHotAddEnabled=False,
        cpuHotAddEnabled=False,
        cpuHotRemoveEnabled=False,
        extraConfig=[],
        swapPlacement="inherit",
        bootOptions=_boot_options(),
        changeTrackingEnabled=False,
        firmware="bios",
        maxMksConnections=40,
        guestAutoLockEnabled=True,
        memoryReservationLockedToMax=False,
        nestedHVEnabled=False,
        vPMCEnabled=False,
    )


def _tools() -> vim.vm.ToolsConfigInfo:
    return vim.vm.ToolsConfigInfo(
        toolsVersion=0,
        afterPowerOn=True,
        afterResume=True,
        beforeGuestStandby=True,
        beforeGuestShutdown=True,
        toolsUpgradePolicy="manual",
        syncTimeWithHost=False,
    )


def _flags() -> vim.vm.FlagInfo:
    return vim.vm.FlagInfo(
        disableAcceleration=False,
        enableLogging=True,
        useToe=False,
        runWithDebugInfo=False,
        monitorType="release",
        htSharing="any",
        snapshotDisabled=False,
        snapshotLocked=False,
        diskUuidEnabled=False,
        snapshotPowerOffBehavior="powerOff",
        recordReplayEnabled=False,
    )


def _power_ops() -> vim.vm.DefaultPowerOpInfo:
    return vim.vm.DefaultPowerOpInfo(
        powerOffType="soft",
        suspendType="hard",
        resetType="soft",
        defaultPowerOffType="soft",
        defaultSuspendType="hard",
        defaultResetType="soft",
        standbyAction="checkpoint",
    )


def _boot_options() -> vim.vm.BootOptions:
    return vim.vm.BootOptions(
        bootDelay=0,
        enterBIOSSetup=False,
        efiSecureBootEnabled=False,
        bootRetryEnabled=False,
        bootRetryDelay=10000,
        networkBootProtocol="ipv4",
    )


def files_info(vmx: DatastorePath) -> vim.vm.FileInfo:
    """Build the FileInfo of a machine whose files are all beside its .vmx file."""
    folder = f"{vmx.parent}/"
    return vim.vm.FileInfo(
        vmPathName=str(vmx), snapshotDirectory=folder, suspendDirectory=folder, logDirectory=folder
    )


def change_version(moment: datetime) -> str:
    """Return the version a configuration changed at this moment has."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def bios_uuid() -> str:
    """Return a new BIOS UUID in VMware's range."""
    return str(UUID("4226" + secrets.token_hex(14)))


def instance_uuid() -> str:
    """Return a new instance UUID in VMware's range."""
    return str(UUID("5026" + secrets.token_hex(14)))


def normal_uuid(text: str, argument: str) -> str:
    """Return a UUID in lower case with dashes.

    Raises:
        vmodl.fault.InvalidArgument: it is none.
    """
    try:
        return str(UUID(text.strip()))
    except ValueError as error:
        raise invalid_argument(argument, "It is not a UUID.") from error


def apply_spec(
    config: vim.vm.ConfigInfo,
    spec: vim.vm.ConfigSpec,
    *,
    power_state: str,
    clash: Callable[[str], bool] | None = None,
) -> None:
    """Change a copy of a configuration to what a ConfigSpec asks for, devices and name aside.

    ``clash(uuid)`` says whether another machine has an instance UUID already.

    Raises:
        vmodl.fault.InvalidArgument: a value that cannot be; the fault names the field.
        vim.fault.InvalidPowerState: the machine must be off for this change.
        As `check_cpus` and `check_memory` do.
    """
    if power_state != "poweredOff":
        _refuse_unless_off(config, spec, power_state)
    _identity(config, spec, clash)
    _hardware(config, spec)
    if spec.guestId is not None:
        if spec.guestId not in guest_ids():
            raise invalid_argument("configSpec.guestId", f"'{spec.guestId}' is unknown.")
        config.guestId, config.guestFullName = spec.guestId, full_name(spec.guestId)
    if spec.version is not None:
        config.version = hardware_version(spec.version)
    if spec.firmware is not None:
        if spec.firmware not in FIRMWARES:
            raise invalid_argument("configSpec.firmware", "It is bios or efi.")
        config.firmware = spec.firmware
    for name in _COPIED:
        given = getattr(spec, name, None)
        if given is not None:
            setattr(config, name, given)
    for given_name, name in _MERGED.items():
        given = getattr(spec, given_name)
        if given is not None:
            setattr(config, name, _merged(getattr(config, name), given))
    boot = config.bootOptions
    if boot is not None and [type(entry) for entry in boot.bootOrder] == [_BootableDevice]:
        boot.bootOrder = []  # how a client asks for the default order
    config.extraConfig = merged_extra(config.extraConfig, spec.extraConfig)
    follow_hardware(config)
    now = datetime.now(UTC)
    config.modified, config.changeVersion = now, change_version(now)


def _identity(
    config: vim.vm.ConfigInfo, spec: vim.vm.ConfigSpec, clash: Callable[[str], bool] | None
) -> None:
    if spec.uuid is not None:
        config.uuid = normal_uuid(spec.uuid, "configSpec.uuid") if spec.uuid else bios_uuid()
    if spec.instanceUuid is None:
        return
    wanted = instance_uuid()
    if spec.instanceUuid:
        wanted = normal_uuid(spec.instanceUuid, "configSpec.instanceUuid")
    if clash is not None and clash(wanted):
        # The API reference: vCenter assigns another one when it finds a conflict.
        wanted = instance_uuid()
    config.instanceUuid = wanted


def _hardware(config: vim.vm.ConfigInfo, spec: vim.vm.ConfigSpec) -> None:
    hardware = config.hardware
    cpus = hardware.numCPU if spec.numCPUs is None else spec.numCPUs
    if not 1 <= cpus <= MAX_CPUS:
        raise invalid_argument("configSpec.numCPUs", f"It is 1 to {MAX_CPUS}.")
    cores = hardware.numCoresPerSocket if spec.numCoresPerSocket is None else spec.numCoresPerSocket
    if spec.numCoresPerSocket is None and cpus % (cores or 1):
        cores = 1
    if spec.numCoresPerSocket == 0:
        cores = 1  # 0 leaves the topology to the host
    if cores is None or cores < 1 or cpus % cores:
        raise invalid_argument("configSpec.numCoresPerSocket", "It does not divide numCPUs.")
    memory = hardware.memoryMB if spec.memoryMB is None else spec.memoryMB
    if memory % 4 or not 4 <= memory <= MAX_MEMORY_MIB:
        raise invalid_argument("configSpec.memoryMB", "It must be a positive multiple of 4.")
    hardware.numCPU, hardware.numCoresPerSocket, hardware.memoryMB = cpus, cores, int(memory)


def _refuse_unless_off(
    config: vim.vm.ConfigInfo, spec: vim.vm.ConfigSpec, power_state: str
) -> None:
    wrong = vim.fault.InvalidPowerState(
        requestedState="poweredOff",
        existingState=power_state,
        msg=f"The operation is not allowed in the current state ({power_state}).",
    )
    for name in _ONLY_WHEN_OFF:
        given = getattr(spec, name)
        now = getattr(config.hardware if name == "numCoresPerSocket" else config, name)
        if given is not None and given != now:
            raise wrong
    changes_cpus = spec.numCPUs not in (None, config.hardware.numCPU)
    changes_memory = spec.memoryMB not in (None, config.hardware.memoryMB)
    if (changes_cpus or changes_memory) and power_state != "poweredOn":
        raise wrong
    if changes_cpus and spec.numCPUs is not None:
        check_cpus(config, spec.numCPUs)
    if changes_memory and spec.memoryMB is not None:
        check_memory(config, spec.memoryMB)


def hardware_version(text: str) -> str:
    """Return a hardware version as the API writes it, ``vmx-08``.

    Raises:
        vmodl.fault.InvalidArgument: there is no such version.
    """
    match = re.fullmatch(r"vmx-([0-9]{1,2})", text)
    if match is None or int(match.group(1)) not in HARDWARE_VERSIONS:
        raise invalid_argument("configSpec.version", f"Hardware version '{text}' is unknown.")
    return f"vmx-{int(match.group(1)):02d}"


def merged_extra(
    old: Sequence[vim.option.OptionValue], given: Sequence[vim.option.OptionValue] | None
) -> list[vim.option.OptionValue]:
    """Merge extra configuration by key, in any case; an empty value removes its key.

    Raises:
        vmodl.fault.InvalidArgument: a key is empty or cannot stand in a .vmx file.
    """
    merged = Entries({option.key: str(option.value) for option in old})
    for option in given or ():
        if not option.key or re.search(r'[\x00-\x20="#]', option.key):
            raise invalid_argument("configSpec.extraConfig", f"The key {option.key!a} cannot be.")
        if option.value in (None, ""):
            merged.pop(option.key, None)
        else:
            merged[option.key] = _text(option.value)
    return [vim.option.OptionValue(key=key, value=value) for key, value in merged.items()]


def _text(value: object) -> str:
    return str(value).upper() if isinstance(value, bool) else str(value)


def _merged(old: object, given: vmodl.DynamicData) -> object:
    for prop in type(given)._GetPropertyList():
        value = getattr(given, prop.name)
        if value not in (None, []):
            setattr(old, prop.name, value)
    return old
