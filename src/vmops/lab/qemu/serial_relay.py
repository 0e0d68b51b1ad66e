"""Serial ports on the network: between a guest's line and a TCP peer, with nobody waiting.

QEMU could speak TCP itself, but a peer that does not read would then halt the guest in the middle
of a line. Here the guest's line is always read, and what the peer does not take in time is lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import logging
import socket
from collections.abc import Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any

from vmops.lab.hypervisor.errors import HypervisorError
from vmops.lab.hypervisor.port import Concentrator, NetworkSerialPort
from vmops.lab.qemu import sockets
from vmops.lab.qemu.concentrator import Extension
from vmops.lab.qemu.telnet import Telnet

log = logging.getLogger(__name__)

_RECORD = "serial-ports"
_CHUNK_BYTES = 16 * 1024
_MOST_WAITING_BYTES = 256 * 1024
_SENT_AHEAD_BYTES = 64 * 1024
_RETRY_S = 1.0
_DECLINED_S = 30.0


def line_file(directory: Path, key: int) -> Path:
    """Return where the guest's line of a port is: a socket that QEMU listens on."""
    return directory / f"serial-{key}"


def record_ports(directory: Path, ports: Sequence[NetworkSerialPort]) -> None:
    """Note the ports in the guest's directory, for a lab that finds the guest again. Blocks."""
    text = json.dumps([dataclasses.asdict(port) for port in ports])
    (directory / _RECORD).write_text(text)


def recorded_ports(directory: Path) -> list[NetworkSerialPort]:
    """Return the ports noted in a guest's directory. Blocks."""
    try:
        return [_port(each) for each in json.loads((directory / _RECORD).read_text())]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError) as error:
        log.warning("the serial ports in %s are not known: %s", directory, error)
        return []


def _port(fields: Mapping[str, Any]) -> NetworkSerialPort:
    told = fields.get("concentrator")
    concentrator = None if told is None else Concentrator(**told)
    return NetworkSerialPort(**{**fields, "concentrator": concentrator})


class SerialRelay:
    """One port. Made by `open`."""

    def __init__(self, port: NetworkSerialPort) -> None:
        self.port = port
        self._lines: list[asyncio.StreamWriter] = []
        self._peer: asyncio.StreamWriter | None = None
        self._telnet: Telnet | None = None
        self._extension: Extension | None = None
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @classmethod
    async def open(cls, port: NetworkSerialPort) -> SerialRelay:
        """Listen, or begin to look for the peer.

        Raises:
            HypervisorError: the port is taken.
        """
        relay = cls(port)
        if port.direction == "client":
            relay._run(relay._call())
            return relay
        try:
            relay._server = await asyncio.start_server(
                relay._accept, "127.0.0.1", port.port, family=socket.AF_INET
            )
        except (OSError, OverflowError) as error:
            raise HypervisorError(
                f"serial port {port.key} cannot listen on port {port.port}: {error}"
            ) from error
        return relay

    async def add_line(self, directory: Path) -> None:
        """Relay the line of a guest in this directory, too; what the peer types goes to it.

        Raises:
            HypervisorError: there is no such line.
        """
        try:
            connection = sockets.connect(line_file(directory, self.port.key))
        except OSError as error:
            raise HypervisorError(f"serial port {self.port.key} is not there: {error}") from error
        reader, writer = await asyncio.open_unix_connection(sock=connection)
        self._lines.append(writer)
        self._run(self._read_line(reader, writer))

    async def close(self) -> None:
        """Let go of lines and peer; the guest runs on."""
        if self._server is not None:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for writer in (*self._lines, *([self._peer] if self._peer else [])):
            writer.close()
        self._lines.clear()
        self._peer = None

    def _run(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _read_line(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(_CHUNK_BYTES):
                self._show(data)
        if writer in self._lines:
            self._lines.remove(writer)
        writer.close()

    def _show(self, data: bytes) -> None:
        peer = self._peer
        if self._extension is not None and not self._extension.is_open:
            return
        if peer is None or peer.transport.get_write_buffer_size() > _MOST_WAITING_BYTES:
            return
        peer.write(self._telnet.encode(data) if self._telnet is not None else data)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._peer is not None:  # one at a time; there is one line
            writer.close()
            return
        self._meet(writer)
        self._run(self._serve(reader, writer))

    async def _call(self) -> None:
        while True:
            with contextlib.suppress(OSError):
                reader, writer = await asyncio.open_connection(self.port.host, self.port.port)
                self._meet(writer)
                await self._serve(reader, writer)
            if self._extension is not None and self._extension.is_refused:
                log.warning("serial port %d: the concentrator declines", self.port.key)
                await asyncio.sleep(_DECLINED_S)
            await asyncio.sleep(_RETRY_S)

    def _meet(self, writer: asyncio.StreamWriter) -> None:
        self._peer = writer
        # The kernel would keep megabytes of old output for a peer that was away.
        connection: socket.socket = writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SENT_AHEAD_BYTES)
        if self.port.telnet:
            told = self.port.concentrator
            self._extension = None if told is None else Extension(told)
            is_server = self.port.direction == "server"
            self._telnet = Telnet(is_server=is_server, extension=self._extension)
            writer.write(self._telnet.greeting())

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(_CHUNK_BYTES):
                await self._type(data, writer)
                if self._extension is not None and self._extension.is_refused:
                    return
        except OSError as error:
            log.debug("serial port %d: %s", self.port.key, error)
        finally:
            self._peer = None
            self._telnet = None
            writer.close()

    async def _type(self, data: bytes, peer: asyncio.StreamWriter) -> None:
        if self._telnet is not None:
            data, answer = self._telnet.decode(data)
            peer.write(answer)
        if data and self._lines:
            self._lines[-1].write(data)
            with contextlib.suppress(OSError):
                await self._lines[-1].drain()
