"""Reading a virtual machine back from its files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pyVmomi import vim

from vmops.lab.inventory.distributed_switch import DistributedVirtualPortgroup
from vmops.lab.machine.devices.defaults import describe
from vmops.lab.machine.devices.disks import chain_of, fill_from_files
from vmops.lab.machine.devices.nics import (
    DistributedBacking,
    StandardBacking,
    networks_of,
    portgroup,
)
from vmops.lab.machine.devices.parts import file_of
from vmops.lab.machine.vmx_file import read_vmx
from vmops.lab.storage.disks import DiskStore
from vmops.lab.storage.errors import StorageError
from vmops.lab.storage.paths import DatastorePath

if TYPE_CHECKING:
    from pyVmomi.vim.vm import ConfigInfo
    from pyVmomi.vim.vm.device import VirtualDevice

    from vmops.lab.inventory.host_system import HostSystem
    from vmops.lab.kernel.kernel import Kernel

_device = vim.vm.device


async def load(kernel: Kernel, vmx: DatastorePath, host: HostSystem) -> ConfigInfo:
    """Read a machine's configuration and what its disks' files say.

    Disks and networks that are gone stay in the configuration; starting the machine then fails.

    Raises:
        vim.fault.NotFound: there is no such file.
        vim.fault.InvalidDatastorePath: the file names files outside of the datastores.
        vim.fault.VmConfigFault: the file is no .vmx file, or cannot be read.
    """
    store = kernel.service(DiskStore)
    try:
        config = await kernel.blocking(read_vmx, store.volumes, vmx)
    except FileNotFoundError as error:
        raise vim.fault.NotFound(msg=f"There is no file {vmx}.") from error
    except (StorageError, OSError, ValueError) as error:
        reason = f"{vmx} cannot be used: {error}"
        raise vim.fault.GenericVmConfigFault(reason=reason, msg=reason) from error
    await kernel.blocking(_fill_disks, store, config.hardware.device)
    _plug_in(kernel, config.hardware.device, host)
    return config


def _fill_disks(store: DiskStore, devices: Sequence[VirtualDevice]) -> None:
    for device in devices:
        if isinstance(device, _device.VirtualDisk):
            try:
                chain = chain_of(store, DatastorePath.parse(file_of(device)))
            except (StorageError, OSError):
                continue
            fill_from_files(device, chain)
    describe(list(devices))


def _plug_in(kernel: Kernel, devices: Sequence[VirtualDevice], host: HostSystem) -> None:
    by_name: dict[str, Any] = {
        network.port_group: network.ref
        for network in networks_of(kernel, host)
        if not isinstance(network, DistributedVirtualPortgroup)
    }
    for card in devices:
        if not isinstance(card, _device.VirtualEthernetCard):
            continue
        backing = card.backing
        if isinstance(backing, StandardBacking):
            backing.network = by_name.get(backing.deviceName)
        elif isinstance(backing, DistributedBacking):
            group = portgroup(kernel, backing.port.switchUuid, backing.port.portgroupKey)
            if group is not None:
                backing.port.switchUuid = group.switch.properties["uuid"]
                group.adopt_port(backing.port.portKey or "")
