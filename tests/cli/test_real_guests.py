"""What the command says of guests that really run: consoles, and waiting for them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.cli.conftest import Command, spawn
from tests.guests.plain_qemu import linux_guest
from tests.lab.web_socket import Refused, WebSocket
from tests.rfb import Viewer
from vmops.lab import Lab, LabSettings

pytestmark = pytest.mark.guest

TICKS = ("--wait", "--wait-for", r"boot \d+\s+tick 1\b", "--timeout", "60")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    settings = LabSettings(state_dir=tmp_path_factory.mktemp("lab"), hypervisor="qemu")
    with Lab.run(settings) as running:
        yield running


@pytest.fixture(scope="module")
def web1(vmops: Command) -> Iterator[dict[str, Any]]:
    made = spawn(vmops, "web1", *TICKS, "-o", "json")
    assert made.code == 0, made.err
    assert made.err.splitlines()[-1].startswith("web1: ready after ")
    yield made.json
    assert vmops("destroy", "web1", "--yes").code == 0


def boots(lab: Lab, web1: dict[str, Any]) -> str:
    return (lab.datastore_root("datastore1") / str(web1["uuid"]) / "serial.log").read_text()


def test_the_url_that_is_printed_shows_the_screen(
    vmops: Command, lab: Lab, web1: dict[str, Any]
) -> None:
    process = vmops.start("console", "url", "web1")
    socket = None
    try:
        assert process.stdout
        url = process.stdout.readline().strip()
        socket = WebSocket(url, lab.certificate_file)
        assert socket.headers["sec-websocket-protocol"] == "binary"
        viewer = Viewer(socket.send, socket.receive)
        viewer.log_in(None)
        rows = viewer.picture()
        assert len(rows) == viewer.height > 300
        assert len(set(b"".join(rows))) > 1, "the screen is not black"
        ended = vmops.finish(process)
        assert ended.code == 0
        assert "good for nothing" not in ended.err
        # The session that asked for the ticket has ended; the viewer sees on.
        assert len(viewer.picture()) == viewer.height
    finally:
        if socket is not None:
            socket.close()
        if process.poll() is None:
            process.kill()
        process.communicate()
    with pytest.raises(Refused):
        WebSocket(url, lab.certificate_file)


@pytest.mark.parametrize(
    "verb", [("reboot", "--hard"), ("rescue", "--image", "small"), ("unrescue",)], ids=" ".join
)
def test_a_guest_that_boots_is_waited_for(
    vmops: Command, lab: Lab, web1: dict[str, Any], verb: tuple[str, ...]
) -> None:
    before = boots(lab, web1)
    done = vmops(verb[0], "web1", *verb[1:], *TICKS)
    assert done.code == 0, done.err
    assert "Wait for the guest" in done.err
    now = boots(lab, web1)
    assert "tick 1\n" in now.removeprefix(before)


def test_a_guest_that_goes_on_is_not_expected_to_boot(
    vmops: Command, lab: Lab, web1: dict[str, Any]
) -> None:
    stopped = vmops("suspend", "web1", "--wait", "-o", "json")
    assert (stopped.code, stopped.json[0]["status"]) == (0, "suspended"), stopped.err
    before = boots(lab, web1).count("boot ")
    for verb in ("resume", "start"):
        went_on = vmops(verb, "web1", "--wait", "--timeout", "20", "-o", "json")
        assert (went_on.code, went_on.json[0]["status"]) == (0, "running"), went_on.err
        assert vmops("suspend", "web1").code == 0
    assert vmops("start", "web1", "--wait", "--timeout", "20").code == 0
    assert boots(lab, web1).count("boot ") == before


def test_off_is_waited_for(vmops: Command, web1: dict[str, Any]) -> None:
    off = vmops("stop", "web1", "--wait", "-o", "yaml")
    assert off.code == 0
    assert "status: 'off'" in off.out
    assert vmops("start", "web1", *TICKS).code == 0


@pytest.fixture(scope="module")
def linux(vmops: Command) -> str:
    """A guest with Tools, which tell its address."""
    properties = ("vmware_ostype=debian12_64Guest", "vmware_adaptertype=paraVirtual")
    add = ["image", "add", str(linux_guest()), "--name", "linux"]
    for each in (*properties, "hw_vif_model=VirtualVmxnet3"):
        add += ["--property", each]
    assert vmops(*add).code == 0
    return "linux"


@pytest.mark.parametrize("more", [("--wait",), ("--wait-for", "ip")], ids=" ".join)
def test_who_has_waited_sees_the_guests_address(
    vmops: Command, linux: str, more: tuple[str, ...]
) -> None:
    made = vmops(
        "spawn",
        "lin",
        "--image",
        linux,
        "--network",
        "dv-net",
        *more,
        "--timeout",
        "120",
        "-o",
        "json",
    )
    try:
        assert made.code == 0, made.err
        assert made.json["addresses"], made.out
        assert vmops("show", "lin", "-o", "json").json["addresses"]
        again = vmops("reboot", "lin", "--wait-for", "tools", "--timeout", "120")
        assert (again.code, "Wait for the guest's Tools" in again.err) == (0, True)
    finally:
        assert vmops("destroy", "lin", "--yes").code == 0


def test_a_guest_without_tools_is_not_waited_for_in_vain(
    vmops: Command, web1: dict[str, Any]
) -> None:
    for word, said in (("tools", "has no Tools that answered"), ("ip", "got no address")):
        late = vmops("reboot", "web1", "--hard", "--wait-for", word, "--timeout", "1")
        assert late.code != 0
        assert f"The guest {said} within 1 s. The instance runs on" in late.err
