"""From a virtual machine's configuration to what the hypervisor starts."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, cast

from pyVmomi import vim

from vmops.lab.hypervisor.port import (
    Cdrom,
    Controller,
    Disk,
    GuestDefinition,
    Nic,
    Segment,
    SerialPort,
)
from vmops.lab.inventory.file_faults import storage_faults
from vmops.lab.machine.devices.disks import chain_of
from vmops.lab.machine.devices.nics import network_of_card
from vmops.lab.machine.devices.parts import file_of, plug_of
from vmops.lab.machine.devices.serial_lines import is_network, network_port
from vmops.lab.machine.devices.slots import kind_of, wire_name
from vmops.lab.storage.disks import DiskInfo, DiskStore
from vmops.lab.storage.paths import DatastorePath

if TYPE_CHECKING:
    from pyVmomi.vim.vm import ConfigInfo
    from pyVmomi.vim.vm.device import VirtualDevice

    from vmops.lab.hypervisor.port import ControllerModel, NicModel
    from vmops.lab.machine.machine import Machine

_device = vim.vm.device
_boot = vim.vm.BootOptions

D = TypeVar("D", bound="VirtualDevice")


def read_chains(store: DiskStore, devices: Sequence[VirtualDevice]) -> dict[int, list[DiskInfo]]:
    """Inspect the files of all disks, by device key. Blocking.

    Raises:
        vim.fault.FileNotFound: a disk's file, or that of one of its parents, is missing.
        vim.fault.InvalidDiskFormat: a file is no disk, or of a kind guests cannot run on.
    """
    chains = {}
    for device in devices:
        if not isinstance(device, _device.VirtualDisk):
            continue
        name = file_of(device)
        with storage_faults(name):
            chain = chain_of(store, DatastorePath.parse(name))
        if not chain[0].layers:
            raise vim.fault.InvalidDiskFormat(
                msg=f"{name} is of a kind ({chain[0].kind}) that a machine cannot run on."
            )
        chains[device.key] = chain
    return chains


def definition_of(
    vm: Machine, chains: Mapping[int, Sequence[DiskInfo]], config: ConfigInfo | None = None
) -> GuestDefinition:
    """Build what the hypervisor needs to start the machine, with its configuration or this."""
    config = vm.config if config is None else config
    hardware = config.hardware
    cards = [each for each in hardware.device if isinstance(each, _device.VirtualEthernetCard)]
    segments: dict[str, Segment] = {}
    nics = []
    for card in cards:
        network = network_of_card(vm.kernel, card)
        if network is None:
            continue
        segments[network.segment.name] = network.segment
        nics.append(
            Nic(
                key=card.key,
                model=cast("NicModel", wire_name(card)),
                mac_address=card.macAddress or "",
                segment=network.segment.name,
                connected=bool(plug_of(card).startConnected),
            )
        )
    return GuestDefinition(
        key=vm.moid,
        name=vm.name,
        bios_uuid=config.uuid,
        cpus=hardware.numCPU,
        cores_per_socket=hardware.numCoresPerSocket or 1,
        memory_mib=hardware.memoryMB,
        firmware="efi" if config.firmware == "efi" else "bios",
        controllers=tuple(_controllers(hardware.device)),
        disks=tuple(_disk(each, chains) for each in hardware.device if each.key in chains),
        nics=tuple(nics),
        cdroms=tuple(_cdrom(each, vm.store) for each in _of(hardware.device, _device.VirtualCdrom)),
        serial_ports=tuple(
            network_port(port, config)
            if is_network(port)
            else SerialPort(key=port.key, file=_host_file(vm.store, file_of(port)))
            for port in _of(hardware.device, _device.VirtualSerialPort)
            if plug_of(port).startConnected
        ),
        boot_order=tuple(_boot_order(config)),
        extra_config={option.key: str(option.value) for option in config.extraConfig},
        segments=tuple(segments.values()),
        cpu_hot_add=bool(config.cpuHotAddEnabled),
        memory_hot_add=bool(config.memoryHotAddEnabled),
    )


def running_definition(
    vm: Machine, config: ConfigInfo, chains: Mapping[int, Sequence[DiskInfo]]
) -> GuestDefinition:
    """Build what a guest with this configuration runs as: connected is what is connected now."""
    shown = copy.copy(config)
    shown.hardware = copy.copy(config.hardware)
    shown.hardware.device = [_as_connected(device) for device in config.hardware.device]
    return definition_of(vm, chains, shown)


def _as_connected(device: VirtualDevice) -> VirtualDevice:
    if device.connectable is None:
        return device
    copied = copy.copy(device)
    copied.connectable = plug = copy.copy(device.connectable)
    plug.startConnected = bool(plug.connected)
    return copied


def _of(devices: Sequence[VirtualDevice], wire_type: type[D]) -> list[D]:
    return [device for device in devices if isinstance(device, wire_type)]


def _controllers(devices: Sequence[VirtualDevice]) -> list[Controller]:
    return [
        Controller(
            key=device.key,
            bus_number=device.busNumber,
            model=cast("ControllerModel", wire_name(device)),
        )
        for device in _of(devices, _device.VirtualController)
        if kind_of(device) is not None
    ]


def _disk(device: VirtualDevice, chains: Mapping[int, Sequence[DiskInfo]]) -> Disk:
    return Disk(
        key=device.key,
        layers=chains[device.key][0].layers,
        controller_key=device.controllerKey or 0,
        unit_number=device.unitNumber or 0,
        serial=(getattr(device.backing, "uuid", None) or "").replace("-", "").replace(" ", ""),
    )


def _cdrom(drive: VirtualDevice, store: DiskStore) -> Cdrom:
    image = None
    backing = drive.backing
    is_image = isinstance(backing, _device.VirtualCdrom.IsoBackingInfo)
    if is_image and plug_of(drive).startConnected:
        file = _host_file(store, file_of(drive))
        image = file if file.is_file() else None
    return Cdrom(
        key=drive.key,
        controller_key=drive.controllerKey or 0,
        unit_number=drive.unitNumber or 0,
        image=image,
    )


def _host_file(store: DiskStore, name: str) -> Path:
    with storage_faults(name):
        return store.volumes.resolve(DatastorePath.parse(name))


def _boot_order(config: ConfigInfo) -> list[int]:
    keys = {device.key for device in config.hardware.device}
    drives = [each.key for each in _of(config.hardware.device, _device.VirtualCdrom)]
    order: list[int] = []
    options = config.bootOptions
    for entry in () if options is None else options.bootOrder:
        if isinstance(entry, _boot.BootableCdromDevice):
            order += drives
        elif isinstance(entry, _boot.BootableDiskDevice | _boot.BootableEthernetDevice):
            order.append(entry.deviceKey)
    return [key for key in dict.fromkeys(order) if key in keys]
