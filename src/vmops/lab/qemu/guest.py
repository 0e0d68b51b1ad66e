"""One guest that runs: its process, the line to its QEMU, and what can be asked of it."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

from vmops.lab.hypervisor.errors import HypervisorError
from vmops.lab.hypervisor.port import Progress
from vmops.lab.qemu import memory_file, sockets
from vmops.lab.qemu.argv.growth_state import Growth
from vmops.lab.qemu.process import HeldProcess
from vmops.lab.qemu.qmp import Qmp, QmpClosed
from vmops.lab.qemu.seed import FILE as SEED
from vmops.lab.qemu.serial_relay import SerialRelay, recorded_ports

log = logging.getLogger(__name__)

_CONNECT_TIMEOUT_S = 60.0  # twenty guests may be starting on two processors
_QUIT_TIMEOUT_S = 10.0
_KILL_TIMEOUT_S = 10.0
_SCREEN_TIMEOUT_S = 20.0
# A migration that has moved nothing for so long is stuck: the disk hangs, or QEMU does.
_STALLED_S = 60.0
_POLL_S = 0.02
_MIB = 1024 * 1024
_AT_REST = ("none", "completed", "failed", "cancelled")
UNLIMITED_BANDWIDTH = 1 << 60  # bytes per second; QEMU's default is 128 MiB/s


class Guest:
    """A guest's process and connection. Methods raise HypervisorError."""

    def __init__(self, key: str, directory: Path, process: HeldProcess) -> None:
        self.key = key
        self.directory = directory
        self.process = process
        self.is_ending = False
        """Whether its end is the lab's own doing."""
        self.console: tuple[int, str] | None = None
        """Port and password the console is served with."""
        self.serial_ports: list[SerialRelay] = []
        """Those on the network."""
        self._qmp: Qmp | None = None
        self._connecting = asyncio.Lock()
        self._doing: str | None = None
        self._pictures = itertools.count()

    async def qmp(self) -> Qmp:
        """Return the line to QEMU, made anew if it was lost.

        Raises:
            HypervisorError: QEMU does not answer.
        """
        async with self._connecting:
            if self._qmp is None or self._qmp.is_closed:
                if self._qmp is not None:
                    await self._qmp.close()
                    self._qmp = None
                try:
                    connection = sockets.connect(self.directory / "qmp")
                except OSError as error:
                    raise QmpClosed(f"QEMU is not there: {error}") from error
                self._qmp = await Qmp.open(connection, timeout_s=_CONNECT_TIMEOUT_S)
            return self._qmp

    @contextlib.contextmanager
    def doing(self, what: str) -> Iterator[None]:
        """Let nothing else that changes the guest begin meanwhile; ``what`` as in "it is ...".

        Raises:
            HypervisorError: something else is under way.
        """
        if self._doing is not None:
            raise HypervisorError(f"{self.key} is {self._doing} already")
        self._doing = what
        try:
            yield
        finally:
            self._doing = None

    async def resume_after_loss(self) -> bool:
        """Put a guest found again in order; False if it never was one and must go.

        A lab that died while starting a guest leaves it without processor running; one that died
        while suspending leaves it halted, and as nobody knows of a suspension it has to run on.
        """
        qmp = await self.qmp()
        status = (await qmp.execute("query-status"))["status"]
        if status in ("prelaunch", "inmigrate"):
            return False
        if status != "running":
            await self.go_on()
            log.info("guest %s was %s and runs on", self.key, status)
        return True

    async def open_serial_ports(self) -> None:
        """Serve the serial ports that are on the network.

        Raises:
            HypervisorError: a TCP port is taken.
        """
        for port in await asyncio.to_thread(recorded_ports, self.directory):
            relay = await SerialRelay.open(port)
            self.serial_ports.append(relay)
            await relay.add_line(self.directory)

    async def reset(self) -> None:
        """Pull the reset line."""
        await (await self.qmp()).execute("system_reset")

    async def press_power_button(self) -> None:
        """Raise ACPI's power button event."""
        await (await self.qmp()).execute("system_powerdown")

    async def screenshot(self) -> bytes:
        """Return the screen as PNG."""
        picture = self.directory / f"screen-{next(self._pictures)}.png"
        try:
            arguments = {"filename": str(picture), "format": "png"}
            await (await self.qmp()).execute("screendump", arguments, timeout_s=_SCREEN_TIMEOUT_S)
            return await asyncio.to_thread(picture.read_bytes)
        except OSError as error:
            raise HypervisorError(f"the screen of {self.key} cannot be read: {error}") from error
        finally:
            picture.unlink(missing_ok=True)

    async def suspend(self, memory: Path) -> None:
        """Write memory and device state to a new file, then end the guest.

        Raises:
            HypervisorError: it could not be written, or a suspension is under way; the guest runs
                on and the file is gone, unless the guest itself has ended meanwhile.
        """
        with self.doing("being suspended"):
            async with self._halted() as qmp:
                await self._save(qmp, memory)
                self.is_ending = True
        await self.end()

    async def save_memory(self, memory: Path, first: Callable[[Qmp], Awaitable[None]]) -> None:
        """Write memory and device state to a new file while the guest stands still.

        ``first`` is done before, with the guest standing still already. The guest goes on in any
        case.

        Raises:
            HypervisorError: it could not be written, and the file is gone; or ``first`` failed.
        """
        async with self._halted() as qmp:
            await first(qmp)
            await self._save(qmp, memory)
            await asyncio.shield(qmp.execute("cont"))

    async def go_on(self) -> None:
        """Give up a migration and let the processor run on the disks it had.

        Raises:
            HypervisorError: QEMU does not do so.
        """
        await self.cancel_migration()
        await (await self.qmp()).execute("cont")

    async def cancel_migration(self) -> None:
        """Stop writing or sending memory, and return when that is at rest.

        Raises:
            HypervisorError: QEMU does not do so.
        """
        qmp = await self.qmp()
        await qmp.execute("migrate_cancel")
        deadline = time.monotonic() + _STALLED_S
        while (await qmp.execute("query-migrate")).get("status", "none") not in _AT_REST:
            if time.monotonic() > deadline:
                raise HypervisorError("QEMU does not give up writing the guest's memory")
            await asyncio.sleep(_POLL_S)

    async def machine_type(self) -> str:
        """Return QEMU's name of the board, with its version: "pc-i440fx-7.2"."""
        qmp = await self.qmp()
        machine = await qmp.execute("qom-get", {"path": "/machine", "property": "type"})
        return str(machine).removesuffix("-machine")

    async def end(self) -> None:
        """End the guest at once: by asking QEMU, and if that fails by killing it.

        Raises:
            HypervisorError: not even killing ended it.
        """
        self.is_ending = True
        if not self.process.has_ended:
            try:
                async with asyncio.timeout(_QUIT_TIMEOUT_S):
                    await (await self.qmp()).execute("quit", timeout_s=_QUIT_TIMEOUT_S)
                    await self.process.wait_ended(None)
            except QmpClosed:
                # QEMU may close the line before it has answered, while it still writes its disks.
                await self.process.wait_ended(_QUIT_TIMEOUT_S)
            except (HypervisorError, TimeoutError) as error:
                log.warning("guest %s does not quit and is killed: %s", self.key, error)
            self.process.kill()
            if not await self.process.wait_ended(_KILL_TIMEOUT_S):
                pid = self.process.identity.pid
                raise HypervisorError(f"process {pid} of {self.key} does not end")
        await self.release()

    async def release(self) -> None:
        """Let go of the guest; it runs on."""
        self.process.release()
        for relay in self.serial_ports:
            await relay.close()
        self.serial_ports.clear()
        if self._qmp is not None:
            await self._qmp.close()

    @contextlib.asynccontextmanager
    async def standing_still(self) -> AsyncIterator[None]:
        """Hold the processor while the block runs, with none of the guest's requests under way.

        A guest whose processor was held before stays so.

        Raises:
            HypervisorError: QEMU does not do so.
        """
        qmp = await self.qmp()
        if (await qmp.execute("query-status"))["status"] != "running":
            yield
            return
        async with self._halted() as qmp:
            yield
            await asyncio.shield(qmp.execute("cont"))

    @contextlib.asynccontextmanager
    async def _halted(self) -> AsyncIterator[Qmp]:
        """Hold the processor, and let it go on if the block fails."""
        qmp = await self.qmp()
        try:
            await qmp.execute("stop")
            yield qmp
        except BaseException:
            # Shielded, for a cancelled suspension must not leave a halted guest either.
            await asyncio.shield(self._try_to_go_on())
            raise

    async def _try_to_go_on(self) -> None:
        try:
            await self.go_on()
        except HypervisorError as error:
            log.warning("guest %s does not go on: %s", self.key, error)

    async def _save(self, qmp: Qmp, memory: Path) -> None:
        # Written under its own name from the start: until it is complete its header says so.
        descriptor = memory_file.create(memory)
        try:
            await qmp.execute("migrate-set-parameters", {"max-bandwidth": UNLIMITED_BANDWIDTH})
            await qmp.execute("getfd", {"fdname": "memory"}, descriptor=descriptor)
            await qmp.execute("migrate", {"uri": "fd:memory"})
            await wait_for_migration(qmp, "written", stalled_s=_STALLED_S)
            header = await self._header(qmp)
            await asyncio.to_thread(memory_file.finish, descriptor, header)
        except BaseException:
            memory.unlink(missing_ok=True)
            raise
        finally:
            os.close(descriptor)

    async def growth(self) -> Growth:
        """Return which processors and how much memory the guest has now."""
        qmp = await self.qmp()
        places = await qmp.execute("query-hotpluggable-cpus")
        paths = [str(place.get("qom-path", "")) for place in places]
        memory = await qmp.execute("qom-get", {"path": "/machine", "property": "memory"})
        listed = [each["data"] for each in await qmp.execute("query-memory-devices")]
        sizes = {str(each["id"]): int(each["size"]) // _MIB for each in listed}
        return Growth(
            cpus_at_start=sum(path.startswith("/machine/unattached/") for path in paths),
            max_cpus=len(places),
            memory_at_start_kib=int(memory["size"]) // 1024,
            max_memory_mib=int(memory["max-size"]) // _MIB if memory.get("slots") else 0,
            cpus=sum(path.startswith("/machine/peripheral/") for path in paths),
            modules=tuple(sizes[f"module-{number}"] for number in range(len(sizes))),
        )

    async def _header(self, qmp: Qmp) -> memory_file.MemoryHeader:
        return memory_file.MemoryHeader(
            machine_type=await self.machine_type(),
            has_seed=(self.directory / SEED).is_file(),
            growth=await self.growth(),
            qemu_version=".".join(map(str, qmp.qemu_version)),
        )


async def wait_for_migration(
    qmp: Qmp, verb: str, *, stalled_s: float, progress: Progress | None = None
) -> None:
    """Return when the memory that is being ``verb`` ("written", "read", "moved") is complete.

    Raises:
        HypervisorError: it failed, or nothing has moved for ``stalled_s``.
    """
    seen: object = None
    deadline = time.monotonic() + stalled_s
    while True:
        state = await qmp.execute("query-migrate", timeout_s=stalled_s)
        status = state.get("status")
        if status == "completed":
            return
        if status in ("failed", "cancelled"):
            reason = state.get("error-desc", "QEMU gives no reason")
            raise HypervisorError(f"the guest's memory cannot be {verb}: {reason}")
        ram = state.get("ram", {})
        if progress is not None and ram.get("total"):
            progress(99 - 99 * ram["remaining"] // ram["total"])
        moved = (status, ram.get("transferred"))
        if moved != seen:
            seen, deadline = moved, time.monotonic() + stalled_s
        if time.monotonic() > deadline:
            raise HypervisorError(f"the guest's memory is not {verb}: QEMU is stuck ({status})")
        await asyncio.sleep(_POLL_S)
