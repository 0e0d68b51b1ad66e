"""Ctrl-C, signals, kills, closed pipes: nothing is left behind, or it is found and removed."""

from __future__ import annotations

import os
import pty
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import COMMAND, Command, begin_upload, spawn
from vmops.lab import Lab

UPLOAD = "Upload the image in its place"


@pytest.fixture(scope="module")
def vmops(slow: Command) -> Iterator[Command]:
    # Below nohup a hang-up is ignored, and the command leaves that so.
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield slow
    signal.signal(signal.SIGHUP, before)


def datastore_files(lab: Lab) -> list[str]:
    roots = [lab.datastore_root(name) for name in ("datastore1", "datastore2")]
    found = [p for root in roots for p in root.rglob("*")]
    return sorted(str(p) for p in found if p.name != "vmops_base")


@pytest.mark.parametrize(
    ("number", "code", "said"),
    [
        (signal.SIGINT, 130, "Interrupted."),
        (signal.SIGTERM, 143, "Terminated."),
        (signal.SIGHUP, 129, "Terminated."),
    ],
)
def test_a_signal_in_mid_upload_undoes_the_spawn(
    vmops: Command, lab: Lab, number: signal.Signals, code: int, said: str
) -> None:
    before = datastore_files(lab)
    process = begin_upload(vmops, "cut-short")
    process.send_signal(number)
    ended = vmops.finish(process)
    assert ended.code == code
    assert ended.err.splitlines()[-1] == said
    assert datastore_files(lab) == before
    assert vmops("show", "cut-short").code == 3
    assert vmops("audit").err == "Nothing is left behind.\n"


def test_a_killed_spawn_is_found_and_removed(vmops: Command, lab: Lab) -> None:
    before = datastore_files(lab)
    process = begin_upload(vmops, "killed")
    process.kill()
    vmops.finish(process)
    found = vmops("audit", "-o", "json")
    assert found.code == 7
    assert [row["kind"] for row in found.json] == ["unfinished spawn", "unfinished image transfer"]
    assert found.json[0]["name"] == "killed"
    assert vmops("audit", "--fix").code == 0
    assert datastore_files(lab) == before
    assert vmops("audit").code == 0


def test_two_spawns_of_one_name_at_once(vmops: Command) -> None:
    both = [
        vmops.start("spawn", "twin", "--image", "small", "--memory", "16M", "--no-power-on")
        for _ in range(2)
    ]
    results = sorted((vmops.finish(one) for one in both), key=lambda result: result.code)
    assert [result.code for result in results] == [0, 4]
    assert "The name 'twin' is taken." in results[1].err
    assert results[1].err.splitlines()[-1].startswith("Choose another name")
    assert vmops("show", "twin", "-o", "json").json["uuid"] == results[0].out.strip()


def test_a_reader_that_goes_away(vmops: Command) -> None:
    process = vmops.start("list", "-o", "json")
    assert process.stdout
    process.stdout.close()
    process.stdout = None
    ended = vmops.finish(process)
    assert ended.err == ""
    assert ended.code != 0


def test_a_full_disk_below_stdout(vmops: Command) -> None:
    with Path("/dev/full").open("w") as full:
        ended = vmops.finish(vmops.start("list", "-o", "json", stdout=full))
    assert ended == type(ended)(1, "", "Error: No space left on device\n")


def test_a_closed_stdout(vmops: Command) -> None:
    closed = ["sh", "-c", 'exec "$@" >&-', "sh", *COMMAND]
    ended = vmops.finish(vmops.start("list", program=closed))
    assert (ended.code, ended.err) == (0, "")


def on_terminal(
    command: Command, *args: str, columns: int = 80, env: dict[str, str] | None = None
) -> tuple[int, str]:
    """What the command shows on a terminal of this width."""
    ours, theirs = pty.openpty()
    try:
        settings = {"COLUMNS": str(columns), "TERM": "xterm-256color", "NO_COLOR": None}
        process = command.with_env(**{**settings, **(env or {})}).start(
            *args, stdin=theirs, stdout=theirs, stderr=theirs
        )
        os.close(theirs)
        shown = b""
        end = time.monotonic() + 30
        while time.monotonic() < end:
            try:
                block = os.read(ours, 65536)
            except OSError:  # the other side is closed
                break
            if not block:
                break
            shown += block
        return command.finish(process).code, shown.decode()
    finally:
        os.close(ours)


def test_a_terminal_gets_a_bar_that_goes_away(vmops: Command) -> None:
    code, shown = on_terminal(vmops, "spawn", "barred", "--image", "slow", "--no-power-on")
    assert code == 0
    assert "━" in shown
    assert "MiB of 512.0 MiB" in shown
    final = [line.rpartition("\x1b[2K")[2].strip("\r") for line in shown.split("\n")]
    uploads = [line for line in final if line.startswith(f"    {UPLOAD} (")]
    assert len(uploads) == 1
    assert "512.0 MiB at " in uploads[0]


def test_a_narrow_terminal_leaves_columns_out(vmops: Command) -> None:
    assert spawn(vmops, "narrow", "--no-power-on").code == 0
    _, wide = on_terminal(vmops, "list", columns=200)
    _, narrow = on_terminal(vmops, "list", columns=60)
    assert "\x1b[1mNAME" in wide
    assert "UUID" in wide
    assert "UUID" not in narrow
    assert max(len(line.rstrip()) for line in narrow.replace("\x1b[1m", "").splitlines()) <= 64


def test_no_color(vmops: Command) -> None:
    _, plain = on_terminal(vmops, "list", env={"NO_COLOR": "1"})
    assert "\x1b" not in plain


def test_a_picture_is_not_written_to_a_terminal(vmops: Command) -> None:
    code, shown = on_terminal(vmops, "screenshot", "any", "-O", "-")
    assert code == 2
    assert "redirect it" in shown
