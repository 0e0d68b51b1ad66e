"""What a guest shows: its serial port as text, its screen as a picture."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.backends import files, second_view
from tests.backends.capabilities import Capability
from tests.builders import a_uuid
from tests.contract.engine import OF_WAITING, Bench
from tests.contract.needs import needs
from tests.contract.test_power import OFF, ON, SUSPENDED, in_state
from vmops.errors import InstanceNotFound, InvalidPowerState, NotSupported

PNG = b"\x89PNG\r\n\x1a\n"
TAIL = 100 * 1024


def text_of(picture: bytes, file: Path) -> str:
    """The text in a picture, read by tesseract, which is not ours."""
    if shutil.which("tesseract") is None:
        pytest.skip("tesseract-ocr is not installed")
    file.write_bytes(picture)
    command = ["tesseract", str(file), "-", "--psm", "6"]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


def read_until(words: str, read: Callable[[], str], seconds: float = 60.0) -> str:
    deadline = time.monotonic() + seconds
    while words not in (text := read()):
        assert time.monotonic() < deadline, f"no {words!r} in {text!r}"
        time.sleep(0.2)
    return text


def test_before_anything_was_written_there_is_nothing(bench: Bench) -> None:
    assert bench.ops.get_console_output(in_state(bench, OFF)) == b""


@needs(Capability.CONTROL)
@pytest.mark.parametrize("state", [OFF, SUSPENDED])
def test_the_log_stays_when_the_guest_does_not_run(bench: Bench, state: str) -> None:
    instance = in_state(bench, state)
    log = bench.root() / instance.uuid / "serial.log"
    log.write_bytes(b"the last words\r\n\xff\x00")
    assert bench.ops.get_console_output(instance) == b"the last words\r\n\xff\x00"


@needs(Capability.CONTROL)
def test_of_a_long_log_the_end_is_given(bench: Bench) -> None:
    instance = in_state(bench, OFF)
    content = b"".join(b"line %d\r\n" % number for number in range(20_000))
    (bench.root() / instance.uuid / "serial.log").write_bytes(content)
    assert bench.ops.get_console_output(instance) == content[-TAIL:]


@needs(Capability.GUEST)
def test_it_is_what_the_guest_wrote(bench: Bench) -> None:
    instance = bench.spawn()
    bench.serial(instance).wait_for("tick 1")
    found = bench.ops.get_console_output(instance).decode()
    assert found.startswith("vmops boot sector\r\nboot 1\r\ntick 1")
    assert bench.serial(instance).text().startswith(found)


def test_an_instance_without_a_serial_port_says_so(bench: Bench) -> None:
    instance = bench.spawn(ops=bench.engine(serial_log=False), power_on=False)
    with pytest.raises(NotSupported, match="serial port"):
        bench.ops.get_console_output(instance)


@needs(Capability.CONSOLES)
def test_the_screenshot_is_a_picture_of_the_screen(bench: Bench) -> None:
    picture = bench.ops.get_console_screenshot(in_state(bench, ON))
    assert picture.startswith(PNG)


@needs(Capability.CONTROL)
def test_the_screenshot_is_the_one_that_the_server_makes(bench: Bench) -> None:
    if Capability.GUEST not in bench.backend.lacks:
        pytest.skip("the screen of a guest that runs changes")
    instance = in_state(bench, ON)
    made = second_view.finished(bench.vm(instance).CreateScreenshot_Task())
    expected = files.local(bench.root(), made).read_bytes()
    assert bench.ops.get_console_screenshot(instance) == expected


@needs(Capability.GUEST)
def test_the_screenshot_shows_what_the_guest_wrote(bench: Bench, tmp_path: Path) -> None:
    instance = bench.spawn()

    def read() -> str:
        return text_of(bench.ops.get_console_screenshot(instance), tmp_path / "screen.png")

    assert "vmops boot sector" in read_until("tick", read)


@needs(Capability.CONSOLES)
@pytest.mark.parametrize("state", [OFF, SUSPENDED])
def test_what_does_not_run_has_no_screen(bench: Bench, state: str) -> None:
    instance = in_state(bench, state)
    before = bench.world()
    with pytest.raises(InvalidPowerState, match=r"is (powered off|suspended)\."):
        bench.ops.get_console_screenshot(instance)
    assert bench.world() == before


@needs(Capability.CONTROL)
def test_a_log_that_the_server_does_not_give_is_nothing_and_said_so(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    instance = bench.spawn()
    bench.control.refuse("GET /folder", status=500)
    assert bench.ops.get_console_output(instance) == b""
    assert f"({instance.uuid}): no console output" in caplog.text
    assert "500" in caplog.text


def test_an_unknown_instance(bench: Bench) -> None:
    for look in (bench.ops.get_console_output, bench.ops.get_console_screenshot):
        with pytest.raises(InstanceNotFound):
            look(a_uuid())


@needs(Capability.COUNTED_CALLS)
def test_they_cost_one_call_together(bench: Bench) -> None:
    instance = in_state(bench, ON)
    bench.ops.get_console_output(instance)
    bench.backend.forget_calls()
    bench.ops.get_console_screenshot(instance)
    bench.ops.get_console_output(instance)
    calls = {k: n for k, n in bench.backend.calls().items() if k not in OF_WAITING}
    assert calls == {"RetrievePropertiesEx": 1}
