"""The lab's end of the channel, with a guest at the other end that does as the test says."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import pytest

from vmops.lab.hypervisor.tools import InfoRefused, ToolsNotRunning, ToolsRefused
from vmops.lab.qemu import sockets, tools_link
from vmops.lab.qemu.tools_link import ToolsLink

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


class Listener:
    def __init__(self) -> None:
        self.notices = 0
        self.values: dict[str, str] = {}

    def tools_changed(self, key: str) -> None:
        assert key == "vm-1"
        self.notices += 1

    def info_get(self, _key: str, name: str) -> str | None:
        return self.values.get(name)

    def info_set(self, _key: str, name: str, value: str) -> None:
        if name == "guestinfo.forbidden":
            raise InfoRefused("it is forbidden")
        self.values[name] = value


class Peer:
    """The guest's end."""

    def __init__(self, link: ToolsLink, listener: Listener) -> None:
        self.link, self.listener = link, listener
        self.streams: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = (
            asyncio.Queue()
        )

    async def connected(self) -> None:
        self.reader, self.writer = await asyncio.wait_for(self.streams.get(), 5)
        assert await self.heard() == ""
        assert await self.heard() == "hello 1"

    async def heard(self) -> str:
        return (await asyncio.wait_for(self.reader.readline(), 5)).decode().removesuffix("\n")

    async def greet(self) -> None:
        self.say("hello 1 1")
        assert await self.heard() == "welcome"
        await self.until(running=True)

    def say(self, *lines: str) -> None:
        self.writer.write("".join(f"{line}\n" for line in lines).encode())

    async def until(self, **wanted: object) -> None:
        async with asyncio.timeout(5):
            while any(getattr(self.link.state, name) != is_ for name, is_ in wanted.items()):
                await asyncio.sleep(0.005)


@asynccontextmanager
async def a_link(folder: Path) -> AsyncIterator[Peer]:
    listener = Listener()
    link = ToolsLink("vm-1", lambda: folder / "tools", listener)
    peer = Peer(link, listener)
    served: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        served.append(writer)
        peer.streams.put_nowait((reader, writer))

    server = await asyncio.start_unix_server(
        serve, sock=sockets.listen(folder / "tools", backlog=4), limit=1 << 20
    )
    link.open()
    try:
        await peer.connected()
        yield peer
    finally:
        await link.close()
        server.close()
        for writer in served:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()


def test_tools_tell_and_obey(tmp_path: Path) -> None:
    async def run() -> None:
        async with a_link(tmp_path) as peer:
            with pytest.raises(ToolsNotRunning):
                await peer.link.command("shutdown")
            await peer.greet()
            peer.say("host-name web", "nics eth0,52:54:00:12:34:56,10.0.0.9/8")
            await peer.until(running=True, host_name="web", heartbeat="green")
            assert str(peer.link.state.nics[0].addresses[0].ip) == "10.0.0.9"
            asking = asyncio.create_task(peer.link.command("shutdown"))
            assert await peer.heard() == "shutdown 1"
            peer.say("done 1", "bye")
            await asking
            await peer.until(running=False, heartbeat="gray", ending="shuttingDown")
            assert peer.link.state.version == "1"

    asyncio.run(run())


def test_tools_may_refuse_or_end_while_they_are_asked(tmp_path: Path) -> None:
    async def run() -> None:
        async with a_link(tmp_path) as peer:
            await peer.greet()
            asking = asyncio.create_task(peer.link.command("freeze"))
            await peer.heard()
            peer.say("done 77", "failed 1 application no, not now")
            with pytest.raises(ToolsRefused, match="no, not now"):
                await asking
            asking = asyncio.create_task(peer.link.command("freeze"))
            await peer.heard()
            peer.say("bye")
            with pytest.raises(ToolsNotRunning):
                await asking

    asyncio.run(run())


def test_tools_that_do_not_answer_have_a_budget(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tools_link, "BUDGET_S", {"thaw": 0.05})

    async def run() -> None:
        async with a_link(tmp_path) as peer:
            await peer.greet()
            with pytest.raises(ToolsNotRunning, match="did not answer to thaw"):
                await peer.link.command("thaw")

    asyncio.run(run())


def test_silence_is_noticed_in_two_steps_and_its_end_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tools_link, "OVERDUE_S", 0.1)
    monkeypatch.setattr(tools_link, "SILENT_S", 0.3)

    async def run() -> None:
        async with a_link(tmp_path) as peer:
            await peer.greet()
            await peer.until(running=True, heartbeat="yellow")
            assert await peer.heard() == "ping"
            peer.say("beat")
            await peer.until(running=True, heartbeat="green")
            await peer.until(running=False, heartbeat="red")
            assert await peer.heard() == "ping"
            peer.say("beat")
            assert await peer.heard() == "hello 1"
            await peer.greet()
            await peer.until(running=True, heartbeat="green")

    asyncio.run(run())


def test_guestinfo_is_asked_and_given(tmp_path: Path) -> None:
    async def run() -> None:
        async with a_link(tmp_path) as peer:
            await peer.greet()
            peer.say("info-set 5 guestinfo.a eA==", "info-get 6 guestinfo.a")
            assert [await peer.heard(), await peer.heard()] == ["done 5", "value 6 eA=="]
            peer.say("info-get 7 guestinfo.b", "info-set 8 guestinfo.forbidden eA==")
            assert [await peer.heard(), await peer.heard()] == [
                "none 7",
                "refused 8 it is forbidden",
            ]
            assert peer.listener.values == {"guestinfo.a": "x"}

    asyncio.run(run())


def test_a_flood_is_read_no_faster_and_what_comes_after_it_is_heard(tmp_path: Path) -> None:
    async def run() -> None:
        async with a_link(tmp_path) as peer:
            await peer.greet()
            peer.say(*(f"host-name h{n}" for n in range(100_000)))
            longest, before = 0.0, asyncio.get_running_loop().time()
            for _ in range(50):
                await asyncio.sleep(0.02)
                now = asyncio.get_running_loop().time()
                longest, before = max(longest, now - before), now
            assert longest < 0.5  # the lab was never held up
            taken = int((peer.link.state.host_name or "h0").removeprefix("h"))
            assert taken <= tools_link._BURST + 3 * tools_link._PER_SECOND
            assert peer.listener.notices < 10
            # The rest waits in the guest, whose own buffers are full.
            assert peer.writer.transport.get_write_buffer_size() > 0

    asyncio.run(run())


def test_a_guest_that_does_not_read_is_hung_up_on_and_may_come_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tools_link, "_MOST_UNSENT_BYTES", 64 * 1024)
    monkeypatch.setattr(tools_link, "_RECONNECT_S", 0.05)

    async def run() -> None:
        async with a_link(tmp_path) as peer:
            peer.listener.values["guestinfo.big"] = "x" * 60_000
            await peer.greet()
            assert isinstance(peer.writer.transport, asyncio.Transport)
            peer.writer.transport.pause_reading()
            peer.say(*(f"info-get {n} guestinfo.big" for n in range(50)))
            await peer.connected()
            await peer.greet()
            peer.say("host-name again")
            await peer.until(running=True, host_name="again")

    asyncio.run(run())


def test_tools_of_another_protocol_are_there_but_do_not_run(tmp_path: Path) -> None:
    async def run() -> None:
        async with a_link(tmp_path) as peer:
            peer.say("hello 2 9")
            await peer.until(version="9", running=False)
            peer.say("host-name web")
            await asyncio.sleep(0.05)
            assert not peer.link.state.running

    asyncio.run(run())
