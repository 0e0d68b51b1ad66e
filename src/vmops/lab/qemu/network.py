"""The segments the lab's guests share, each a small process that outlives the lab.

A guest gets a connected socket to its segment. The segment ends by itself when its last guest is
gone, so nothing here has to count.
"""

from __future__ import annotations

import asyncio
import collections
import hashlib
import json
import logging
import socket
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from vmops.lab import listing
from vmops.lab.hypervisor.errors import HypervisorError
from vmops.lab.hypervisor.port import NicStatistics, Segment
from vmops.lab.qemu import alone, sockets
from vmops.lab.qemu import segment as segment_program
from vmops.lab.qemu.capabilities import SANDBOX, Capabilities
from vmops.lab.qemu.process import HeldProcess, ProcessIdentity, start_detached

log = logging.getLogger(__name__)

_QUEUE = 128  # guests that may be let in at once
_IDLE_S = 30.0
_ADMISSION_TIMEOUT_S = 30.0
_END_TIMEOUT_S = 10.0
_ANSWER_S = 2.0
_TRAFFIC_KEPT_S = 0.1  # asked for many guests at once


class Segments:
    """All segments of one lab, in one directory."""

    def __init__(self, directory: Path, *, idle_s: float = _IDLE_S, is_open: bool = False) -> None:
        self._directory = directory
        self._is_open = is_open
        self._idle_s = idle_s
        self._starting: collections.defaultdict[str, asyncio.Lock] = collections.defaultdict(
            asyncio.Lock
        )
        self._held: dict[str, HeldProcess] = {}
        self._traffic: Mapping[str, NicStatistics] = {}
        self._asked_at = float("-inf")

    async def connect(self, segment: Segment, qemu: Capabilities) -> socket.socket:
        """Return a socket that is a port of the segment, which is started if it does not run.

        Raises:
            HypervisorError: the segment does not start, or does not answer.
        """
        name = _file_name(segment.name)
        async with self._starting[name]:
            connection = await self._admitted(name)
            if connection is None:
                await self._start(name, segment, qemu)
                connection = await self._admitted(name)
        if connection is None:
            raise HypervisorError(
                f"the network segment {segment.name} does not start: {self._last_words(name)}"
            )
        return connection

    def leases(self, name: str) -> Mapping[str, str]:
        """Return the IPv4 address of each card by MAC address, on a segment with NAT. Blocks."""
        try:
            return dict(json.loads(self._file(_file_name(name), "leases").read_text()))
        except (OSError, ValueError):
            return {}

    async def traffic(self) -> Mapping[str, NicStatistics]:
        """Return what the cards on all segments have moved, by MAC address.

        A card that has sent nothing yet is not among them. What a segment has counted ends with
        it, and with the card's connection.
        """
        if time.monotonic() - self._asked_at > _TRAFFIC_KEPT_S:
            self._asked_at = time.monotonic()
            files = await asyncio.to_thread(listing.files, self._directory, ".socket")
            answers = await asyncio.gather(*(self._ask(file) for file in files))
            self._traffic = {mac: moved for each in answers for mac, moved in each.items()}
        return self._traffic

    async def _ask(self, file: Path) -> Mapping[str, NicStatistics]:
        try:
            async with asyncio.timeout(_ANSWER_S):
                reader, writer = await asyncio.open_unix_connection(sock=sockets.connect(file))
                try:
                    writer.write(segment_program.QUESTION.to_bytes(4))
                    length = int.from_bytes(await reader.readexactly(4))
                    told = json.loads(await reader.readexactly(length))
                finally:
                    writer.close()
        except (OSError, EOFError, ValueError, TimeoutError) as error:
            log.debug("segment %s tells nothing: %s", file.stem, error)
            return {}
        return {
            str(mac): NicStatistics(
                received_bytes=int(moved[0]),
                sent_bytes=int(moved[1]),
                received_packets=int(moved[2]),
                sent_packets=int(moved[3]),
            )
            for mac, moved in told.items()
        }

    async def end_all(self) -> None:
        """End all segments, also those an earlier run of the lab started."""
        if not self._directory.is_dir():
            return
        self.release()
        for record in listing.files(self._directory, ".process"):
            identity = ProcessIdentity.load(record)
            held = HeldProcess.hold(identity) if identity else None
            if held is not None:
                held.kill()
                if not await held.wait_ended(_END_TIMEOUT_S):
                    log.error("segment process %d does not end", held.identity.pid)
                held.release()
            record.unlink(missing_ok=True)
            record.with_suffix(".socket").unlink(missing_ok=True)

    def release(self) -> None:
        """Let go of the segments; they run on."""
        for held in self._held.values():
            held.release()
        self._held.clear()

    async def _admitted(self, name: str) -> socket.socket | None:
        """Return a port that the segment has let in, or None if it does not run."""
        try:
            connection = sockets.connect(self._file(name, "socket"))
        except OSError:
            return None
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(_ADMISSION_TIMEOUT_S):
                await loop.sock_sendall(connection, bytes(4))
                if await loop.sock_recv(connection, 4) == bytes(4):
                    return connection
        except (OSError, TimeoutError) as error:
            log.info("segment %s accepts no connection: %s", name, error or "no answer")
        except BaseException:
            connection.close()
            raise
        connection.close()
        return None

    async def _start(self, name: str, segment: Segment, qemu: Capabilities) -> None:
        argv = [sys.executable, "-I", "-S", alone.__file__, "segment", "--listener", "3"]
        argv += ["--socket", str(self._file(name, "socket")), "--idle", str(self._idle_s)]
        if segment.nat:
            argv += ["--leases", str(self._file(name, "leases")), "--router", str(qemu.program)]
            argv += ["--sandbox", SANDBOX] if qemu.sandbox else []
            argv += ["--open"] if self._is_open else []
        earlier = self._held.pop(name, None)
        if earlier is not None:
            earlier.release()
        starting = asyncio.create_task(asyncio.to_thread(self._start_blocking, name, argv))
        identity = await asyncio.shield(starting)
        self._held[name] = HeldProcess.of_child(identity)
        log.info("segment %s started as process %d", segment.name, identity.pid)

    def _start_blocking(self, name: str, argv: list[str]) -> ProcessIdentity:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            with sockets.listen(self._file(name, "socket"), backlog=_QUEUE) as listener:
                identity = start_detached(
                    argv, log_file=self._file(name, "log"), descriptors=[listener.fileno()]
                )
            identity.save(self._file(name, "process"))
        except OSError as error:
            raise HypervisorError(f"a network segment cannot be started: {error}") from error
        return identity

    def _last_words(self, name: str) -> str:
        try:
            return self._file(name, "log").read_text(errors="replace").strip()[-1000:]
        except OSError as error:
            return str(error)

    def _file(self, name: str, suffix: str) -> Path:
        return self._directory / f"{name}.{suffix}"


def _file_name(segment_name: str) -> str:
    # A name comes from outside and must not choose a path.
    return hashlib.sha256(segment_name.encode()).hexdigest()[:16]
