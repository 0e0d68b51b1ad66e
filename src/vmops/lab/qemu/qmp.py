"""A client of QMP, the JSON protocol by which a running QEMU is asked and told.

One object is one connection. It lives on one event loop; commands may be sent from any number of
tasks at once, for answers are matched by id. Whatever happens to QEMU, every call ends: with the
answer, with QEMU's refusal, with the deadline, or with the connection.

See: docs/interop/qmp-spec.txt in QEMU's source.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

from vmops.lab.hypervisor.errors import HypervisorError

log = logging.getLogger(__name__)

Message: TypeAlias = Mapping[str, Any]
"""A JSON object that QEMU sent; its documentation says what is in it."""

# One answer is one line; query-qmp-schema, the longest, has 200 KB.
_LONGEST_LINE_BYTES = 16 * 1024 * 1024


class QmpRefused(HypervisorError):
    """QEMU understood the command and refused it. ``error_class`` is QEMU's own."""

    def __init__(self, command: str, error_class: str, description: str) -> None:
        super().__init__(f"QEMU refused {command}: {description}")
        self.error_class = error_class


class QmpClosed(HypervisorError):
    """There is no connection (any more); the command may or may not have been carried out."""


@dataclass(frozen=True, slots=True)
class QmpEvent:
    """What QEMU reports unasked. ``at_s`` is this machine's clock, in seconds."""

    name: str
    data: Message
    at_s: float


class QmpEvents:
    """The events of a connection from the moment `Qmp.events` was entered, in order."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[QmpEvent | None] = asyncio.Queue()

    def add(self, event: QmpEvent | None) -> None:
        """Append an event, or None as the end of all."""
        self._queue.put_nowait(event)

    async def wait_for(self, name: str, *, timeout_s: float, **data: str) -> QmpEvent:
        """Return the next event of that name that has this data, and forget those before it.

        Raises:
            QmpClosed: the connection ended.
            HypervisorError: there was none within ``timeout_s``.
        """
        try:
            async with asyncio.timeout(timeout_s):
                while event := await self._queue.get():
                    if event.name == name and data.items() <= event.data.items():
                        return event
        except TimeoutError:
            raise HypervisorError(f"QEMU did not report {name} in {timeout_s:g} seconds") from None
        self.add(None)
        raise QmpClosed(f"QEMU ended before it reported {name}")


class Qmp:
    """A connection to one QEMU. Made by `open`."""

    def __init__(
        self,
        connection: socket.socket,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        on_event: Callable[[str, Message], None],
    ) -> None:
        self._connection = connection
        self._reader = reader
        self._writer = writer
        self._on_event = on_event
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._listening: list[QmpEvents] = []
        self._sending = asyncio.Lock()
        self._closed = False
        self._listener: asyncio.Task[None] | None = None
        self.qemu_version: tuple[int, int, int] = (0, 0, 0)

    @classmethod
    async def open(
        cls,
        connection: socket.socket,
        *,
        timeout_s: float,
        on_event: Callable[[str, Message], None] = lambda _name, _data: None,
    ) -> Qmp:
        """Take over a connected socket and do the handshake; the socket is closed on failure.

        ``on_event(name, data)`` is called on the event loop for every event.

        Raises:
            QmpClosed: QEMU ended, or something else than QEMU answered.
            HypervisorError: there was no greeting within ``timeout_s``: QEMU hangs, or another
                client holds the socket (QEMU serves one at a time).
        """
        reader, writer = await asyncio.open_unix_connection(
            sock=connection, limit=_LONGEST_LINE_BYTES
        )
        # drain() then waits until everything is sent, which execute() needs to pass descriptors.
        writer.transport.set_write_buffer_limits(high=0)
        qmp = cls(connection, reader, writer, on_event)
        try:
            async with asyncio.timeout(timeout_s):
                greeting = await qmp._receive()
                qmp.qemu_version = _version_in(greeting)
                qmp._listener = asyncio.create_task(qmp._listen())
                await qmp.execute("qmp_capabilities", timeout_s=timeout_s)
        except TimeoutError:
            await qmp.close()
            raise HypervisorError(f"QEMU did not answer within {timeout_s:g} seconds") from None
        except BaseException:
            await qmp.close()
            raise
        return qmp

    @property
    def is_closed(self) -> bool:
        """Whether the connection is gone for good."""
        return self._closed

    async def execute(
        self,
        command: str,
        arguments: Mapping[str, object] | None = None,
        *,
        timeout_s: float = 15.0,
        descriptor: int | None = None,
    ) -> Any:
        """Run a command and return what it returns.

        ``descriptor`` is an open file handed to QEMU together with the command (``getfd``).

        Raises:
            QmpRefused: QEMU answered with an error.
            QmpClosed: the connection was or went down.
            HypervisorError: there was no answer within ``timeout_s``; a late one is dropped.
        """
        if self._closed:
            raise QmpClosed(f"QEMU is not connected ({command})")
        ident = next(self._ids)
        request: dict[str, object] = {"execute": command, "id": ident}
        if arguments is not None:
            request["arguments"] = dict(arguments)
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting[ident] = answer
        try:
            async with asyncio.timeout(timeout_s):
                await self._send(json.dumps(request).encode() + b"\r\n", descriptor)
                message = await answer
        except TimeoutError:
            raise HypervisorError(
                f"QEMU did not answer {command} within {timeout_s:g} seconds"
            ) from None
        except OSError as error:
            raise QmpClosed(f"QEMU ended before it answered {command}") from error
        finally:
            del self._waiting[ident]
            if answer.done() and not answer.cancelled():
                answer.exception()  # seen, also when sending failed before anyone awaited it
        if "error" in message:
            error_text = message["error"]
            raise QmpRefused(command, str(error_text["class"]), str(error_text["desc"]))
        return message["return"]

    @contextmanager
    def events(self) -> Iterator[QmpEvents]:
        """Collect what QEMU reports while the block runs."""
        events = QmpEvents()
        self._listening.append(events)
        if self._closed:
            events.add(None)
        try:
            yield events
        finally:
            self._listening.remove(events)

    async def close(self) -> None:
        """Let go of the connection; QEMU runs on. May be called again."""
        self._closed = True
        if self._listener is not None and self._listener is not asyncio.current_task():
            self._listener.cancel()
            await asyncio.gather(self._listener, return_exceptions=True)
        self._writer.close()
        try:
            await self._writer.wait_closed()
        except OSError as error:
            log.debug("QMP connection ended with %s", error)
        self._fail_all()

    async def _send(self, line: bytes, descriptor: int | None) -> None:
        async with self._sending:
            await self._writer.drain()
            if descriptor is None:
                self._writer.write(line)
                await self._writer.drain()
            else:
                # asyncio cannot pass descriptors. Nothing is buffered at this point and a line
                # this short fits the socket's buffer, so sending past the stream keeps the order.
                socket.send_fds(self._connection, [line], [descriptor])

    async def _receive(self) -> Message:
        try:
            line = await self._reader.readline()
            message = json.loads(line) if line else None
        except (OSError, ValueError) as error:
            raise QmpClosed(f"the connection to QEMU broke: {error}") from error
        if not isinstance(message, dict):
            raise QmpClosed("QEMU ended the connection")
        return message

    async def _listen(self) -> None:
        try:
            while True:
                message = await self._receive()
                if "event" in message:
                    self._report(message)
                    continue
                waiting = self._waiting.get(message.get("id", 0))
                if waiting is not None and not waiting.done():
                    waiting.set_result(message)
        except QmpClosed as error:
            log.debug("%s", error)
        finally:
            self._closed = True
            self._fail_all()

    def _report(self, message: Message) -> None:
        clock = message.get("timestamp", {})
        event = QmpEvent(
            str(message["event"]),
            message.get("data", {}),
            clock.get("seconds", 0) + clock.get("microseconds", 0) / 1e6,
        )
        for events in self._listening:
            events.add(event)
        self._on_event(event.name, event.data)

    def _fail_all(self) -> None:
        for events in self._listening:
            events.add(None)
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(QmpClosed("QEMU ended before it answered"))


def _version_in(greeting: Message) -> tuple[int, int, int]:
    try:
        version = greeting["QMP"]["version"]["qemu"]
        return int(version["major"]), int(version["minor"]), int(version["micro"])
    except (KeyError, TypeError, ValueError) as error:
        raise QmpClosed("what listens there is not QEMU") from error
