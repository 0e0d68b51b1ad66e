"""Moving a running guest to a new QEMU: live migration.

A move is decided in one place and one moment: the new QEMU runs the guest as soon as it has all of
it, and from then on the old one never may. Whatever fails or is cancelled, `Move.run` first finds
out on which side of that moment it is.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from pathlib import Path

from vmops.lab import listing
from vmops.lab.hypervisor.errors import HypervisorError
from vmops.lab.hypervisor.port import GuestDefinition, Migration, Progress
from vmops.lab.qemu.accelerator import accelerator
from vmops.lab.qemu.guest import UNLIMITED_BANDWIDTH, Guest, wait_for_migration
from vmops.lab.qemu.launch import NVRAM, Incoming, clean, launch
from vmops.lab.qemu.network import Segments
from vmops.lab.qemu.process import HeldProcess, ProcessIdentity
from vmops.lab.qemu.qmp import Qmp, QmpClosed, QmpEvent, QmpEvents
from vmops.lab.qemu.seed import FILE as SEED
from vmops.lab.shielded import to_its_end

log = logging.getLogger(__name__)

INCOMING_SUFFIX = ".incoming"
"""Of the directory of a guest that is arriving; no key has a dot."""
ARRIVED_SUFFIX = ".arrived"
"""Of the same directory once the guest runs there for good."""
# What the guest still writes when this much time would move the rest is moved with it halted.
_DOWNTIME_LIMIT_MS = 50
_STALLED_S = 60.0
_ARRIVAL_S = 30.0


class Move:
    """One move of one guest. ``machine`` is the guest at its new place."""

    def __init__(
        self, source: Guest, machine: GuestDefinition, segments: Segments, progress: Progress | None
    ) -> None:
        self._source = source
        self._machine = machine
        self._segments = segments
        self._progress = progress
        self._percent = 0
        self._is_halted = False
        """Whether the guest stands still while it is moved."""
        self._started: QmpEvent | None = None
        self._figures: Migration | None = None

    async def run(self) -> Guest:
        """Return the guest at its new place, where it runs; the old QEMU only has to be ended.

        Raises:
            HypervisorError: it could not be moved and runs on where it was.
        """
        source = self._source
        began = time.monotonic()
        growth = await source.growth()
        # See `accelerator`: memory of a round size, as modules are, is not safe to move under a
        # translated guest that writes to it.
        self._is_halted = bool(growth.modules and accelerator().memory_short_kib)
        seed = source.directory / SEED
        ours, theirs = socket.socketpair()
        with ours:
            with theirs:
                incoming = Incoming(
                    descriptor=theirs.fileno(),
                    machine_type=await source.machine_type(),
                    is_alive=True,
                    variables=source.directory / NVRAM,
                    has_seed=seed.is_file(),
                    seed=seed if seed.is_file() else None,
                    growth=growth,
                )
                directory = source.directory.with_name(source.key + INCOMING_SUFFIX)
                target = await launch(self._machine, directory, self._segments, incoming)
            leaving, arriving = await self._prepare(target)
            with leaving.events() as stops, arriving.events() as starts:
                failure = await self._send(leaving, ours)
                if not await to_its_end(self._arrives(target, starts)):
                    raise failure or HypervisorError(f"{source.key} did not go on after its move")
                await self._measure(leaving, stops, starts, began)
        if isinstance(failure, asyncio.CancelledError):
            log.info("guest %s had moved when its move was cancelled", source.key)
        return target

    def figures(self) -> Migration:
        """Return how it went; to be asked when it is over."""
        return self._figures or Migration(downtime_ms=0.0, total_ms=0.0, transferred_bytes=0)

    async def _prepare(self, target: Guest) -> tuple[Qmp, Qmp]:
        """Hold both ends; what the guest will say over there is heard from the start."""
        try:
            for relay in self._source.serial_ports:
                await relay.add_line(target.directory)
            return await self._source.qmp(), await target.qmp()
        except BaseException:
            await to_its_end(_discard(target))
            raise

    async def _send(self, qmp: Qmp, connection: socket.socket) -> BaseException | None:
        """Send the guest, and return what went wrong."""
        try:
            parameters = {
                "max-bandwidth": UNLIMITED_BANDWIDTH,
                "downtime-limit": _DOWNTIME_LIMIT_MS,
            }
            await qmp.execute("migrate-set-parameters", parameters)
            # A guest that writes faster than it can be sent is slowed down until it does not.
            converge = {"capability": "auto-converge", "state": True}
            await qmp.execute("migrate-set-capabilities", {"capabilities": [converge]})
            await qmp.execute("getfd", {"fdname": "move"}, descriptor=connection.fileno())
            if self._is_halted:
                await qmp.execute("stop")
            connection.close()  # so that the end of either QEMU is seen by the other
            await qmp.execute("migrate", {"uri": "fd:move"})
            await wait_for_migration(qmp, "moved", stalled_s=_STALLED_S, progress=self._show)
        except BaseException as error:  # noqa: BLE001 - raised again when it is known who runs
            return error
        return None

    async def _arrives(self, target: Guest, starts: QmpEvents) -> bool:
        """Return whether the guest runs at its new place; if not, it runs on at the old one."""
        if await self._has_left():
            try:
                if self._is_halted:
                    await (await target.qmp()).execute("cont")
                self._started = await starts.wait_for("RESUME", timeout_s=_ARRIVAL_S)
            except HypervisorError as error:
                log.warning("guest %s does not arrive: %s", self._source.key, error)
            else:
                return True
        # Never both: the new one ends before the old one goes on.
        await _discard(target)
        try:
            await self._source.go_on()
        except HypervisorError as error:
            log.warning("guest %s does not go on: %s", self._source.key, error)
        return False

    async def _has_left(self) -> bool:
        """Stop the sending if it still goes on; return whether everything was sent."""
        try:
            await self._source.cancel_migration()
            qmp = await self._source.qmp()
            state = await qmp.execute("query-migrate")
        except QmpClosed:
            return True  # the old QEMU is gone; whether all was sent shows the new one
        except HypervisorError as error:
            log.warning("guest %s: %s", self._source.key, error)
            return False
        return bool(state.get("status") == "completed")

    async def _measure(
        self, leaving: Qmp, stops: QmpEvents, starts: QmpEvents, began: float
    ) -> None:
        total_ms = (time.monotonic() - began) * 1000
        try:
            stopped = await stops.wait_for("STOP", timeout_s=1.0)
            state = await leaving.execute("query-migrate")
        except HypervisorError as error:
            log.info("guest %s moved unmeasured: %s", self._source.key, error)
            return
        assert self._started is not None  # noqa: S101 - it has arrived
        self._figures = Migration(
            downtime_ms=(self._started.at_s - stopped.at_s) * 1000,
            total_ms=total_ms,
            transferred_bytes=int(state.get("ram", {}).get("transferred", 0)),
        )

    def _show(self, percent: int) -> None:
        if self._progress is not None and percent > self._percent:
            self._percent = percent
            self._progress(percent)


async def _discard(guest: Guest) -> None:
    await guest.end()
    await asyncio.to_thread(_remove, guest.directory)


def bring_home(guest: Guest, home: Path) -> None:
    """Make the directory of a guest that has arrived its lasting one. Blocks.

    The guest that was there has ended. Cut off anywhere it can be done again.
    """
    if (guest.directory / "process").exists():
        clean(home)
    _bring(guest.directory, home)
    guest.directory = home


def mark_arrived(guest: Guest) -> None:
    """Note on the disk that this is the guest from now on. Blocks."""
    arrived = guest.directory.with_name(guest.key + ARRIVED_SUFFIX)
    guest.directory.rename(arrived)
    guest.directory = arrived


async def recover_moves(guests_dir: Path) -> None:
    """Finish or undo the moves that a lab was in when it died, before any guest is attached."""
    for directory in await asyncio.to_thread(listing.files, guests_dir, INCOMING_SUFFIX):
        await _recover_incoming(directory)
    for directory in await asyncio.to_thread(listing.files, guests_dir, ARRIVED_SUFFIX):
        home = guests_dir / directory.stem
        if (directory / "process").exists():
            await _end_process(home)
            await asyncio.to_thread(clean, home)
        await asyncio.to_thread(_bring, directory, home)


async def _recover_incoming(directory: Path) -> None:
    identity = await asyncio.to_thread(ProcessIdentity.load, directory / "process")
    process = HeldProcess.hold(identity) if identity is not None else None
    if process is None:
        await asyncio.to_thread(_remove, directory)
        return
    guest = Guest(directory.stem, directory, process)
    try:
        status = (await (await guest.qmp()).execute("query-status"))["status"]
    except HypervisorError as error:
        log.warning("guest %s was arriving and does not answer: %s", guest.key, error)
        status = "unknown"
    if status == "running":
        await guest.release()
        await asyncio.to_thread(mark_arrived, guest)
        log.info("guest %s had arrived", guest.key)
    else:
        await _discard(guest)


async def _end_process(directory: Path) -> None:
    identity = await asyncio.to_thread(ProcessIdentity.load, directory / "process")
    process = HeldProcess.hold(identity) if identity is not None else None
    if process is not None:
        await Guest(directory.name, directory, process).end()


def _bring(directory: Path, home: Path) -> None:
    # The record first: while it is here, the one at home is the old guest's.
    files = sorted(listing.files(directory), key=lambda file: file.name != "process")
    for file in files:
        file.replace(home / file.name)
    directory.rmdir()


def _remove(directory: Path) -> None:
    if directory.is_dir():
        for file in listing.files(directory):
            file.unlink(missing_ok=True)
        directory.rmdir()
