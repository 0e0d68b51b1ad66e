"""Devices in .vmx files: ``scsi0:1.fileName``, ``ethernet0.address`` and the like."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pyVmomi import vim

from vmops.lab.machine.allocations import (
    complete_allocations,
    read_card_allocation,
    read_disk_allocation,
    written_allocation,
)
from vmops.lab.machine.devices.defaults import default_devices, describe, video_card
from vmops.lab.machine.devices.nics import CARD_MODELS, DistributedBacking, StandardBacking
from vmops.lab.machine.devices.parts import file_of, flat_backing, plug_of
from vmops.lab.machine.devices.serial_lines import is_network, read_line, uri_backing, written_line
from vmops.lab.machine.devices.slots import (
    FIRST_NIC_KEY,
    FIRST_SERIAL_KEY,
    IDE,
    KINDS,
    MAX_NICS,
    MAX_SERIAL_PORTS,
    SCSI,
    SCSI_MODELS,
    VIDEO_KEY,
    ControllerKind,
    device_key,
    kind_of,
    number_cards,
    place_controller,
    scsi_model,
)
from vmops.lab.storage.paths import DatastorePath
from vmops.lab.storage.uuids import spaced_uuid
from vmops.lab.storage.vmx_text import Entries, path_of, vmx_file_name

_device = vim.vm.device
_Cdrom = _device.VirtualCdrom
_ADDRESS_TYPES = {"manual": "static", "assigned": "vpx", "generated": "generated"}
_SERIAL = _device.VirtualSerialPort
_Sharing = _device.VirtualSCSIController.Sharing


def place_name(
    device: _device.VirtualDevice, devices: Sequence[_device.VirtualDevice]
) -> str | None:
    """Return what a .vmx file calls a device, ``scsi0:1``; None for those it does not name."""
    kind = kind_of(device)
    if kind is not None and isinstance(device, _device.VirtualController):
        return f"{kind.name}{device.busNumber}"
    if isinstance(device, _device.VirtualEthernetCard):
        return f"ethernet{device.key - FIRST_NIC_KEY}"
    if isinstance(device, _SERIAL):
        return f"serial{device.key - FIRST_SERIAL_KEY}"
    if isinstance(device, _device.VirtualDisk | _Cdrom):
        for controller in devices:
            if controller.key == device.controllerKey:
                return f"{place_name(controller, devices)}:{device.unitNumber}"
    return None


def device_entries(devices: Sequence[_device.VirtualDevice], folder: DatastorePath) -> Entries:
    """Return the entries of all devices; ``folder`` is that of the .vmx file."""
    entries = Entries()
    for device in devices:
        name = place_name(device, devices)
        if isinstance(device, _device.VirtualVideoCard):
            entries["svga.present"] = "TRUE"
            entries["svga.vramSize"] = str((device.videoRamSizeInKB or 0) * 1024)
            continue
        if name is None:
            continue
        written = dict(_written(device, folder))
        if written:
            entries[f"{name}.present"] = "TRUE"
        entries.update({f"{name}.{key}": value for key, value in written.items()})
        entries.update({f"sched.{name}.{key}": value for key, value in _claimed(device)})
    return entries


def _claimed(device: _device.VirtualDevice) -> Iterator[tuple[str, str]]:
    if isinstance(device, _device.VirtualDisk) and device.storageIOAllocation is not None:
        given = device.storageIOAllocation
        yield from written_allocation(given, given.shares)
    if isinstance(device, _device.VirtualEthernetCard) and device.resourceAllocation is not None:
        claimed = device.resourceAllocation
        yield from written_allocation(claimed, claimed.share)


def _written(device: _device.VirtualDevice, folder: DatastorePath) -> Iterator[tuple[str, str]]:
    kind = kind_of(device)
    if isinstance(device, _device.VirtualSCSIController):
        yield "virtualDev", scsi_model(device) or "lsilogic"
        yield "sharedBus", str(device.sharedBus).removesuffix("Sharing").replace("no", "none")
    elif kind is not None and kind is not IDE:
        yield "pciSlotNumber", "-1"
    elif isinstance(device, _device.VirtualDisk):
        yield "deviceType", "disk"
        yield "fileName", vmx_file_name(DatastorePath.parse(file_of(device)), folder)
        yield "mode", str(flat_backing(device).diskMode).replace("_", "-")
        if device.vDiskId is not None:
            yield "vDiskId", device.vDiskId.id
    elif isinstance(device, _Cdrom):
        yield from _written_cdrom(device, folder)
    elif isinstance(device, _device.VirtualEthernetCard):
        yield from _written_card(device)
    elif isinstance(device, _SERIAL):
        if is_network(device):
            yield from written_line(uri_backing(device))
        else:
            yield "fileType", "file"
            yield "fileName", vmx_file_name(DatastorePath.parse(file_of(device)), folder)
        yield "yieldOnMsrRead", _bool(device.yieldOnPoll)
        yield "startConnected", _bool(plug_of(device).startConnected)


def _written_cdrom(
    drive: _device.VirtualDevice, folder: DatastorePath
) -> Iterator[tuple[str, str]]:
    backing = drive.backing
    if isinstance(backing, _Cdrom.IsoBackingInfo):
        yield "deviceType", "cdrom-image"
        yield "fileName", vmx_file_name(DatastorePath.parse(backing.fileName), folder)
    else:
        remote = isinstance(
            backing, _Cdrom.RemotePassthroughBackingInfo | _Cdrom.RemoteAtapiBackingInfo
        )
        raw = isinstance(
            backing, _Cdrom.RemotePassthroughBackingInfo | _Cdrom.PassthroughBackingInfo
        )
        yield "deviceType", "cdrom-raw" if raw else "atapi-cdrom"
        yield "clientDevice", _bool(remote)
        yield "fileName", str(getattr(backing, "deviceName", None) or "")
    yield "startConnected", _bool(plug_of(drive).startConnected)


def _written_card(card: _device.VirtualEthernetCard) -> Iterator[tuple[str, str]]:
    yield "virtualDev", next(name for name, kind in CARD_MODELS.items() if type(card) is kind)
    yield "addressType", _ADDRESS_TYPES[card.addressType or ""]
    yield (
        ("generatedAddress" if card.addressType == "generated" else "address"),
        card.macAddress or "",
    )
    if isinstance(card.backing, DistributedBacking):
        port = card.backing.port
        yield "dvs.switchId", spaced_uuid(port.switchUuid)
        yield "dvs.portgroupId", port.portgroupKey or ""
        yield "dvs.portId", port.portKey or ""
        yield "dvs.connectionId", str(port.connectionCookie)
    elif isinstance(card.backing, StandardBacking):
        yield "networkName", card.backing.deviceName
    yield "wakeOnPcktRcv", _bool(card.wakeOnLanEnabled)
    yield "startConnected", _bool(plug_of(card).startConnected)
    yield "allowGuestConnectionControl", _bool(plug_of(card).allowGuestControl)
    if card.externalId:
        yield "externalId", card.externalId


def devices_of(entries: Entries, folder: DatastorePath) -> list[_device.VirtualDevice]:
    """Take the devices out of entries; ``folder`` is that of the .vmx file.

    Raises:
        InvalidDatastorePath: a device names a file outside of the datastores.
    """
    devices = default_devices()
    video_bytes = entries.take_int("svga.vramSize")
    entries.take("svga.present")
    if video_bytes:
        card = next(device for device in devices if device.key == VIDEO_KEY)
        devices[devices.index(card)] = video_card(max(1, video_bytes // 1024))
    for kind in KINDS:
        for bus in range(kind.buses):
            devices += _read_bus(entries, kind, bus, folder)
    for number in range(MAX_NICS):
        own = Entries(entries.take_prefixed(f"ethernet{number}."))
        if own.take_bool("present"):
            card = _read_card(own, number)
            card.resourceAllocation = read_card_allocation(entries, f"sched.ethernet{number}")
            devices.append(card)
            # What a client added for the card, and nobody here understands, stays.
            entries.update({f"ethernet{number}.{key}": value for key, value in own.items()})
    for number in range(MAX_SERIAL_PORTS):
        own = Entries(entries.take_prefixed(f"serial{number}."))
        name = own.take("fileName")
        goes_to = own.take("fileType")
        if not own.take_bool("present") or not name:
            continue
        backing: _device.VirtualDevice.BackingInfo | None = None
        if goes_to == "file":
            backing = _SERIAL.FileBackingInfo(fileName=str(path_of(name, folder)))
        elif goes_to == "network":
            backing = read_line(name, own.take("network.endPoint"), own.take("vspc"))
        if backing is not None:
            devices.append(_read_serial_port(own, number, backing))
    number_cards(devices)
    complete_allocations(devices)
    describe(devices)
    return devices


def _read_bus(
    entries: Entries, kind: ControllerKind, bus: int, folder: DatastorePath
) -> list[_device.VirtualDevice]:
    drives = {
        unit: Entries(entries.take_prefixed(f"{kind.name}{bus}:{unit}."))
        for unit in range(kind.units)
    }
    own = Entries(entries.take_prefixed(f"{kind.name}{bus}."))
    found: list[_device.VirtualDevice] = []
    if kind is not IDE:
        if not own.take_bool("present"):
            return []
        found.append(_read_controller(own, kind, bus))
    for unit, given in drives.items():
        if not given.take_bool("present"):
            continue
        device = _read_drive(given, folder)
        if isinstance(device, _device.VirtualDisk):
            prefix = f"sched.{kind.name}{bus}:{unit}"
            device.storageIOAllocation = read_disk_allocation(entries, prefix)
        device.key = device_key(kind, bus, unit)
        device.controllerKey, device.unitNumber = kind.first_key + bus, unit
        found.append(device)
    return found


def _read_controller(own: Entries, kind: ControllerKind, bus: int) -> _device.VirtualController:
    model = kind.wire_type
    if kind is SCSI:
        model = SCSI_MODELS.get(own.take("virtualDev") or "", SCSI_MODELS["lsilogic"])
    controller = model(key=-1, busNumber=bus)
    if isinstance(controller, _device.VirtualSCSIController):
        shared = own.take("sharedBus") or "none"
        sharing = {"virtual": "virtualSharing", "physical": "physicalSharing"}
        controller.sharedBus = _Sharing(sharing.get(shared, "noSharing"))
    place_controller(kind, controller, bus)
    return controller


def _read_drive(own: Entries, folder: DatastorePath) -> _device.VirtualDevice:
    kind = own.take("deviceType") or "disk"
    name = own.take("fileName") or ""
    if "cdrom" not in kind:
        mode = (own.take("mode") or "persistent").replace("-", "_")
        backing = _device.VirtualDisk.FlatVer2BackingInfo(
            fileName=str(path_of(name, folder)), diskMode=mode
        )
        disk_id = own.take("vDiskId")
        return _device.VirtualDisk(
            key=-1,
            backing=backing,
            capacityInKB=0,
            capacityInBytes=0,
            vDiskId=vim.vslm.ID(id=disk_id) if disk_id else None,
        )
    is_remote = own.take_bool("clientDevice")
    if kind == "cdrom-image":
        drive: _device.VirtualDevice.BackingInfo = _Cdrom.IsoBackingInfo(
            fileName=str(path_of(name, folder))
        )
    elif kind == "cdrom-raw":
        raw = _Cdrom.RemotePassthroughBackingInfo if is_remote else _Cdrom.PassthroughBackingInfo
        drive = raw(deviceName=name, exclusive=False)
    else:
        plain = _Cdrom.RemoteAtapiBackingInfo if is_remote else _Cdrom.AtapiBackingInfo
        drive = plain(deviceName=name)
    connectable = _connectable(own, default=kind == "cdrom-image")
    return _Cdrom(key=-1, backing=drive, connectable=connectable)


def _read_card(own: Entries, number: int) -> _device.VirtualEthernetCard:
    model = CARD_MODELS.get(own.take("virtualDev") or "", CARD_MODELS["vlance"])
    types = {written: kind for kind, written in _ADDRESS_TYPES.items()}
    switch = own.take("dvs.switchId")
    if switch:
        port = vim.dvs.PortConnection(
            switchUuid=spaced_uuid(switch),
            portgroupKey=own.take("dvs.portgroupId"),
            portKey=own.take("dvs.portId"),
            connectionCookie=own.take_int("dvs.connectionId"),
        )
        backing: _device.VirtualDevice.BackingInfo = DistributedBacking(port=port)
    else:
        backing = StandardBacking(deviceName=own.take("networkName") or "", useAutoDetect=False)
    generated = own.take("generatedAddress")
    return model(
        key=FIRST_NIC_KEY + number,
        backing=backing,
        addressType=types.get(own.take("addressType") or "", "generated"),
        macAddress=own.take("address") or generated or "00:0c:29:00:00:00",
        wakeOnLanEnabled=own.take_bool("wakeOnPcktRcv", True),
        externalId=own.take("externalId"),
        connectable=_connectable(own, default=True),
    )


def _read_serial_port(
    own: Entries, number: int, backing: _device.VirtualDevice.BackingInfo
) -> _device.VirtualSerialPort:
    return _SERIAL(
        key=FIRST_SERIAL_KEY + number,
        backing=backing,
        yieldOnPoll=own.take_bool("yieldOnMsrRead", True),
        connectable=_connectable(own, default=True),
    )


def _connectable(own: Entries, *, default: bool) -> _device.VirtualDevice.ConnectInfo:
    return _device.VirtualDevice.ConnectInfo(
        startConnected=own.take_bool("startConnected", default),
        allowGuestControl=own.take_bool("allowGuestConnectionControl", True),
        connected=False,
        status="untried",
    )


def _bool(value: object) -> str:
    return "TRUE" if value else "FALSE"
