"""OVF descriptors, written: a machine's hardware, and the files a client has fetched of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from pyVmomi import vim, vmodl

from vmops.lab.machine.devices.nics import network_of_card
from vmops.lab.machine.devices.parts import plug_of
from vmops.lab.machine.devices.slots import IDE, NVME, SATA, SCSI, kind_of
from vmops.lab.machine.machine import Machine
from vmops.lab.objects.ovf import importing
from vmops.lab.objects.ovf.hardware import (
    CARD,
    CD_DRIVE,
    CPU,
    DISK,
    IDE_CONTROLLER,
    MEMORY,
    SCSI_CONTROLLER,
    STORAGE,
)
from vmops.lab.objects.virtual_machine_snapshot import VirtualMachineSnapshot
from vmops.lab.operations.nfc_disks import lease_disks

if TYPE_CHECKING:
    from pyVmomi.vim.vm import ConfigInfo
    from pyVmomi.vim.vm.device import VirtualDevice, VirtualEthernetCard
    from pyVmomi.VmomiSupport import ManagedObject as Reference

    from vmops.lab.kernel.kernel import Kernel

_device = vim.vm.device
_OVF = "http://schemas.dmtf.org/ovf/envelope/1"
_CIM = "http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/"
_RASD = f"{_CIM}CIM_ResourceAllocationSettingData"
_VSSD = f"{_CIM}CIM_VirtualSystemSettingData"
_VMW = "http://www.vmware.com/schema/ovf"
_FORMAT = "http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized"
for _prefix, _uri in (("ovf", _OVF), ("rasd", _RASD), ("vssd", _VSSD), ("vmw", _VMW)):
    ElementTree.register_namespace(_prefix, _uri)

_SUB_TYPES: dict[type, str] = {
    _device.VirtualLsiLogicController: "lsilogic",
    _device.VirtualLsiLogicSASController: "lsilogicsas",
    _device.ParaVirtualSCSIController: "VirtualSCSI",
    _device.VirtualBusLogicController: "buslogic",
    _device.VirtualAHCIController: "vmware.sata.ahci",
    _device.VirtualNVMEController: "vmware.nvme.controller",
    _device.VirtualE1000: "E1000",
    _device.VirtualE1000e: "E1000e",
    _device.VirtualVmxnet3: "VmxNet3",
    _device.VirtualVmxnet2: "VmxNet2",
    _device.VirtualPCNet32: "PCNet32",
}
_KINDS = {IDE: IDE_CONTROLLER, SCSI: SCSI_CONTROLLER, SATA: STORAGE, NVME: STORAGE}


def create_descriptor(
    kernel: Kernel, ref: Reference, params: vim.OvfManager.CreateDescriptorParams
) -> vim.OvfManager.CreateDescriptorResult:
    """Build a CreateDescriptorResult of a machine, or of the snapshot that ``params`` names.

    Raises:
        vmodl.fault.NotSupported: it is no virtual machine.
        vim.fault.InvalidState: its files cannot be read.
        vmodl.fault.InvalidArgument: a file is of a disk that the machine does not have.
    """
    vm = kernel.registry.get(ref)
    if not isinstance(vm, Machine):
        raise vmodl.fault.NotSupported(msg="Only virtual machines have descriptors.")
    config = vm.config
    if params.snapshot is not None:
        snapshot = kernel.registry.find(params.snapshot, VirtualMachineSnapshot)
        config = snapshot.machine.snapshots.get(snapshot.uid).config
    description = params.description or config.annotation
    root = _Writer(vm, config, params.name or vm.name, description).envelope(params.ovfFiles or [])
    ElementTree.indent(root)
    text = ElementTree.tostring(root, encoding="unicode", xml_declaration=True)
    return vim.OvfManager.CreateDescriptorResult(ovfDescriptor=text, includeImageFiles=False)


class _Writer:
    """Writes one envelope."""

    def __init__(self, vm: Machine, config: ConfigInfo, name: str, description: str | None) -> None:
        self._vm = vm
        self._config = config
        self._name = name
        self._description = description
        self._cards = [
            each for each in config.hardware.device if isinstance(each, _device.VirtualEthernetCard)
        ]

    def envelope(self, files: Sequence[vim.OvfManager.OvfFile]) -> ElementTree.Element:
        root = ElementTree.Element(_tag(_OVF, "Envelope"))
        self._files(root, files)
        networks = _section(root, "NetworkSection", "Networks of the machine")
        for name in dict.fromkeys(self._network(card) for card in self._cards):
            network = _put(networks, _OVF, "Network", **{"ovf:name": name})
            _put(network, _OVF, "Description", f"The network {name}")
        system = _put(root, _OVF, "VirtualSystem", **{"ovf:id": self._name})
        _put(system, _OVF, "Info", "A virtual machine")
        _put(system, _OVF, "Name", self._name)
        guest = self._config.guestId
        number = next((n for n, each in importing.SYSTEMS.items() if each == guest), 1)
        os = _section(system, "OperatingSystemSection", "The guest")
        os.set(_tag(_OVF, "id"), str(number))
        os.set(_tag(_VMW, "osType"), guest)
        if self._description:
            annotation = _section(system, "AnnotationSection", "What is noted of it")
            _put(annotation, _OVF, "Annotation", self._description)
        self._hardware(system)
        return root

    def _files(self, root: ElementTree.Element, files: Sequence[vim.OvfManager.OvfFile]) -> None:
        references = _put(root, _OVF, "References")
        disks = _section(root, "DiskSection", "Disks of the machine")
        by_device = {each.deviceId: each for each in files}
        for number, disk in enumerate(lease_disks(self._vm, self._config)):
            more = {}
            file = by_device.pop(disk.key, None)
            if file is not None:
                attributes = {"ovf:href": file.path, "ovf:id": f"file{number}"}
                _put(references, _OVF, "File", **attributes, **{"ovf:size": str(file.size)})
                more = {"ovf:fileRef": f"file{number}", "ovf:format": _FORMAT}
            _put(
                disks,
                _OVF,
                "Disk",
                **{
                    "ovf:capacity": str(disk.capacity_bytes),
                    "ovf:diskId": f"vmdisk{disk.device_key}",
                    **more,
                },
            )
        if by_device:
            raise vmodl.fault.InvalidArgument(
                invalidProperty="cdp.ovfFiles",
                msg=f"The machine has no disk {', '.join(map(str, by_device))}.",
            )

    def _hardware(self, system: ElementTree.Element) -> None:
        config, hardware = self._config, self._config.hardware
        section = _section(system, "VirtualHardwareSection", "Its hardware")
        about = _put(section, _OVF, "System")
        _put(about, _VSSD, "ElementName", "Virtual hardware")
        _put(about, _VSSD, "InstanceID", "0")
        _put(about, _VSSD, "VirtualSystemIdentifier", self._name)
        _put(about, _VSSD, "VirtualSystemType", config.version)
        cpus: dict[str, object] = {
            "AllocationUnits": "hertz * 10^6",
            "VirtualQuantity": hardware.numCPU,
        }
        item = _item(section, "-1", CPU, "Processors", **cpus)
        _put(item, _VMW, "CoresPerSocket", str(hardware.numCoresPerSocket or 1))
        memory: dict[str, object] = {"VirtualQuantity": hardware.memoryMB}
        _item(section, "-2", MEMORY, "Memory", AllocationUnits="byte * 2^20", **memory)
        for device in hardware.device:
            self._device(section, device)
        for key in ("cpuHotAddEnabled", "memoryHotAddEnabled", "nestedHVEnabled"):
            _config(section, key, str(bool(getattr(config, key))).lower())
        _config(section, "firmware", config.firmware or "bios")

    def _device(self, section: ElementTree.Element, device: VirtualDevice) -> None:
        key, label = str(device.key), device.deviceInfo.label if device.deviceInfo else ""
        more: dict[str, object] = {}
        if type(device) in _SUB_TYPES:
            more["ResourceSubType"] = _SUB_TYPES[type(device)]
        kind = kind_of(device)
        if kind is not None and isinstance(device, _device.VirtualController):
            _item(section, key, _KINDS[kind], label, Address=device.busNumber, **more)
        elif isinstance(device, _device.VirtualDisk):
            more = {"AddressOnParent": device.unitNumber, "Parent": device.controllerKey}
            more["HostResource"] = f"ovf:/disk/vmdisk{device.key}"
            _item(section, key, DISK, label, **more)
        elif isinstance(device, _device.VirtualCdrom):
            more = {"AddressOnParent": device.unitNumber, "Parent": device.controllerKey}
            _item(section, key, CD_DRIVE, label, **more).set(_tag(_OVF, "required"), "false")
        elif isinstance(device, _device.VirtualEthernetCard):
            more["AutomaticAllocation"] = str(bool(plug_of(device).startConnected)).lower()
            more["Connection"] = self._network(device)
            _item(section, key, CARD, label, **more)

    def _network(self, card: VirtualEthernetCard) -> str:
        network = network_of_card(self._vm.kernel, card)
        return "none" if network is None else network.name


def _item(
    section: ElementTree.Element, key: str, kind: int, label: str, **texts: object
) -> ElementTree.Element:
    item = _put(section, _OVF, "Item")
    told = {**texts, "ElementName": label or key, "InstanceID": key, "ResourceType": kind}
    for name in sorted(told):
        _put(item, _RASD, name, str(told[name]))
    return item


def _config(section: ElementTree.Element, key: str, value: str) -> None:
    attributes = {"ovf:required": "false", "vmw:key": key, "vmw:value": value}
    _put(section, _VMW, "Config", **attributes)


def _section(parent: ElementTree.Element, name: str, info: str) -> ElementTree.Element:
    section = _put(parent, _OVF, name)
    _put(section, _OVF, "Info", info)
    return section


def _put(
    parent: ElementTree.Element, uri: str, name: str, text: str = "", **attributes: str
) -> ElementTree.Element:
    uris = {"ovf": _OVF, "vmw": _VMW}
    element = ElementTree.SubElement(parent, _tag(uri, name))
    element.text = text or None
    for key, value in attributes.items():
        prefix, _, local = key.partition(":")
        element.set(_tag(uris[prefix], local), value)
    return element


def _tag(uri: str, name: str) -> str:
    return f"{{{uri}}}{name}"
