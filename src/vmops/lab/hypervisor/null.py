"""A hypervisor without guests: power states change and nothing runs, for speed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NoReturn, Protocol

from vmops.lab.hypervisor.errors import HypervisorError
from vmops.lab.hypervisor.plain_screen import plain_screen
from vmops.lab.hypervisor.port import (
    Cdrom,
    Controller,
    Disk,
    DiskLayer,
    DiskStatistics,
    GuestDefinition,
    GuestStatistics,
    Migration,
    Nic,
    NicStatistics,
    Progress,
    Segment,
)
from vmops.lab.hypervisor.tools import (
    NO_TOOLS,
    ToolsCommand,
    ToolsListener,
    ToolsNotRunning,
    ToolsRefused,
    ToolsState,
)
from vmops.lab.shielded import to_its_end

_KIND = "vmops lab memory without a guest"
_TOOLS_KEY = "vmops.lab.tools"
_TOOLS = ToolsState(version="1", running=True, heartbeat="green")
_SCREEN = ("No guest runs here", "This lab changes", "power states only")


class DiskFiles(Protocol):
    """Who moves what is in disks' files, there being no guest's process to do it. Blocking.

    Both raise HypervisorError, and the disk has its content then.
    """

    def merge(self, layers: Sequence[DiskLayer]) -> None:
        """Write what all layers but the last hold, top first, to the last."""

    def copy(self, source: Sequence[DiskLayer], target: Sequence[DiskLayer]) -> None:
        """Write a disk to other files; see `vmops.lab.hypervisor.port.Hypervisor.mirror_disk`."""


class NullHypervisor:
    """`vmops.lab.hypervisor.port.Hypervisor` of machines that are on in name only.

    A machine behaves as a guest would that does nothing but go off when its power button is
    pressed. With "running" as its extra configuration ``vmops.lab.tools`` it also behaves as if
    tools ran in it: it goes off when they are told to shut down, and does nothing when they are
    told to reboot, sleep, freeze or thaw; with "refusing" they never freeze, and with "stubborn" it
    does not go off. It has no address.
    Nothing survives a restart. No guest writes, but what was on the disks before, in whatever
    layer, is merged and moved as it would be with one.
    """

    def __init__(self, files: DiskFiles) -> None:
        self._files = files
        self._running: dict[str, GuestDefinition] = {}
        self._with_tools: dict[str, str] = {}
        self._on_stopped: Callable[[str], None] = lambda _key: None

    async def start(
        self, on_stopped: Callable[[str], None], tools: ToolsListener | None = None
    ) -> None:
        """Begin with no machine running."""
        self._running.clear()
        self._on_stopped = on_stopped

    async def stop(self, *, keep_guests: bool) -> None:
        """Forget all machines."""
        self._running.clear()

    async def running(self) -> frozenset[str]:
        """Return the keys of the machines that are on."""
        return frozenset(self._running)

    async def power_on(self, machine: GuestDefinition) -> None:
        """Turn the machine on."""
        if machine.key in self._running:
            raise HypervisorError(f"{machine.name} runs already")
        self._with_tools[machine.key] = machine.extra_config.get(_TOOLS_KEY, "")
        self._running[machine.key] = machine

    async def resume(self, machine: GuestDefinition, memory: Path) -> None:
        """Turn the machine on, if the file is what `suspend` wrote."""
        try:
            content = json.loads(await asyncio.to_thread(memory.read_bytes))
        except (OSError, ValueError) as error:
            raise HypervisorError(f"the machine's memory cannot be read: {error}") from error
        if not isinstance(content, dict) or content.get("kind") != _KIND:
            raise HypervisorError(f"{memory.name} is not the memory of a machine without a guest")
        await self.power_on(machine)

    async def suspend(self, key: str, memory: Path) -> None:
        """Write a file that says there is no memory, and turn the machine off."""
        self._require(key)
        await self._write_memory(key, memory)
        self._running.pop(key, None)

    async def power_off(self, key: str) -> None:
        """Turn the machine off."""
        self._running.pop(key, None)

    async def reset(self, key: str) -> None:
        """Do nothing but check that the machine is on."""
        self._require(key)

    async def press_power_button(self, key: str) -> None:
        """Turn the machine off soon after returning, as an obedient guest would."""
        self._require(key)
        asyncio.get_running_loop().call_soon(self._obey, key)

    async def screenshot(self, key: str) -> bytes:
        """Return a picture that says there is nothing to see."""
        self._require(key)
        return await asyncio.to_thread(plain_screen, _SCREEN)

    async def attach_disk(self, key: str, disk: Disk, controller: Controller) -> None:
        """Note the disk."""
        machine = self._require(key)
        if any(each.key == disk.key for each in machine.disks):
            raise HypervisorError(f"{machine.name} has a disk {disk.key} already")
        known = machine.controllers
        if all(each.key != controller.key for each in known):
            known = (*known, controller)
        self._running[key] = replace(machine, disks=(*machine.disks, disk), controllers=known)

    async def detach_disk(self, key: str, disk_key: int) -> None:
        """Forget the disk."""
        self._change_disk(key, disk_key, None)

    async def extend_disk(self, key: str, disk_key: int, capacity_bytes: int) -> None:
        """Do nothing but check that the disk is there: nobody looks at its size."""
        self._disk(key, disk_key)

    async def change_cdrom(self, key: str, cdrom: Cdrom) -> None:
        """Note the drive's image."""
        machine = self._require(key)
        if all(each.key != cdrom.key for each in machine.cdroms):
            raise HypervisorError(f"{machine.name} has no CD-ROM drive {cdrom.key}")
        drives = tuple(cdrom if each.key == cdrom.key else each for each in machine.cdroms)
        self._running[key] = replace(machine, cdroms=drives)

    async def attach_nic(self, key: str, nic: Nic, segment: Segment) -> None:
        """Note the card."""
        machine = self._require(key)
        if any(each.key == nic.key for each in machine.nics):
            raise HypervisorError(f"{machine.name} has a network card {nic.key} already")
        self._running[key] = replace(machine, nics=(*machine.nics, nic))

    async def detach_nic(self, key: str, nic_key: int) -> None:
        """Forget the card."""
        self._change_nic(key, nic_key, None)

    async def set_link(self, key: str, nic_key: int, *, connected: bool) -> None:
        """Note the card's link."""
        nic = self._nic(key, nic_key)
        self._change_nic(key, nic_key, replace(nic, connected=connected))

    async def set_cpus(self, key: str, cpus: int, cores_per_socket: int) -> None:
        """Note the number."""
        self._running[key] = replace(self._require(key), cpus=cpus)

    async def add_memory(self, key: str, size_mib: int) -> None:
        """Note the memory."""
        machine = self._require(key)
        self._running[key] = replace(machine, memory_mib=machine.memory_mib + size_mib)

    async def snapshot_disks(
        self, key: str, tops: Mapping[int, DiskLayer], memory: Path | None = None
    ) -> None:
        """Note the layers, and write a file that says there is no memory."""
        disks = {disk_key: self._disk(key, disk_key) for disk_key in tops}
        if memory is not None:
            await self._write_memory(key, memory)
        for disk_key, top in tops.items():
            disk = disks[disk_key]
            self._change_disk(key, disk_key, replace(disk, layers=(top, *disk.layers)))

    async def collapse(
        self, key: str, disk_key: int, top: Path, into: Path, progress: Progress | None = None
    ) -> None:
        """Merge the layers, and forget those that are merged."""
        disk = self._disk(key, disk_key)
        files = [layer.file for layer in disk.layers]
        if top not in files or into not in files[files.index(top) + 1 :]:
            raise HypervisorError(f"{into.name} is not a layer under {top.name}")
        first, last = files.index(top), files.index(into)
        await to_its_end(asyncio.to_thread(self._files.merge, disk.layers[first : last + 1]))
        kept = (*disk.layers[:first], *disk.layers[last:])
        self._change_disk(key, disk_key, replace(disk, layers=kept))
        if progress is not None:
            progress(100)

    async def mirror_disk(
        self,
        key: str,
        disk_key: int,
        target: tuple[DiskLayer, ...],
        progress: Progress | None = None,
    ) -> None:
        """Copy the disk, or its topmost layer, and note the layers."""
        disk = self._disk(key, disk_key)
        await to_its_end(asyncio.to_thread(self._files.copy, disk.layers, target))
        self._change_disk(key, disk_key, replace(disk, layers=target))
        if progress is not None:
            progress(100)

    async def migrate(
        self, key: str, machine: GuestDefinition, progress: Progress | None = None
    ) -> Migration:
        """Note the machine; what does not run does not stand still either."""
        self._require(key)
        self._running[key] = machine
        if progress is not None:
            progress(100)
        return Migration(downtime_ms=0.0, total_ms=0.0, transferred_bytes=0)

    async def open_vnc(self, key: str) -> NoReturn:
        """Refuse: there is nothing to talk to."""
        self._require(key)
        raise HypervisorError("no guest runs here, so there is no console to connect to")

    async def serve_vnc(self, key: str, port: int, password: str) -> None:
        """Do nothing but check that the machine is on."""
        self._require(key)

    async def stop_vnc(self, key: str) -> None:
        """Do nothing but check that the machine is on."""
        self._require(key)

    async def statistics(self, key: str) -> GuestStatistics:
        """Return what no guest uses: nothing."""
        machine = self._require(key)
        nothing = DiskStatistics(read_bytes=0, written_bytes=0, reads=0, writes=0)
        silence = NicStatistics(received_bytes=0, sent_bytes=0, received_packets=0, sent_packets=0)
        return GuestStatistics(
            cpu_time_ns=0,
            resident_bytes=0,
            disks={disk.key: nothing for disk in machine.disks},
            nics={nic.key: silence for nic in machine.nics},
        )

    def tools(self, key: str) -> ToolsState:
        """Return what the machine was told to show when it was turned on."""
        has_tools = key in self._running and self._with_tools.get(key) in (
            "running",
            "refusing",
            "stubborn",
        )
        return _TOOLS if has_tools else NO_TOOLS

    async def tools_command(self, key: str, command: ToolsCommand) -> None:
        """Turn the machine off if that is the command, and else do nothing."""
        if not self.tools(key).running:
            raise ToolsNotRunning(f"no tools run in the guest of {key}")
        if command == "freeze" and self._with_tools[key] == "refusing":
            raise ToolsRefused(command, "application", "this machine is one that refuses")
        if command == "shutdown" and self._with_tools[key] != "stubborn":
            asyncio.get_running_loop().call_soon(self._obey, key)

    def _obey(self, key: str) -> None:
        if key in self._running:
            self._running.pop(key, None)
            self._on_stopped(key)

    async def _write_memory(self, key: str, memory: Path) -> None:
        content = json.dumps({"kind": _KIND, "machine": key}).encode()
        try:
            await asyncio.to_thread(_write_new, memory, content)
        except OSError as error:
            raise HypervisorError(f"no memory file can be written: {error}") from error

    def _require(self, key: str) -> GuestDefinition:
        machine = self._running.get(key)
        if machine is None:
            raise HypervisorError(f"{key} does not run")
        return machine

    def _disk(self, key: str, disk_key: int) -> Disk:
        machine = self._require(key)
        for disk in machine.disks:
            if disk.key == disk_key:
                return disk
        raise HypervisorError(f"{machine.name} has no disk {disk_key}")

    def _nic(self, key: str, nic_key: int) -> Nic:
        machine = self._require(key)
        for nic in machine.nics:
            if nic.key == nic_key:
                return nic
        raise HypervisorError(f"{machine.name} has no network card {nic_key}")

    def _change_disk(self, key: str, disk_key: int, changed: Disk | None) -> None:
        self._disk(key, disk_key)
        machine = self._require(key)
        disks = (changed if disk.key == disk_key else disk for disk in machine.disks)
        self._running[key] = replace(machine, disks=tuple(filter(None, disks)))

    def _change_nic(self, key: str, nic_key: int, changed: Nic | None) -> None:
        self._nic(key, nic_key)
        machine = self._require(key)
        nics = (changed if nic.key == nic_key else nic for nic in machine.nics)
        self._running[key] = replace(machine, nics=tuple(filter(None, nics)))


def _write_new(file: Path, content: bytes) -> None:
    with file.open("xb") as stream:
        stream.write(content)
