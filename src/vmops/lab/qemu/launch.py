"""Starting one guest: its directory, its QEMU, and its first instruction."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shlex
import shutil
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vmops.lab import listing
from vmops.lab.hypervisor.errors import HypervisorError
from vmops.lab.hypervisor.port import GuestDefinition, NetworkSerialPort, Segment, SerialPort
from vmops.lab.qemu import sockets
from vmops.lab.qemu.accelerator import accelerator
from vmops.lab.qemu.argv import command_line
from vmops.lab.qemu.argv.growth import at_start
from vmops.lab.qemu.argv.growth_state import Growth
from vmops.lab.qemu.argv.host import Firmware, Host
from vmops.lab.qemu.argv.ports import guestinfo_keys
from vmops.lab.qemu.capabilities import SANDBOX, Capabilities, capabilities
from vmops.lab.qemu.guest import Guest, wait_for_migration
from vmops.lab.qemu.layer_check import check_layer
from vmops.lab.qemu.missing import find_efi_firmware
from vmops.lab.qemu.network import Segments
from vmops.lab.qemu.process import HeldProcess, ProcessIdentity, start_detached
from vmops.lab.qemu.qmp import QmpClosed
from vmops.lab.qemu.seed import FILE as SEED
from vmops.lab.qemu.seed import wants_seed, write_seed
from vmops.lab.qemu.serial_relay import line_file, record_ports
from vmops.lab.qemu.tools_links import SOCKET as TOOLS_SOCKET

log = logging.getLogger(__name__)

_QMP_DESCRIPTOR = 3
_MEMORY_DESCRIPTOR = 4
_TOOLS_DESCRIPTOR = 5
_FIRST_NIC_DESCRIPTOR = 6
NVRAM = "nvram"
"""The file of a guest's EFI variables, in its directory."""
_LOG_TAIL_CHARACTERS = 2000
_LAST_WORDS_S = 5.0
_READING_S = 600.0  # QEMU tells no progress while it reads a guest's memory


@dataclass(frozen=True, slots=True, kw_only=True)
class Incoming:
    """Memory that a guest is to go on with.

    ``descriptor`` is where it is read from; of a guest that is alive it is a socket to the other
    QEMU, the new one runs by itself once it has all, and ``variables`` are its EFI's.
    """

    descriptor: int
    machine_type: str
    is_alive: bool = False
    variables: Path | None = None
    has_seed: bool = False
    """Whether the guest has a disc for cloud-init, see `vmops.lab.qemu.seed`."""
    seed: Path | None = None
    """That disc, of a guest that is alive."""
    growth: Growth | None = None
    """What the guest has of processors and memory; None: what the machine has, for good."""


async def launch(
    machine: GuestDefinition, directory: Path, segments: Segments, incoming: Incoming | None = None
) -> Guest:
    """Start a guest and return once it runs, or waits for the memory of a guest that is alive.

    Everything is undone on failure: no process is left, and no file but QEMU's log.

    Raises:
        HypervisorMissing: QEMU is not installed.
        HypervisorError: a file is missing or refused, a device cannot be provided, or QEMU failed;
            the text then has its exit code, its command line and the end of its log.
    """
    qemu = await capabilities()
    async with contextlib.AsyncExitStack() as undo, contextlib.AsyncExitStack() as descriptors:
        await asyncio.to_thread(_check_files, machine)
        host, passed = await _prepare(machine, directory, incoming, qemu, descriptors, segments)
        undo.callback(clean, directory)
        argv = command_line(machine, host)
        process = await _start(argv, directory, passed)
        guest = Guest(machine.key, directory, process)
        undo.push_async_callback(guest.end)
        # QEMU alone holds its ends from here on, so that its death is seen at the others.
        await descriptors.aclose()
        try:
            if incoming is None or not incoming.is_alive:
                await guest.open_serial_ports()
            await _set_going(guest, machine, incoming)
        except QmpClosed as error:
            await process.wait_ended(_LAST_WORDS_S)
            raise _failure(machine, argv, guest) from error
        undo.pop_all()
        log.info("guest %s runs as process %d", machine.key, process.identity.pid)
        return guest


def clean(directory: Path) -> None:
    """Remove what a guest that ended leaves, but its log and its EFI variables."""
    for file in listing.files(directory):
        if file.name not in ("qemu.log", NVRAM):
            file.unlink(missing_ok=True)


def _check_files(machine: GuestDefinition) -> None:
    for disk in machine.disks:
        for layer in disk.layers:
            check_layer(layer)
    for cdrom in machine.cdroms:
        if cdrom.image is not None and not cdrom.image.is_file():
            raise HypervisorError(f"the CD-ROM image {cdrom.image.name} is not there")
    for port in machine.serial_ports:
        if isinstance(port, SerialPort) and not port.file.parent.is_dir():
            raise HypervisorError(f"the folder of the serial port's file {port.file} is not there")


async def _prepare(
    machine: GuestDefinition,
    directory: Path,
    incoming: Incoming | None,
    qemu: Capabilities,
    descriptors: contextlib.AsyncExitStack,
    segments: Segments,
) -> tuple[Host, tuple[int, ...]]:
    """Return the host's part of the command line, and the descriptors to pass as 3, 4, ..."""
    files = await asyncio.to_thread(_write_files, machine, directory)
    listener = descriptors.enter_context(
        await asyncio.to_thread(sockets.listen, directory / "qmp", backlog=8)
    )
    tools = descriptors.enter_context(
        await asyncio.to_thread(sockets.listen, directory / TOOLS_SOCKET, backlog=8)
    )
    # Something has to be passed as 4 for what follows to come out at 5 and up.
    memory_descriptor = incoming.descriptor if incoming is not None else listener.fileno()
    variables = incoming.variables if incoming is not None else None
    connections = await _connect_nics(machine, segments, qemu, descriptors)
    lines = await _listen_on_lines(machine, directory, descriptors)
    first_line = _FIRST_NIC_DESCRIPTOR + len(connections)
    growth = None if incoming is None else incoming.growth
    if growth is not None and incoming is not None and not incoming.is_alive:
        growth.check(machine)
    if growth is None:
        growth = at_start(machine, accelerator(), can_grow=incoming is None)
    host = Host(
        program=qemu.program,
        accelerator=accelerator(),
        sandbox=SANDBOX if qemu.sandbox else None,
        machine_type=incoming.machine_type if incoming is not None else "pc",
        qmp_descriptor=_QMP_DESCRIPTOR,
        tools_descriptor=_TOOLS_DESCRIPTOR,
        memory_descriptor=_MEMORY_DESCRIPTOR if incoming is not None else None,
        starts_at_once=incoming is not None and incoming.is_alive,
        nic_descriptors={
            key: _FIRST_NIC_DESCRIPTOR + index for index, key in enumerate(connections)
        },
        serial_descriptors={key: first_line + index for index, key in enumerate(lines)},
        guestinfo_files=files,
        efi=await asyncio.to_thread(_efi, variables or directory / NVRAM)
        if machine.firmware == "efi"
        else None,
        growth=growth,
        seed=await asyncio.to_thread(_seed, machine, directory, incoming),
    )
    passed = (
        listener.fileno(),
        memory_descriptor,
        tools.fileno(),
        *(connection.fileno() for connection in connections.values()),
        *(line.fileno() for line in lines.values()),
    )
    return host, passed


async def _connect_nics(
    machine: GuestDefinition,
    segments: Segments,
    qemu: Capabilities,
    descriptors: contextlib.AsyncExitStack,
) -> dict[int, socket.socket]:
    known = {segment.name: segment for segment in machine.segments}
    connections = {}
    for nic in machine.nics:
        segment = known.get(nic.segment, Segment(name=nic.segment, nat=False))
        connections[nic.key] = descriptors.enter_context(await segments.connect(segment, qemu))
    return connections


async def _listen_on_lines(
    machine: GuestDefinition, directory: Path, descriptors: contextlib.AsyncExitStack
) -> dict[int, socket.socket]:
    """Return a listening socket for each serial port on the network, by device key."""
    ports = [port for port in machine.serial_ports if isinstance(port, NetworkSerialPort)]
    if ports:
        await asyncio.to_thread(record_ports, directory, ports)
    return {
        port.key: descriptors.enter_context(
            await asyncio.to_thread(sockets.listen, line_file(directory, port.key), backlog=1)
        )
        for port in ports
    }


def _write_files(machine: GuestDefinition, directory: Path) -> Mapping[str, Path]:
    """Make the guest's directory and write the values it is told; return those by key."""
    files = {}
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        clean(directory)
        for index, key in enumerate(guestinfo_keys(machine)):
            file = directory / f"guestinfo-{index}"
            file.touch(mode=0o600)
            file.write_text(machine.extra_config[key], encoding="utf-8")
            files[key] = file
    except OSError as error:
        raise HypervisorError(f"the guest's run folder cannot be written: {error}") from error
    return files


def _seed(machine: GuestDefinition, directory: Path, incoming: Incoming | None) -> Path | None:
    """Return the disc for cloud-init; a guest that has run before has one as it had it."""
    has_one = wants_seed(machine) if incoming is None else incoming.has_seed
    if not has_one:
        return None
    file = directory / SEED
    if incoming is not None and incoming.seed is not None:
        shutil.copyfile(incoming.seed, file)
        return file
    try:
        write_seed(machine, file)
    except HypervisorError as error:
        if incoming is not None:
            raise
        # As on vSphere: a guest that is told nonsense starts all the same.
        log.warning("%s gets no seed for cloud-init: %s", machine.key, error)
        return None
    return file


def _efi(own: Path) -> Firmware | None:
    found = find_efi_firmware()
    if found is None:
        return None
    code, variables = found
    if not own.exists():
        shutil.copyfile(variables, own)
    return Firmware(code=code, variables=own)


async def _start(argv: Sequence[str], directory: Path, passed: Sequence[int]) -> HeldProcess:
    def start() -> ProcessIdentity:
        identity = start_detached(argv, log_file=directory / "qemu.log", descriptors=passed)
        identity.save(directory / "process")
        return identity

    starting = asyncio.create_task(asyncio.to_thread(start))
    try:
        identity = await asyncio.shield(starting)
    except OSError as error:
        raise HypervisorError(f"QEMU cannot be started: {error}") from error
    except asyncio.CancelledError:
        # The thread cannot be stopped; what it has started must not stay.
        orphan = HeldProcess.of_child(await starting)
        orphan.kill()
        await orphan.wait_ended(_LAST_WORDS_S)
        raise
    return HeldProcess.of_child(identity)


async def _set_going(guest: Guest, machine: GuestDefinition, incoming: Incoming | None) -> None:
    qmp = await guest.qmp()
    if incoming is not None and not incoming.is_alive:
        await wait_for_migration(qmp, "read", stalled_s=_READING_S)
    for nic in machine.nics:
        if not nic.connected:
            await qmp.execute("set_link", {"name": f"nic-{nic.key}", "up": False})
    if incoming is None or not incoming.is_alive:
        await qmp.execute("cont")


def _failure(machine: GuestDefinition, argv: Sequence[str], guest: Guest) -> HypervisorError:
    code = guest.process.exit_code
    ended = "did not end" if code is None else f"ended with exit code {code}"
    tail = _log_tail(guest.directory)
    log.error("guest %s: %s", machine.key, shlex.join(argv))
    return HypervisorError(
        f"QEMU {ended} while starting {machine.name}: {tail}\ncommand line: {shlex.join(argv)}"
    )


def _log_tail(directory: Path) -> str:
    try:
        text = (directory / "qemu.log").read_text(errors="replace").strip()
    except OSError as error:
        return f"(its log cannot be read: {error})"
    return text[-_LOG_TAIL_CHARACTERS:] or "(its log is empty)"
