"""A relocation before it begins: checked as a whole, and planned."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pyVmomi import vim, vmodl

from vmops.lab.machine.devices.nics import PortReservations
from vmops.lab.machine.devices.parts import with_file
from vmops.lab.machine.guest_definition import read_chains
from vmops.lab.machine.own_disks import own_disks
from vmops.lab.operations.destroy import needed_by_others
from vmops.lab.operations.reconfigure import plan as plan_changes
from vmops.lab.operations.relocation.files import FilePlan
from vmops.lab.operations.relocation.names import plan_files
from vmops.lab.operations.relocation.spec import disk_wishes, home_datastore
from vmops.lab.operations.relocation.target import RelocationTarget, check_devices, target_of
from vmops.lab.storage.paths import DatastorePath

if TYPE_CHECKING:
    from pyVmomi.vim.vm import ConfigInfo
    from pyVmomi.vim.vm.device import VirtualDevice, VirtualDeviceSpec

    from vmops.lab.machine.machine import Machine

_device = vim.vm.device


@dataclass(slots=True, kw_only=True)
class Relocation:
    """A relocation that has been checked."""

    target: RelocationTarget
    files: FilePlan
    config: ConfigInfo
    """The configuration afterwards; the disks' backings follow as they move."""
    ports: PortReservations
    """Of distributed switches, for cards that change their network; the caller releases them."""
    replugs: bool
    """Whether a card changes its network."""


async def examine(vm: Machine, spec: vim.vm.RelocateSpec) -> Relocation:
    """Check a RelocateSpec and plan what it means; nothing changes.

    Raises:
        vmodl.fault.NotSupported: another vCenter, encryption, or a lab of a single host.
        vim.fault.InvalidState: the machine's files cannot be read.
        vim.fault.InvalidDatastore: a datastore is not on the host.
        vim.fault.NoDiskSpace: there is no room.
        As `target_of`, `check_devices` and `disk_wishes` do.
    """
    if vm.kernel.settings.esx:
        raise vmodl.fault.NotSupported(msg="A single host moves no virtual machines.")
    if spec.service is not None or spec.cryptoSpec is not None:
        raise vmodl.fault.NotSupported(msg="The lab has one vCenter and encrypts nothing.")
    vm.require_accessible()
    target = target_of(vm, host=spec.host, pool=spec.pool, folder=spec.folder)
    store = vm.store
    ports = PortReservations()
    config = copy.deepcopy(vm.config)
    if spec.deviceChange:
        config, ports = await _replugged(vm, spec.deviceChange, target)
    try:
        chains = await vm.kernel.blocking(read_chains, store, vm.devices)
        wishes = disk_wishes(spec, vm, target.host, chains)
        own = (await own_disks(vm)).parents if vm.snapshots.snapshots else {}
        files = await vm.kernel.blocking(
            plan_files,
            store,
            vm.vmx,
            home_datastore(spec, vm, target.host),
            wishes,
            needed_by_others(vm),
            own,
        )
        moved = {disk.key: disk.links[0].target for disk in files.disks}
        check_devices(_at_new_place(config, moved), files.home, target.host)
        await vm.kernel.blocking(files.check_room, store)
    except BaseException:
        ports.release()
        raise
    return Relocation(
        target=target, files=files, config=config, ports=ports, replugs=bool(spec.deviceChange)
    )


def _at_new_place(config: ConfigInfo, moved: dict[int, DatastorePath]) -> list[VirtualDevice]:
    devices = []
    for device in config.hardware.device:
        if device.key in moved:
            device = copy.copy(device)  # noqa: PLW2901 - the list is of what will be
            backing: Any = with_file(device, str(moved[device.key]))
            backing.parent = None
            device.backing = backing
        devices.append(device)
    return devices


async def _replugged(
    vm: Machine, changes: Sequence[VirtualDeviceSpec], target: RelocationTarget
) -> tuple[ConfigInfo, PortReservations]:
    """Return the configuration with cards plugged into the target's networks."""
    for change in changes:
        is_edit = change.operation == _device.VirtualDeviceSpec.Operation.edit
        if not is_edit or not isinstance(change.device, _device.VirtualEthernetCard):
            raise vmodl.fault.NotSupported(
                msg="A relocation changes network cards and no other devices."
            )
    outcome = await plan_changes(
        vm.kernel,
        copy.deepcopy(vm.config),
        vim.vm.ConfigSpec(deviceChange=list(changes)),
        vm.vmx,
        target.host,
        vm.power_state,
    )
    shown = {device.key: device.connectable for device in vm.devices}
    for device in outcome.config.hardware.device:
        if device.connectable is not None:
            device.connectable = shown.get(device.key)
    return outcome.config, outcome.ports
