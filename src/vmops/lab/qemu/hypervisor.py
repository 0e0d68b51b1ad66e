"""Guests on QEMU, which outlive the lab and are found again by the next one."""

from __future__ import annotations

import asyncio
import collections
import logging
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path

from vmops.lab import listing
from vmops.lab.hypervisor.errors import HypervisorError
from vmops.lab.hypervisor.port import (
    Cdrom,
    Controller,
    Disk,
    DiskLayer,
    GuestDefinition,
    GuestStatistics,
    Migration,
    Nic,
    Progress,
    Segment,
)
from vmops.lab.hypervisor.tools import NobodyListens, ToolsCommand, ToolsListener, ToolsState
from vmops.lab.qemu import console, growth, hot_disks, hot_nics, memory_file, snapshots
from vmops.lab.qemu.appended import keep_trimmed
from vmops.lab.qemu.guest import Guest
from vmops.lab.qemu.launch import Incoming, clean, launch
from vmops.lab.qemu.migration import Move, bring_home, mark_arrived, recover_moves
from vmops.lab.qemu.mirroring import mirror_disk
from vmops.lab.qemu.network import Segments
from vmops.lab.qemu.process import HeldProcess, ProcessIdentity
from vmops.lab.qemu.statistics import statistics
from vmops.lab.qemu.tools_links import ToolsLinks
from vmops.lab.shielded import to_its_end

_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
# Translating guests keep a processor each busy while they start; more at once only start later.
_STARTING_AT_ONCE = 2 * (os.cpu_count() or 1)


class QemuHypervisor:
    """`vmops.lab.hypervisor.port.Hypervisor` on QEMU.

    ``run_dir`` holds a directory for each guest (``guests/<key>``: process record, monitor socket,
    log) and ``segments``. One event loop; one hypervisor for a ``run_dir`` at a time.
    """

    def __init__(
        self, run_dir: Path, *, log: logging.Logger | None = None, guests_reach_host: bool = False
    ) -> None:
        self._guests_dir = run_dir.absolute() / "guests"
        self._segments = Segments(run_dir.absolute() / "segments", is_open=guests_reach_host)
        self._log = log or logging.getLogger(__name__)
        self._guests: dict[str, Guest] = {}
        self._watchers: dict[str, asyncio.Task[None]] = {}
        self._starting: collections.defaultdict[str, asyncio.Lock] = collections.defaultdict(
            asyncio.Lock
        )
        self._start_slots = asyncio.Semaphore(_STARTING_AT_ONCE)
        self._moving: set[asyncio.Task[object] | None] = set()
        self._trimming: asyncio.Task[None] | None = None
        self._is_stopping = False
        self._on_stopped: Callable[[str], None] = lambda _key: None
        self._tools = ToolsLinks()

    async def start(
        self, on_stopped: Callable[[str], None], tools: ToolsListener | None = None
    ) -> None:
        """Re-attach the guests that still run."""
        self._on_stopped = on_stopped
        self._tools.listener = tools or NobodyListens()
        self._is_stopping = False
        await recover_moves(self._guests_dir)
        folders = await asyncio.to_thread(listing.files, self._guests_dir)
        records = [each / "process" for each in folders if (each / "process").exists()]
        await asyncio.gather(*(self._attach(record) for record in records))
        self._trimming = asyncio.create_task(keep_trimmed(self._pids))

    def _pids(self) -> list[int]:
        return [guest.process.identity.pid for guest in self._guests.values()]

    async def stop(self, *, keep_guests: bool) -> None:
        """Let go of all guests and segments, or end them."""
        self._is_stopping = True
        if self._trimming is not None:
            self._trimming.cancel()
            await asyncio.gather(self._trimming, return_exceptions=True)
        moves = [move for move in self._moving if move is not None]
        for move in moves:
            move.cancel()
        await asyncio.gather(*moves, return_exceptions=True)
        for starting in list(self._starting.values()):
            async with starting:
                pass  # a guest that is being started is one to let go of, too
        guests = list(self._guests.values())
        for watcher in self._watchers.values():
            watcher.cancel()
        await asyncio.gather(*self._watchers.values(), return_exceptions=True)
        self._watchers.clear()
        self._guests.clear()
        await self._tools.close()
        if keep_guests:
            for guest in guests:
                await guest.release()
            self._segments.release()
            return
        outcomes = await asyncio.gather(*map(self._end, guests), return_exceptions=True)
        await self._segments.end_all()
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome

    async def running(self) -> frozenset[str]:
        """Return the keys of the guests whose process runs."""
        return frozenset(key for key, guest in self._guests.items() if not guest.process.has_ended)

    async def power_on(self, machine: GuestDefinition) -> None:
        """Start the guest; returns once its processor runs."""
        await self._launch(machine, None)

    async def resume(self, machine: GuestDefinition, memory: Path) -> None:
        """Start the guest from memory; the file stays, for the caller to remove."""
        descriptor, header = memory_file.open_stream(memory.absolute())
        try:
            incoming = Incoming(
                descriptor=descriptor,
                machine_type=header.machine_type,
                growth=header.growth,
                has_seed=header.has_seed,
            )
            await self._launch(machine, incoming)
        finally:
            os.close(descriptor)

    async def suspend(self, key: str, memory: Path) -> None:
        """Write the guest's memory to a file that must not exist yet, then end the guest."""
        guest = self._guest(key)
        await guest.suspend(memory.absolute())
        async with self._starting[key]:
            await self._forget(guest)

    async def power_off(self, key: str) -> None:
        """End the guest; if it is just being started, as soon as it has."""
        _check(key)
        async with self._starting[key]:
            guest = self._guests.get(key)
            if guest is not None:
                await guest.end()
                await self._forget(guest)

    async def reset(self, key: str) -> None:
        """Pull the reset line."""
        await self._guest(key).reset()
        self._tools.machine_was_reset(key)

    async def press_power_button(self, key: str) -> None:
        """Ask the guest by ACPI to power off; whether it listens is its own affair."""
        await self._guest(key).press_power_button()

    async def screenshot(self, key: str) -> bytes:
        """Return the guest's screen as PNG."""
        return await self._guest(key).screenshot()

    async def attach_disk(self, key: str, disk: Disk, controller: Controller) -> None:
        """Plug a disk, after its controller if that is new."""
        await hot_disks.attach_disk(self._guest(key), disk, controller)

    async def detach_disk(self, key: str, disk_key: int) -> None:
        """Unplug a disk and close its files."""
        await hot_disks.detach_disk(self._guest(key), disk_key)

    async def extend_disk(self, key: str, disk_key: int, capacity_bytes: int) -> None:
        """Let the disk's file and the guest's view of it grow."""
        await hot_disks.extend_disk(self._guest(key), disk_key, capacity_bytes)

    async def change_cdrom(self, key: str, cdrom: Cdrom) -> None:
        """Change what is in a drive."""
        await hot_disks.change_cdrom(self._guest(key), cdrom)

    async def attach_nic(self, key: str, nic: Nic, segment: Segment) -> None:
        """Plug a network card."""
        await hot_nics.attach_nic(self._guest(key), nic, segment, self._segments)

    async def detach_nic(self, key: str, nic_key: int) -> None:
        """Unplug a network card."""
        await hot_nics.detach_nic(self._guest(key), nic_key)

    async def set_link(self, key: str, nic_key: int, *, connected: bool) -> None:
        """Plug a card's cable in or out."""
        await hot_nics.set_link(self._guest(key), nic_key, connected=connected)

    async def set_cpus(self, key: str, cpus: int, cores_per_socket: int) -> None:
        """Add processors, or take them away."""
        await growth.set_cpus(self._guest(key), cpus, cores_per_socket)

    async def add_memory(self, key: str, size_mib: int) -> None:
        """Add memory to a running guest."""
        await growth.add_memory(self._guest(key), size_mib)

    async def snapshot_disks(
        self, key: str, tops: Mapping[int, DiskLayer], memory: Path | None = None
    ) -> None:
        """Put new layers on all the disks given, at one moment."""
        absolute = memory.absolute() if memory is not None else None
        await snapshots.snapshot_disks(self._guest(key), tops, absolute)

    async def collapse(
        self, key: str, disk_key: int, top: Path, into: Path, progress: Progress | None = None
    ) -> None:
        """Merge layers of a disk downward."""
        await snapshots.collapse(self._guest(key), disk_key, top, into, progress)

    async def mirror_disk(
        self,
        key: str,
        disk_key: int,
        target: tuple[DiskLayer, ...],
        progress: Progress | None = None,
    ) -> None:
        """Move a disk to other files."""
        await mirror_disk(self._guest(key), disk_key, target, progress)

    async def migrate(
        self, key: str, machine: GuestDefinition, progress: Progress | None = None
    ) -> Migration:
        """Move the guest to a new QEMU."""
        source = self._guest(key)
        if machine.key != key:
            raise HypervisorError(f"{key} cannot become {machine.key} by moving")
        task = asyncio.current_task()
        if task is not None:
            self._moving.add(task)
        try:
            with source.doing("being migrated"):
                move = Move(source, machine, self._segments, progress)
                target = await move.run()
                await to_its_end(self._replace(source, target))
        finally:
            self._moving.discard(task)
        if progress is not None:
            progress(100)
        return move.figures()

    async def open_vnc(self, key: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Return a new connection to the guest's console."""
        return await console.open_vnc(self._guest(key))

    async def serve_vnc(self, key: str, port: int, password: str) -> None:
        """Serve the guest's console on a port of 127.0.0.1."""
        await console.serve_vnc(self._guest(key), port, password)

    async def stop_vnc(self, key: str) -> None:
        """Close that port."""
        await console.stop_vnc(self._guest(key))

    async def statistics(self, key: str) -> GuestStatistics:
        """Return what the guest uses now."""
        return await statistics(self._guest(key), self._segments)

    def tools(self, key: str) -> ToolsState:
        """Return what is known of the tools in the guest."""
        return self._tools.state(key)

    async def tools_command(self, key: str, command: ToolsCommand) -> None:
        """Have the tools in the guest do something."""
        await self._tools.command(key, command)

    def leases(self, segment_name: str) -> Mapping[str, str]:
        """Return the IPv4 address of each card by MAC address, on a segment with NAT. Blocks."""
        return self._segments.leases(segment_name)

    async def _launch(self, machine: GuestDefinition, incoming: Incoming | None) -> None:
        _check(machine.key)
        async with self._starting[machine.key], self._start_slots:
            running = self._guests.get(machine.key)
            if self._is_stopping:
                raise HypervisorError("the lab is being stopped")
            if running is not None:
                if not running.process.has_ended:
                    raise HypervisorError(f"{machine.name} runs already")
                await self._forget(running)
            guest = await launch(machine, self._guests_dir / machine.key, self._segments, incoming)
            self._watch(guest)

    async def _replace(self, source: Guest, target: Guest) -> None:
        """Let the guest that arrived take its own place."""
        key = source.key
        async with self._starting[key]:
            if self._guests.get(key) is not source or source.is_ending:
                await self._end(target)
                raise HypervisorError(f"{key} ended while it was moved")
            await asyncio.to_thread(mark_arrived, target)
            self._watchers.pop(key).cancel()
            self._watch(target)
            # The lines of the old QEMU end with it.
            target.serial_ports, source.serial_ports = source.serial_ports, []
            await source.end()
            await asyncio.to_thread(bring_home, target, source.directory)
            if source.console is not None:
                try:
                    await console.serve_vnc(target, *source.console)
                except HypervisorError as error:
                    self._log.warning("the console of %s is not served: %s", key, error)

    async def _attach(self, record: Path) -> None:
        key = record.parent.name
        identity = await asyncio.to_thread(ProcessIdentity.load, record)
        process = HeldProcess.hold(identity) if identity and _KEY.fullmatch(key) else None
        if process is None:
            await asyncio.to_thread(clean, record.parent)
            return
        guest = Guest(key, record.parent, process)
        try:
            is_whole = await guest.resume_after_loss()
        except HypervisorError as error:
            # It is somebody's guest: kept, and asked again with the next command.
            self._log.warning("guest %s runs and does not answer: %s", key, error)
            is_whole = True
        if is_whole:
            try:
                await guest.open_serial_ports()
            except HypervisorError as error:
                self._log.warning("guest %s: %s", key, error)
            self._watch(guest)
            self._log.info("guest %s found again as process %d", key, process.identity.pid)
        else:
            await self._end(guest)

    def _watch(self, guest: Guest) -> None:
        self._guests[guest.key] = guest
        self._watchers[guest.key] = asyncio.create_task(self._see_end(guest))
        self._tools.follow(guest)

    async def _see_end(self, guest: Guest) -> None:
        await guest.process.wait_ended(None)
        if guest.is_ending:
            return
        self._log.info("guest %s ended with %s", guest.key, guest.process.exit_code)
        async with self._starting[guest.key]:
            del self._guests[guest.key], self._watchers[guest.key]
            await guest.release()
            await asyncio.to_thread(clean, guest.directory)
        self._on_stopped(guest.key)

    async def _end(self, guest: Guest) -> None:
        await guest.end()
        await asyncio.to_thread(clean, guest.directory)

    async def _forget(self, guest: Guest) -> None:
        if self._guests.get(guest.key) is guest:
            del self._guests[guest.key]
            watcher = self._watchers.pop(guest.key)
            watcher.cancel()
            await asyncio.gather(watcher, return_exceptions=True)
            await asyncio.to_thread(clean, guest.directory)

    def _guest(self, key: str) -> Guest:
        guest = self._guests.get(key)
        if guest is None or guest.process.has_ended:
            raise HypervisorError(f"{key} does not run")
        return guest


def _check(key: str) -> None:
    """Refuse a key that could name another directory."""
    if not _KEY.fullmatch(key):
        raise HypervisorError(f"{key!r} cannot be a machine's key")
