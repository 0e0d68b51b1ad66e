"""The line to the tools of one guest: connected, watched, and never waited for."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from vmops.lab.hypervisor.tools import (
    NO_TOOLS,
    InfoRefused,
    ToolsCommand,
    ToolsListener,
    ToolsNotRunning,
    ToolsRefused,
    ToolsState,
)
from vmops.lab.qemu import sockets
from vmops.lab.qemu.tools_protocol import (
    PROTOCOL,
    Bye,
    Done,
    Failed,
    Hello,
    HostName,
    InfoGet,
    InfoSet,
    LineSplitter,
    Message,
    Nics,
    parse,
    refusal,
    value_answer,
)

log = logging.getLogger(__name__)

# The guest's tools say something at least every five seconds. On a busy machine that may be late.
OVERDUE_S = 10.0
SILENT_S = 15.0
BUDGET_S: Mapping[ToolsCommand, float] = {
    "shutdown": 10.0,
    "reboot": 10.0,
    "standby": 20.0,
    "freeze": 30.0,  # everything the guest has not yet written goes to its disk first
    "thaw": 10.0,
}
_RECONNECT_S = 1.0
_MOST_MISSING = 10
_MOST_UNSENT_BYTES = 256 * 1024
# Messages a guest may send at once and per second; one that sends more is read no faster.
_BURST = 200
_PER_SECOND = 100
_PAUSE_S = 0.2
_BETWEEN_NOTICES_S = 0.25
_GREETING_S = 3.0


class ToolsLink(asyncio.Protocol):
    """The lab's end of one guest's channel; one event loop.

    Whatever the guest does, no method waits for it longer than `BUDGET_S`: what it does not read
    is thrown away together with the connection, and what it sends too fast stays in its own queue.
    """

    def __init__(
        self,
        key: str,
        socket_file: Callable[[], Path],
        listener: ToolsListener,
        *,
        noticed: ToolsState = NO_TOOLS,
    ) -> None:
        """``noticed`` is what the listener was last told of this machine by an earlier link."""
        self.key = key
        self.state: ToolsState = NO_TOOLS
        self._socket_file = socket_file
        self._listener = listener
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._lost = asyncio.Event()
        self._connecting: asyncio.Task[None] | None = None
        self._splitter = LineSplitter()
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[None]] = {}
        self._asked: dict[int, ToolsCommand] = {}
        self._heard_at = 0.0
        self._silence: asyncio.TimerHandle | None = None
        self._queue: deque[bytes] = deque()
        self._allowance = float(_BURST)
        self._allowance_at = self._loop.time()
        self._later: asyncio.TimerHandle | None = None
        self._notice: asyncio.TimerHandle | None = None
        self.noticed = noticed
        self._noticed_at = 0.0

    def open(self) -> None:
        """Connect, and stay connected until `close`. A guest without the channel has no tools."""
        if self._connecting is None:
            self._connecting = self._loop.create_task(self._stay_connected())
            # Should nobody answer, that is news where somebody did before.
            self._notice = self._loop.call_later(_GREETING_S, self._tell)

    async def close(self) -> None:
        """Let go of the channel; may be called again."""
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.gather(self._connecting, return_exceptions=True)
        for handle in (self._silence, self._later, self._notice):
            if handle is not None:
                handle.cancel()
        if self._transport is not None:
            self._transport.abort()
        self._fail_waiting("the lab lets go of the guest")

    def machine_was_reset(self) -> None:
        """Take note that whatever ran in the guest runs no more."""
        self._fail_waiting("the machine was reset")
        self._show(replace(NO_TOOLS, version=self.state.version))

    async def command(self, command: ToolsCommand) -> None:
        """Have the tools do something; returns once they say that it is done, or begins.

        Raises:
            ToolsNotRunning: there are none, or they did not answer within `BUDGET_S`.
            ToolsRefused: they could not.
        """
        if not self.state.running:
            raise ToolsNotRunning(f"no tools run in the guest of {self.key}")
        number = next(self._numbers)
        answer: asyncio.Future[None] = self._loop.create_future()
        self._waiting[number], self._asked[number] = answer, command
        try:
            self._send(b"%s %d\n" % (command.encode(), number))
            async with asyncio.timeout(BUDGET_S[command]):
                await answer
        except TimeoutError:
            raise ToolsNotRunning(
                f"the tools of {self.key} did not answer to {command} in {BUDGET_S[command]:g} s"
            ) from None
        finally:
            del self._waiting[number], self._asked[number]
        if command in ("shutdown", "reboot"):
            ending = "shuttingDown" if command == "shutdown" else "resetting"
            self._show(replace(self.state, ending=ending))  # type: ignore[arg-type]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask who is there."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - what a socket gives
        self._transport = transport
        self._splitter = LineSplitter()
        self._queue.clear()
        self._send(b"\nhello %d\n" % PROTOCOL)

    def connection_lost(self, _error: Exception | None) -> None:
        """Take note that QEMU ended, or hung up."""
        self._transport = None
        self._lost.set()

    def data_received(self, data: bytes) -> None:
        """Take what the guest sent."""
        self._queue.extend(self._splitter.feed(data))
        if self._later is None:
            self._work()

    def _work(self) -> None:
        """Take as many messages as the guest may send now, and read no more before the rest."""
        self._later = None
        now = self._loop.time()
        earned = (now - self._allowance_at) * _PER_SECOND
        self._allowance, self._allowance_at = min(_BURST, self._allowance + earned), now
        while self._queue and self._allowance >= 1:
            self._allowance -= 1
            line = self._queue.popleft()
            message = parse(line)
            if message is None:
                log.debug("the guest of %s sent %.80r, which means nothing", self.key, line)
            else:
                self._take(message)
        if self._queue:
            self._later = self._loop.call_later(_PAUSE_S, self._work)
        if self._transport is not None:
            # Both do nothing where nothing changes.
            if self._queue:
                self._transport.pause_reading()
            else:
                self._transport.resume_reading()

    def _take(self, message: Message) -> None:
        match message:
            case Hello(protocol=number, version=version):
                # Newer tools that speak another protocol are there, but cannot be talked to.
                started = replace(NO_TOOLS, version=version)
                if number == PROTOCOL:
                    started = replace(started, running=True, heartbeat="green")
                    self._send(b"welcome\n")
                self._show(started)
            case _ if not self.state.version:
                self._send(b"hello %d\n" % PROTOCOL)  # the lab came late
                return
            case Bye():
                self._fail_waiting("the guest's tools have ended")
                gone = replace(NO_TOOLS, version=self.state.version, ending=self.state.ending)
                self._show(gone)
                return
            case HostName(name=name):
                self._show(replace(self.state, host_name=name))
            case Nics(nics=nics):
                self._show(replace(self.state, nics=nics))
            case InfoGet(id=number, key=name):
                self._send(value_answer(number, self._listener.info_get(self.key, name)))
            case InfoSet():
                self._info_set(message)
            case Done() | Failed():
                self._answered(message)
        self._heard()

    def _info_set(self, message: InfoSet) -> None:
        try:
            self._listener.info_set(self.key, message.key, message.value)
        except InfoRefused as error:
            self._send(refusal(message.id, str(error)))
        else:
            self._send(b"done %d\n" % message.id)

    def _answered(self, message: Done | Failed) -> None:
        waiting = self._waiting.get(message.id)
        if waiting is None or waiting.done():
            return
        if isinstance(message, Done):
            waiting.set_result(None)
        else:
            command = self._asked[message.id]
            waiting.set_exception(ToolsRefused(command, message.kind, message.text))

    def _heard(self) -> None:
        self._heard_at = self._loop.time()
        if self.state.heartbeat == "red":
            self._send(b"hello %d\n" % PROTOCOL)  # it was given up, and its report with it
        elif self.state.heartbeat == "yellow":
            self._show(replace(self.state, heartbeat="green"))
        if self._silence is None and self.state.running:
            self._silence = self._loop.call_later(OVERDUE_S, self._listen_for_silence)

    def _listen_for_silence(self) -> None:
        self._silence = None
        if not self.state.running:
            return
        silent_s = self._loop.time() - self._heard_at
        if self.state.heartbeat == "green":
            if silent_s < OVERDUE_S:
                wait_s = OVERDUE_S - silent_s
            else:
                # A lab that was itself held up reads what has come meanwhile before this ends.
                self._show(replace(self.state, heartbeat="yellow"))
                self._send(b"ping\n")
                wait_s = SILENT_S - OVERDUE_S
        elif silent_s < SILENT_S:
            wait_s = SILENT_S - silent_s
        else:
            self._fail_waiting("the guest's tools have fallen silent")
            self._show(replace(NO_TOOLS, version=self.state.version, heartbeat="red"))
            return
        self._silence = self._loop.call_later(max(wait_s, 0.01), self._listen_for_silence)

    def _send(self, line: bytes) -> None:
        if self._transport is None:
            return
        if self._transport.get_write_buffer_size() > _MOST_UNSENT_BYTES:
            log.info("the tools of %s do not read what they ask for", self.key)
            self._transport.abort()
            return
        self._transport.write(line)

    def _show(self, state: ToolsState) -> None:
        self.state = state
        if self._notice is None or state.running:
            if self._notice is not None:
                self._notice.cancel()
            wait_s = self._noticed_at + _BETWEEN_NOTICES_S - self._loop.time()
            # What comes in together is told together.
            self._notice = self._loop.call_later(max(0.0, wait_s), self._tell)

    def _tell(self) -> None:
        self._notice = None
        if self.state != self.noticed:
            self.noticed, self._noticed_at = self.state, self._loop.time()
            self._listener.tools_changed(self.key)

    def _fail_waiting(self, reason: str) -> None:
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(ToolsNotRunning(reason))

    async def _stay_connected(self) -> None:
        missing = 0
        while missing < _MOST_MISSING:
            self._lost.clear()
            try:
                connection = sockets.connect(self._socket_file())
            except FileNotFoundError:
                # A guest that arrives from elsewhere is just changing its folder. One of an
                # earlier lab, from before there were tools, never gets it.
                missing += 1
            except OSError as error:
                log.debug("the channel to the tools of %s: %s", self.key, error)
            else:
                await self._loop.create_unix_connection(lambda: self, sock=connection)
                await self._lost.wait()
            await asyncio.sleep(_RECONNECT_S)
