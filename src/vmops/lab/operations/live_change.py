"""A reconfiguration of a machine that runs: its guest gets, loses and changes devices with it.

Every step says how it is taken back; what cannot be, the growing of a disk, comes last.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeVar

from pyVmomi import vim

from vmops.lab.hypervisor.errors import HypervisorError
from vmops.lab.hypervisor.port import Cdrom, Disk, GuestDefinition, Nic
from vmops.lab.inventory.file_faults import storage_faults
from vmops.lab.machine.devices.disks import DiskExtension, fill_from_files
from vmops.lab.machine.devices.parts import file_of, flat_backing
from vmops.lab.machine.guest_definition import read_chains, running_definition
from vmops.lab.operations import remote_display
from vmops.lab.operations.hypervisor_calls import hypervisor_faults
from vmops.lab.operations.power import check_locks
from vmops.lab.storage.disks import DiskStore

if TYPE_CHECKING:
    from pyVmomi.vim.vm import ConfigInfo
    from pyVmomi.vim.vm.device import VirtualDevice, VirtualDeviceSpec

    from vmops.lab.hypervisor.port import Controller
    from vmops.lab.machine.machine import Machine
    from vmops.lab.storage.disks import DiskInfo

log = logging.getLogger(__name__)

_device = vim.vm.device
_edit = _device.VirtualDeviceSpec.Operation.edit
_Step = Callable[[], Awaitable[object]]
Part = TypeVar("Part", Disk, Nic, Cdrom)


@dataclass(slots=True)
class LiveChange:
    """What a running guest has to go through to be what a configuration says.

    ``changes`` is the ConfigSpec's deviceChange.
    """

    vm: Machine
    config: ConfigInfo
    changes: Sequence[VirtualDeviceSpec]
    extensions: list[DiskExtension]
    _undo: list[_Step] = field(default_factory=list)

    async def apply(self) -> None:
        """Change the guest; on failure it is as before.

        Raises:
            vim.fault.GenericVmConfigFault: the hypervisor, or the guest, could not do it.
            vim.fault.FileLocked: another running machine has a disk.
            As `remote_display.change` does.
        """
        vm = self.vm
        store = vm.store
        _connect(self.config, vm.devices, self.changes)
        added = [each for each in self.config.hardware.device if _is_new(each, vm.devices)]
        check_locks(vm, added)
        # Said before anything waits, so that of two machines that come at once one is refused.
        vm.coming_devices = added
        old = await vm.kernel.blocking(_chains_there, store, vm.devices)
        new = await vm.kernel.blocking(read_chains, store, self.config.hardware.device)
        before = running_definition(vm, vm.config, old)
        after = running_definition(vm, self.config, new)
        with hypervisor_faults():
            try:
                await self._plug(before, after)
                await self._show_console()
                await self._set_cpus(before, after)
                await self._extend(store)
                if after.memory_mib > before.memory_mib:
                    more = after.memory_mib - before.memory_mib
                    await vm.kernel.hypervisor.add_memory(vm.moid, more)
            except BaseException:
                await self.undo()
                raise

    async def undo(self) -> None:
        """Let the guest be as it was; what cannot be taken back is noted in the log."""
        while self._undo:
            step = self._undo.pop()
            try:
                await step()
            except HypervisorError as error:
                log.warning("%s could not be changed back: %s", self.vm.name, error)

    async def _plug(self, before: GuestDefinition, after: GuestDefinition) -> None:
        hypervisor, key = self.vm.kernel.hypervisor, self.vm.moid
        controllers = {each.key: each for each in (*before.controllers, *after.controllers)}
        gone, come = _difference(before.disks, after.disks, _same_disk)
        for disk in gone:
            await hypervisor.detach_disk(key, disk.key)
            self._undo.append(self._attaching(disk, controllers))
        nics_gone, nics_come = _difference(before.nics, after.nics, _same_nic)
        segments = {each.name: each for each in (*before.segments, *after.segments)}
        for nic in nics_gone:
            # A guest that does not let go of a card keeps it, and its cable.
            self._undo.append(_step(hypervisor.set_link, key, nic.key, connected=nic.connected))
            await hypervisor.detach_nic(key, nic.key)
            self._undo[-1] = _step(hypervisor.attach_nic, key, nic, segments[nic.segment])
        for disk in come:
            await self._attaching(disk, controllers)()
            self._undo.append(_step(hypervisor.detach_disk, key, disk.key))
        for nic in nics_come:
            await hypervisor.attach_nic(key, nic, segments[nic.segment])
            self._undo.append(_step(hypervisor.detach_nic, key, nic.key))
            if not nic.connected:
                await hypervisor.set_link(key, nic.key, connected=False)
        for drive, now in _pairs(before.cdroms, after.cdroms):
            if drive != now:
                self._undo.append(_step(hypervisor.change_cdrom, key, drive))
                await hypervisor.change_cdrom(key, now)
        await self._rewire(before, after)

    async def _set_cpus(self, before: GuestDefinition, after: GuestDefinition) -> None:
        if after.cpus != before.cpus:
            change, cores = self.vm.kernel.hypervisor.set_cpus, after.cores_per_socket
            self._undo.append(_step(change, self.vm.moid, before.cpus, cores))
            await change(self.vm.moid, after.cpus, cores)

    def _attaching(self, disk: Disk, controllers: Mapping[int, Controller]) -> _Step:
        hypervisor = self.vm.kernel.hypervisor
        return _step(hypervisor.attach_disk, self.vm.moid, disk, controllers[disk.controller_key])

    async def _rewire(self, before: GuestDefinition, after: GuestDefinition) -> None:
        """Plug cables in and out; to other networks by moving the guest, which sees no gap."""
        hypervisor, key = self.vm.kernel.hypervisor, self.vm.moid
        kept = list(_pairs(before.nics, after.nics))
        for nic, now in kept:
            if nic.connected != now.connected:
                await hypervisor.set_link(key, nic.key, connected=now.connected)
                self._undo.append(_step(hypervisor.set_link, key, nic.key, connected=nic.connected))
        if any(nic.segment != now.segment for nic, now in kept):
            await hypervisor.migrate(key, after)
            segments = {nic.key: nic.segment for nic, _ in kept}
            nics = [replace(nic, segment=segments.get(nic.key, nic.segment)) for nic in after.nics]
            known = {each.name: each for each in (*before.segments, *after.segments)}
            back = replace(after, nics=tuple(nics), segments=tuple(known.values()))
            self._undo.append(_step(hypervisor.migrate, key, back))

    async def _show_console(self) -> None:
        was = await remote_display.change(self.vm, self.config)
        if was is not None:
            self._undo.append(was)

    async def _extend(self, store: DiskStore) -> None:
        kernel = self.vm.kernel
        for extension in self.extensions:
            with storage_faults(extension.path):
                eager = bool(flat_backing(extension.device).eagerlyScrub)
                info = await kernel.blocking(
                    lambda it=extension, eager=eager: store.extend(
                        it.path, it.capacity_bytes, eager=eager, in_use=True
                    )
                )
            await kernel.hypervisor.extend_disk(
                self.vm.moid, extension.device.key, extension.capacity_bytes
            )
            fill_from_files(extension.device, [info])


def _step(method: Callable[..., Awaitable[object]], *arguments: object, **named: object) -> _Step:
    return lambda: method(*arguments, **named)


def _chains_there(store: DiskStore, devices: Sequence[VirtualDevice]) -> dict[int, list[DiskInfo]]:
    return read_chains(store, devices)


def _is_new(device: VirtualDevice, devices: Sequence[VirtualDevice]) -> bool:
    """Whether a disk is not one the machine has already."""
    if not isinstance(device, _device.VirtualDisk):
        return False
    name = file_of(device)
    return all(getattr(each.backing, "fileName", None) != name for each in devices)


def _connect(
    config: ConfigInfo, devices: Sequence[VirtualDevice], changes: Sequence[VirtualDeviceSpec]
) -> None:
    """Say which devices are connected: new ones that start so, edited ones as the edit says."""
    shown = {each.key: each for each in devices}
    edited = {
        each.device.key
        for each in changes
        if each.operation == _edit and each.device.connectable is not None
    }
    for device in config.hardware.device:
        if device.connectable is None:
            continue
        before = shown.get(device.key)
        if before is None or type(before) is not type(device) or before.connectable is None:
            connected = bool(device.connectable.startConnected or device.connectable.connected)
        elif device.key in edited:
            connected = bool(device.connectable.connected)
        else:
            connected = bool(before.connectable.connected)
        device.connectable = copy.copy(device.connectable)
        device.connectable.connected = connected
        device.connectable.status = "ok" if connected else "untried"


def _same_disk(one: Disk, other: Disk) -> bool:
    return one.layers[:1] == other.layers[:1] and one.controller_key == other.controller_key


def _same_nic(one: Nic, other: Nic) -> bool:
    return one.mac_address == other.mac_address and one.model == other.model


def _difference(
    before: Iterable[Part], after: Iterable[Part], is_same: Callable[[Part, Part], bool]
) -> tuple[list[Part], list[Part]]:
    """Return what goes and what comes; one of the same key that is another thing does both."""
    old, new = {each.key: each for each in before}, {each.key: each for each in after}
    gone = [one for key, one in old.items() if key not in new or not is_same(one, new[key])]
    come = [one for key, one in new.items() if key not in old or not is_same(old[key], one)]
    return gone, come


def _pairs(before: Iterable[Part], after: Iterable[Part]) -> Iterable[tuple[Part, Part]]:
    """Pair what there is before and after."""
    new = {each.key: each for each in after}
    for one in before:
        now = new.get(one.key)
        if now is None or (
            isinstance(one, Nic) and isinstance(now, Nic) and not _same_nic(one, now)
        ):
            continue
        yield one, now
