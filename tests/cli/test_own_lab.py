"""The command with a lab of its own, which it starts in the background."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import COMMAND, Command, begin_upload, spawn


@pytest.fixture
def own(slow: Command, tmp_path: Path) -> Iterator[Command]:
    """The command with a state folder of its own, and with the module's images."""
    images = str(Path(slow.env["VMOPS_STATE_DIR"]) / "images")
    command = Command({"VMOPS_STATE_DIR": str(tmp_path / "state"), "VMOPS_IMAGES": images})
    yield command
    command("lab", "stop")


def test_a_lab_that_dies_in_mid_upload(own: Command) -> None:
    assert own("lab", "start", "--no-guests").code == 0
    lab = own("lab", "status", "-o", "json").json
    process = begin_upload(own, "orphan")
    os.kill(lab["process"], signal.SIGKILL)
    failed = next(json.loads(line) for line in process.stderr or () if '"StepFailed"' in line)
    assert "was lost after" in failed["error"]
    # Undoing tries for half a minute to reach the lab again; who does not want to wait insists.
    while process.poll() is None:
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
    ended = own.finish(process)
    assert ended.code == 130
    assert "Undoing was cut short. See what is left with: vmops audit" in ended.err
    assert "Traceback" not in ended.err
    # The next spawn, of the same name, removes what is left before it would stumble over it.
    assert own("lab", "start", "--no-guests").code == 0
    again = spawn(own, "orphan", "--no-power-on")
    assert again.code == 0, again.err
    assert "Removed what was left of an unfinished spawn: orphan" in again.err
    assert own("audit").code == 0


def test_the_lab_from_start_to_reset(own: Command) -> None:
    stopped = own("lab", "status", "-o", "json")
    assert (stopped.code, stopped.json["status"]) == (1, "stopped")
    assert own("env", "-o", "json").json[0]["value"].startswith("(not running")
    started = own("list")
    assert started.err.startswith("No endpoint is set; starting the lab on this machine.\n")
    lab = own("lab", "status", "-o", "json").json
    assert lab["status"] == "running"
    assert f"runs already at {lab['url']}" in own("lab", "start").err
    assert own("env", "-o", "json").json[0]["value"] == lab["url"]
    conflict = own("lab", "start", "--esx")
    assert conflict.code == 4
    assert "holds a vCenter" in conflict.err
    secret = Path(lab["password_file"])
    assert secret.stat().st_mode & 0o077 == 0
    folder = Path(lab["state_dir"])
    files = [path for path in folder.rglob("*") if path.is_file() and path != secret]
    assert not [path for path in files if secret.read_text() in path.read_text(errors="replace")]
    assert own("lab", "reset").code == 2
    assert own("lab", "reset", "--yes").code == 0
    assert not folder.exists()


def test_a_single_esxi_stays_one(own: Command) -> None:
    assert own("lab", "start", "--esx", "--no-guests").code == 0
    assert spawn(own, "on-esx").code == 0
    assert own("lab", "stop").err == "The lab has stopped.\n"
    assert own("list", "-o", "name").out == "on-esx\n"
    assert own("lab", "status", "-o", "json").json["username"] == "root"


def test_lab_env_is_for_any_shell(own: Command) -> None:
    printed = own("lab", "env").out
    env = {**os.environ, **own.env}
    shell = [*COMMAND, "env", "-o", "json"]
    script = f'{printed}\nexec "$@"'
    run = ["sh", "-c", script, "sh", *shell]
    said = subprocess.run(run, env=env, capture_output=True, text=True, check=True).stdout
    assert '"origin": "VMOPS_URL"' in said
    secret = (Path(own.env["VMOPS_STATE_DIR"]) / "lab" / "password").read_text()
    assert secret not in printed
    assert secret not in said


def test_without_qemu_only_power_on_is_refused(own: Command, tmp_path: Path) -> None:
    bare = tmp_path / "bin"
    bare.mkdir()
    poor = own.with_env(PATH=str(bare))
    refused = spawn(poor, "powerless")
    assert refused.code == 1
    assert "apt-get install qemu-system-x86" in refused.err
    assert "Undone: nothing of it is left." in refused.err
    assert own("list", "-o", "json").json == []
    assert spawn(poor, "powerless", "--no-power-on").code == 0
    lacking = {
        row["name"]: row["remedy"]
        for row in poor("doctor", "-o", "json").json
        if row["status"] == "missing"
    }
    assert lacking["qemu-system-x86_64"] == "apt-get install qemu-system-x86"
