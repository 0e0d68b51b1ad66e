"""The client against a real QEMU without a machine."""

from __future__ import annotations

import asyncio
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any

import pytest

from vmops.lab.hypervisor.errors import HypervisorError
from vmops.lab.qemu import sockets
from vmops.lab.qemu.qmp import Qmp, QmpClosed, QmpRefused

needs_qemu = pytest.mark.skipif(
    shutil.which("qemu-system-x86_64") is None, reason="QEMU is not installed"
)


def with_qemu(
    folder: Path, scenario: Callable[[Qmp, subprocess.Popen[bytes]], Coroutine[Any, Any, None]]
) -> list[str]:
    """Run the scenario with a connected client and return the names of the events it saw."""
    events: list[str] = []

    def note(name: str, _data: Mapping[str, Any]) -> None:
        events.append(name)

    async def run() -> None:
        with sockets.listen(folder / "qmp", backlog=1) as listener:
            argv = ["qemu-system-x86_64", "-machine", "none", "-nodefaults", "-display", "none"]
            chardev = f"socket,id=q,fd={listener.fileno()},server=on,wait=off"
            process = subprocess.Popen(
                [*argv, "-chardev", chardev, "-mon", "chardev=q,mode=control"],
                pass_fds=[listener.fileno()],
            )
        try:
            qmp = await Qmp.open(sockets.connect(folder / "qmp"), timeout_s=30, on_event=note)
            try:
                await scenario(qmp, process)
            finally:
                await qmp.close()
        finally:
            process.kill()
            process.wait()

    asyncio.run(run())
    return events


@needs_qemu
def test_commands_answers_and_events(tmp_path: Path) -> None:
    async def scenario(qmp: Qmp, process: subprocess.Popen[bytes]) -> None:
        version = (await qmp.execute("query-version"))["qemu"]
        assert (version["major"], version["minor"], version["micro"]) == qmp.qemu_version
        answers = await asyncio.gather(*(qmp.execute("query-uuid") for _ in range(50)))
        assert len(answers) == 50
        await qmp.execute("quit")
        assert await asyncio.to_thread(process.wait, 10) == 0

    assert "SHUTDOWN" in with_qemu(tmp_path, scenario)


@needs_qemu
def test_a_refusal_has_qemus_own_words(tmp_path: Path) -> None:
    async def scenario(qmp: Qmp, _process: subprocess.Popen[bytes]) -> None:
        with pytest.raises(QmpRefused, match=r"refused no-such-thing: .* not been found") as caught:
            await qmp.execute("no-such-thing")
        assert caught.value.error_class == "CommandNotFound"
        assert await qmp.execute("query-uuid")

    with_qemu(tmp_path, scenario)


@needs_qemu
def test_an_open_file_is_handed_over(tmp_path: Path) -> None:
    async def scenario(qmp: Qmp, process: subprocess.Popen[bytes]) -> None:
        with (tmp_path / "given").open("wb") as stream:
            await qmp.execute("getfd", {"fdname": "x"}, descriptor=stream.fileno())
        open_files = {str(link.readlink()) for link in Path(f"/proc/{process.pid}/fd").iterdir()}
        assert str(tmp_path / "given") in open_files

    with_qemu(tmp_path, scenario)


@needs_qemu
def test_a_hung_qemu_ends_the_command_and_not_the_connection(tmp_path: Path) -> None:
    async def scenario(qmp: Qmp, process: subprocess.Popen[bytes]) -> None:
        process.send_signal(signal.SIGSTOP)
        begun = time.monotonic()
        with pytest.raises(HypervisorError, match=r"did not answer query-uuid within 0\.3 s"):
            await qmp.execute("query-uuid", timeout_s=0.3)
        assert time.monotonic() - begun < 5
        process.send_signal(signal.SIGCONT)
        # The late answer to the first question must not be taken for one to the second.
        assert "qemu" in await qmp.execute("query-version")

    with_qemu(tmp_path, scenario)


@needs_qemu
def test_a_killed_qemu_fails_what_waits_and_what_comes(tmp_path: Path) -> None:
    async def scenario(qmp: Qmp, process: subprocess.Popen[bytes]) -> None:
        process.send_signal(signal.SIGSTOP)
        waiting = asyncio.create_task(qmp.execute("query-uuid", timeout_s=60))
        await asyncio.sleep(0.1)
        process.kill()
        with pytest.raises(QmpClosed):
            await asyncio.wait_for(waiting, 10)
        with pytest.raises(QmpClosed):
            await qmp.execute("query-uuid")
        assert qmp.is_closed
        await qmp.close()

    with_qemu(tmp_path, scenario)


@pytest.mark.parametrize(
    ("said", "error"),
    [
        (b"SSH-2.0-OpenSSH\r\n", QmpClosed),
        (b'{"hello": 1}\r\n', QmpClosed),
        (b"[]\r\n", QmpClosed),
        (b"", HypervisorError),
    ],
)
def test_what_is_not_qemu_is_refused(said: bytes, error: type[Exception]) -> None:
    async def run() -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            theirs.sendall(said)
            with pytest.raises(error):
                await Qmp.open(ours, timeout_s=0.3)
        assert ours.fileno() == -1

    asyncio.run(run())


def test_sockets_work_in_a_folder_deeper_than_an_address_holds(tmp_path: Path) -> None:
    folder = tmp_path / ("d" * 200) / ("e" * 200)
    folder.mkdir(parents=True)
    with sockets.listen(folder / "s", backlog=1) as listener, sockets.connect(folder / "s") as ours:
        theirs, _address = listener.accept()
        with theirs:
            ours.send(b"x")
            assert theirs.recv(1) == b"x"
    with pytest.raises(ConnectionRefusedError):
        sockets.connect(folder / "s")
    with pytest.raises(FileNotFoundError):
        sockets.connect(folder / "t")


@needs_qemu
def test_events_are_waited_for_with_their_time(tmp_path: Path) -> None:
    async def scenario(qmp: Qmp, process: subprocess.Popen[bytes]) -> None:
        with qmp.events() as events:
            with pytest.raises(HypervisorError, match=r"did not report STOP in 0.1 seconds"):
                await events.wait_for("STOP", timeout_s=0.1)
            await qmp.execute("system_reset")
            event = await events.wait_for("RESET", timeout_s=30)
            assert abs(event.at_s - time.time()) < 30
            process.kill()
            for _ in range(2):
                with pytest.raises(QmpClosed, match="before it reported RESET"):
                    await events.wait_for("RESET", timeout_s=30)

    with_qemu(tmp_path, scenario)
