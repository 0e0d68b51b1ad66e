"""The command's views into an instance: console, diagnostics, interfaces."""

from __future__ import annotations

import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Command, spawn
from tests.lab.web_socket import Refused, WebSocket
from vmops.lab import Lab


@pytest.fixture(scope="module")
def web1(vmops: Command) -> str:
    made = spawn(vmops, "web1")
    assert made.code == 0, made.err
    return made.out.strip()


def test_a_ticket_is_printed_once_and_logged_nowhere(vmops: Command, web1: str) -> None:
    first, second = (vmops("console", "url", "web1", "--keep", "0", "-vv") for _ in "12")
    assert first.code == second.code == 0, first.err
    found = re.fullmatch(r"wss://127\.0\.0\.1:\d+/ticket/(\w{32,})\n", first.out)
    assert found
    assert "AcquireTicket" in first.err
    assert found[1] not in first.err
    assert second.out != first.out


def test_a_console_in_parts(vmops: Command, web1: str) -> None:
    told = vmops("console", "url", "web1", "--keep", "0", "-o", "json").json
    assert told["name"] == "web1"
    assert told["url"] == f"wss://{told['host']}:{told['port']}{told['internal_access_path']}"
    assert len(bytes.fromhex(told["thumbprint"].replace(":", ""))) in {20, 32}


@pytest.fixture
def waiting(vmops: Command, web1: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A command that has printed its URL, and waits for a viewer."""
    process = vmops.start("console", "url", "web1", "--keep", "30")
    try:
        assert process.stdout
        yield process, process.stdout.readline().strip()
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def test_the_wait_for_a_viewer_is_broken_off(
    vmops: Command, lab: Lab, waiting: tuple[subprocess.Popen[str], str]
) -> None:
    process, url = waiting
    assert process.stderr
    process.stderr.readline()  # it waits by then
    process.send_signal(signal.SIGINT)
    ended = vmops.finish(process)
    assert (ended.code, ended.err) == (0, "")
    with pytest.raises(Refused):
        WebSocket(url, lab.certificate_file)


def test_nobody_comes(vmops: Command, lab: Lab, web1: str) -> None:
    begin = time.monotonic()
    told = vmops("console", "url", "web1", "--keep", "0.5")
    assert told.code == 0
    assert time.monotonic() - begin >= 0.5
    assert told.err.splitlines()[-1].endswith("has expired.")
    with pytest.raises(Refused):
        WebSocket(told.out.strip(), lab.certificate_file)


def test_a_console_that_is_not_there(vmops: Command, web1: str) -> None:
    none = vmops("console", "url", "web1", "--type", "vnc")
    assert none.code != 0
    assert "RemoteDisplay.vnc.port" in none.err
    spawn(vmops, "off1", "--no-power-on")
    assert "powered" in vmops("console", "url", "off1").err
    assert vmops("console", "url", "nowhere").code != 0


def test_the_short_forms_are_the_same(vmops: Command, lab: Lab, web1: str) -> None:
    (lab.datastore_root("datastore1") / web1 / "serial.log").write_bytes(b"hello\r\n")
    long, short = vmops("console", "log", "web1"), vmops("log", "web1")
    assert long.out.splitlines() == short.out.splitlines() == ["hello"]


def test_a_screenshot(vmops: Command, web1: str, tmp_path: Path) -> None:
    file = tmp_path / "screen.png"
    assert vmops("console", "screenshot", "web1", "-O", str(file)).code == 0
    assert file.read_bytes().startswith(b"\x89PNG")


def test_diagnostics(vmops: Command, web1: str) -> None:
    told = vmops("diagnostics", "web1", "-o", "json").json
    assert (told["name"], told["state"]) == ("web1", "running")
    assert told["cpu"]["vcpus"] == 1
    assert [disk["name"] for disk in told["disks"]] == ["scsi0:0"]
    shown = vmops("diagnostics", "web1").out
    assert "disk scsi0:0" in shown
    raw = vmops("diagnostics", "web1", "--raw", "-o", "json").json
    assert raw["vmware:powerState"] == "poweredOn"
    assert raw["vmware:instanceUuid"] == web1


def test_interfaces_come_and_go(vmops: Command, web1: str) -> None:
    def listed() -> list[dict[str, Any]]:
        return list(vmops("interface", "list", "web1", "-o", "json").json)

    before = listed()
    mac = "00:50:56:3b:00:01"
    made = vmops("interface", "attach", "web1", "--network", "VM Network", "--mac", mac)
    assert (made.code, made.out) == (0, f"{mac}\n"), made.err
    (new,) = [each for each in listed() if each not in before]
    assert (new["mac_address"], new["network"], new["connected"]) == (mac, "VM Network", True)
    again = vmops("interface", "attach", "web1", "--network", "VM Network", "--mac", mac)
    assert again.code != 0
    assert mac in again.err
    chosen = vmops(
        "interface", "attach", "web1", "--network", "VM Network", "--model", "e1000", "--id", "p1"
    )
    assert chosen.code == 0, chosen.err
    last = listed()[-1]
    assert (last["model"], last["id"], last["mac_address"]) == ("e1000", "p1", chosen.out.strip())
    assert vmops("interface", "detach", "web1", "--mac", mac).code == 0
    assert vmops("interface", "detach", "web1", "--id", "p1").code == 0
    assert listed() == before


def test_an_interface_that_is_not_there(vmops: Command, web1: str) -> None:
    gone = vmops("interface", "detach", "web1", "--mac", "00:50:56:3b:00:09")
    assert gone.code != 0
    assert "00:50:56:3b:00:09" in gone.err
    assert vmops("interface", "detach", "web1").code == 2
    nowhere = vmops("interface", "attach", "web1", "--network", "nowhere")
    assert nowhere.code != 0
    assert "nowhere" in nowhere.err
