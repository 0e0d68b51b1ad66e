"""The devices every virtual machine has, and what devices are called in a list."""

from __future__ import annotations

from pyVmomi import vim

from vmops.lab.machine.devices.parts import file_of
from vmops.lab.machine.devices.slots import IDE, PCI_KEY, VIDEO_KEY, place_controller

_device = vim.vm.device
_VIDEO_KIB = 4096

FIXED_KEYS = frozenset({100, 200, 201, 300, 400, 500, 600, 700, 12000})
"""Keys of the devices that no reconfiguration removes."""


def default_devices() -> list[_device.VirtualDevice]:
    """Build the devices a virtual machine has before any is added."""
    ide = [_device.VirtualIDEController(key=-1), _device.VirtualIDEController(key=-1)]
    for bus, controller in enumerate(ide):
        place_controller(IDE, controller, bus)
    return [
        _device.VirtualPCIController(
            key=PCI_KEY, busNumber=0, deviceInfo=_said("PCI controller 0")
        ),
        *ide,
        _device.VirtualPS2Controller(key=300, busNumber=0, deviceInfo=_said("PS2 controller 0")),
        _device.VirtualSIOController(key=400, busNumber=0, deviceInfo=_said("SIO controller 0")),
        video_card(_VIDEO_KIB),
        _device.VirtualKeyboard(
            key=600, controllerKey=300, unitNumber=0, deviceInfo=_said("Keyboard")
        ),
        _device.VirtualPointingDevice(
            key=700,
            controllerKey=300,
            unitNumber=1,
            deviceInfo=_said("Pointing device", "Pointing device; Device"),
            backing=_device.VirtualPointingDevice.DeviceBackingInfo(
                deviceName="", useAutoDetect=False, hostPointingDevice="autodetect"
            ),
        ),
        _device.VirtualVMCIDevice(
            key=12000,
            controllerKey=PCI_KEY,
            unitNumber=17,
            id=-1,
            allowUnrestrictedCommunication=False,
            filterEnable=True,
            deviceInfo=_said("VMCI device", "Device on the virtual machine PCI bus"),
        ),
    ]


def video_card(video_ram_kib: int) -> _device.VirtualVideoCard:
    """Build the video card."""
    return _device.VirtualVideoCard(
        key=VIDEO_KEY,
        controllerKey=PCI_KEY,
        unitNumber=0,
        videoRamSizeInKB=video_ram_kib,
        numDisplays=1,
        useAutoDetect=False,
        enable3DSupport=False,
        use3dRenderer="automatic",
        graphicsMemorySizeInKB=262144,
        deviceInfo=_said("Video card"),
    )


def describe(devices: list[_device.VirtualDevice]) -> None:
    """Give disks, drives, cards and ports the numbered labels they show."""
    for wire_type, label in (
        (_device.VirtualDisk, "Hard disk"),
        (_device.VirtualCdrom, "CD/DVD drive"),
        (_device.VirtualEthernetCard, "Network adapter"),
        (_device.VirtualSerialPort, "Serial port"),
    ):
        of_type = [device for device in devices if isinstance(device, wire_type)]
        for number, device in enumerate(sorted(of_type, key=lambda each: int(each.key)), start=1):
            device.deviceInfo = _said(f"{label} {number}", _summary(device))


def _summary(device: _device.VirtualDevice) -> str:
    if isinstance(device, _device.VirtualDisk):
        return f"{device.capacityInKB:,} KB"
    backing = device.backing
    if isinstance(device, _device.VirtualCdrom):
        iso = isinstance(backing, _device.VirtualCdrom.IsoBackingInfo)
        return f"ISO {file_of(device)}" if iso else "Remote device"
    if isinstance(device, _device.VirtualEthernetCard):
        port = getattr(backing, "port", None)
        name = getattr(backing, "deviceName", None)
        return f"DVSwitch: {port.switchUuid}" if port is not None else str(name)
    uri = getattr(backing, "serviceURI", None)
    return f"File {file_of(device)}" if uri is None else f"Remote {uri}"


def _said(label: str, summary: str | None = None) -> vim.Description:
    return vim.Description(label=label, summary=summary or label)
