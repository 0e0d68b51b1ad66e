"""The spec of a new virtual machine, built by one small configurator per subject."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from pyVmomi import vim

from vmops.model import extra_config
from vmops.model.datastore_path import DatastorePath
from vmops.model.entity_name import escaped
from vmops.model.hardware import Firmware, Hardware
from vmops.model.image import AdapterType, VifModel
from vmops.model.instance import Instance
from vmops.model.size import Allocation, Size
from vmops.specs import disks, nics
from vmops.specs.extra_config import option_values
from vmops.specs.size import set_size

# Temporary keys; see `vmops.specs.nics.FIRST_NIC_KEY`.
TPM_KEY = -400
VIDEO_CARD_KEY = -401
MANAGED_TYPE = "instance"
"""What a machine is to the extension that manages it; the word is that of Nova's driver."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewNic:
    """A NIC of a new VM; ``interface_id`` is the network service's name for it.

    ``allocation`` None leaves its bandwidth to the server.
    """

    backing: nics.NicBacking
    model: VifModel
    mac_address: str = ""
    interface_id: str = ""
    allocation: Allocation | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewMachine:
    """All that a new VM's spec is made of.

    ``size`` None is the flavor's; ``managed_by`` is the key of the extension that is to manage it,
    ``storage_policy`` the id of the policy of its files. With ``serial_service_uri`` its serial
    port is served there, by the concentrator ``serial_proxy_uri`` if that is given, and there is
    no ``serial_log``.
    """

    instance: Instance
    vmx: DatastorePath
    guest_id: str
    size: Size | None = None
    hardware: Hardware = Hardware()  # noqa: RUF009 - it is frozen
    annotation: str = ""
    managed_by: str = ""
    storage_policy: str = ""
    nics: tuple[NewNic, ...] = ()
    extra_config: dict[str, str] = field(default_factory=dict)
    serial_log: DatastorePath | None = None
    serial_service_uri: str = ""
    serial_proxy_uri: str = ""


Configurator = Callable[[NewMachine, vim.vm.ConfigSpec], None]


def _identity(machine: NewMachine, spec: vim.vm.ConfigSpec) -> None:
    spec.name = escaped(machine.instance.name)
    spec.instanceUuid = machine.instance.uuid
    spec.uuid = machine.instance.uuid
    spec.guestId = machine.guest_id
    spec.files = vim.vm.FileInfo(vmPathName=str(machine.vmx))


def _size(machine: NewMachine, spec: vim.vm.ConfigSpec) -> None:
    set_size(spec, machine.size or machine.instance.flavor.size)


def _hardware(machine: NewMachine, spec: vim.vm.ConfigSpec) -> None:
    hardware = machine.hardware
    if hardware.version:
        spec.version = hardware.version
    if hardware.firmware is not Firmware.BIOS:
        spec.firmware = hardware.firmware.value
    if hardware.secure_boot:
        spec.bootOptions = vim.vm.BootOptions(efiSecureBootEnabled=True)
    if hardware.nested_virtualization:
        spec.nestedHVEnabled = True
    if hardware.tpm:
        tpm = vim.vm.device.VirtualTPM(key=TPM_KEY)
        spec.deviceChange.append(vim.vm.device.VirtualDeviceSpec(operation="add", device=tpm))
    if hardware.video_ram_kib:
        # Every machine has its card already; adding one sets what it has.
        card = vim.vm.device.VirtualVideoCard(
            key=VIDEO_CARD_KEY, videoRamSizeInKB=hardware.video_ram_kib, useAutoDetect=False
        )
        spec.deviceChange.append(vim.vm.device.VirtualDeviceSpec(operation="add", device=card))


def _notes(machine: NewMachine, spec: vim.vm.ConfigSpec) -> None:
    if machine.annotation:
        spec.annotation = machine.annotation
    if machine.managed_by:
        spec.managedBy = vim.ext.ManagedByInfo(extensionKey=machine.managed_by, type=MANAGED_TYPE)


def _storage(machine: NewMachine, spec: vim.vm.ConfigSpec) -> None:
    if machine.storage_policy:
        spec.vmProfile = [vim.vm.DefinedProfileSpec(profileId=machine.storage_policy)]


def _tools(machine: NewMachine, spec: vim.vm.ConfigSpec) -> None:
    spec.tools = vim.vm.ToolsConfigInfo(
        afterPowerOn=True, afterResume=True, beforeGuestStandby=True, beforeGuestShutdown=True
    )


def _nics(machine: NewMachine, spec: vim.vm.ConfigSpec) -> None:
    for index, nic in enumerate(machine.nics):
        spec.deviceChange.append(
            nics.add_nic(index, nic.model, nic.mac_address, nic.backing, nic.allocation)
        )


def _serial_port(machine: NewMachine, spec: vim.vm.ConfigSpec) -> None:
    backing: vim.vm.device.VirtualDevice.BackingInfo
    if machine.serial_service_uri:
        backing = vim.vm.device.VirtualSerialPort.URIBackingInfo(
            serviceURI=machine.serial_service_uri,
            direction="server",
            proxyURI=machine.serial_proxy_uri or None,
        )
    elif machine.serial_log is not None:
        log = str(machine.serial_log)
        backing = vim.vm.device.VirtualSerialPort.FileBackingInfo(fileName=log)
    else:
        return
    port = vim.vm.device.VirtualSerialPort(
        key=-200,
        yieldOnPoll=True,
        backing=backing,
        connectable=vim.vm.device.VirtualDevice.ConnectInfo(
            startConnected=True, allowGuestControl=False, connected=True
        ),
    )
    spec.deviceChange.append(vim.vm.device.VirtualDeviceSpec(operation="add", device=port))


def _extra_config(machine: NewMachine, spec: vim.vm.ConfigSpec) -> None:
    values = {extra_config.INSTANCE_UUID: machine.instance.uuid, "disk.EnableUUID": "TRUE"}
    for index, nic in enumerate(machine.nics):
        if nic.interface_id:
            values[extra_config.INTERFACE_ID.format(index=index)] = nic.interface_id
    spec.extraConfig = option_values({**values, **machine.extra_config})


CONFIGURATORS: tuple[Configurator, ...] = (
    _identity,
    _size,
    _hardware,
    _notes,
    _storage,
    _tools,
    _nics,
    _serial_port,
    _extra_config,
)


def new_machine(machine: NewMachine) -> vim.vm.ConfigSpec:
    """The `vim.vm.ConfigSpec` of a VM without disks."""
    spec = vim.vm.ConfigSpec(deviceChange=[])
    for configure in CONFIGURATORS:
        configure(machine, spec)
    return spec


def settings(values: dict[str, str], change_version: str = "") -> vim.vm.ConfigSpec:
    """The `vim.vm.ConfigSpec` that sets extraConfig keys; a value of "" removes its key.

    The server refuses it if the VM was changed since ``change_version``; "" asks for no such check.
    """
    return vim.vm.ConfigSpec(
        extraConfig=option_values(values), changeVersion=change_version or None
    )


def import_shell(
    name: str, datastore: str, capacity_bytes: int, adapter: AdapterType
) -> vim.vm.VmImportSpec:
    """The `vim.vm.VmImportSpec` of the smallest VM that can carry an imported disk."""
    return vim.vm.VmImportSpec(
        configSpec=vim.vm.ConfigSpec(
            name=escaped(name),
            guestId="otherGuest",
            numCPUs=1,
            memoryMB=4,
            files=vim.vm.FileInfo(vmPathName=f"[{datastore}]"),
            deviceChange=disks.new_disk(capacity_bytes, adapter),
        )
    )
