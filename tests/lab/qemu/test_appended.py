"""What a process appends to is kept small; what else it has open is left alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from vmops.lab.qemu import appended

WRITER = """
import sys, time
appended, other = open(sys.argv[1], "ab", 0), open(sys.argv[2], "wb", 0)
line = b"x" * 99 + b"\\n"
for number in range(4000):
    appended.write(b"%06d " % number + line[7:])
    other.write(line)
print("written", flush=True)
sys.stdin.readline()
appended.write(b"one more\\n")
print("more", flush=True)
sys.stdin.readline()
"""


def test_a_file_that_is_appended_to_keeps_its_last_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(appended, "MOST_BYTES", 100_000)
    monkeypatch.setattr(appended, "KEPT_BYTES", 10_050)
    log, other = tmp_path / "log", tmp_path / "other"
    argv = [sys.executable, "-c", WRITER, str(log), str(other)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdin
        assert writer.stdout
        assert writer.stdout.readline() == "written\n"
        appended.trim_files_of(writer.pid)
        lines = log.read_bytes().splitlines()
        assert [int(line[:6]) for line in lines] == list(range(3900, 4000))
        assert other.stat().st_size == 400_000
        writer.stdin.write("\n")
        writer.stdin.flush()
        assert writer.stdout.readline() == "more\n"
        appended.trim_files_of(writer.pid)  # it is short: nothing is done
        assert log.read_bytes().splitlines() == [*lines, b"one more"]
        writer.stdin.write("\n")
    appended.trim_files_of(writer.pid)  # it is gone


def test_a_file_of_another_name_now_is_the_one_that_is_trimmed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(appended, "MOST_BYTES", 1000)
    monkeypatch.setattr(appended, "KEPT_BYTES", 100)
    log, precious = tmp_path / "log", tmp_path / "precious"
    precious.write_bytes(b"p" * 50_000)
    with log.open("ab", 0) as stream:
        stream.write(b"y" * 49 + b"\n")
        for _ in range(100):
            stream.write(b"y" * 49 + b"\n")
        log.rename(tmp_path / "moved")
        log.symlink_to(precious)
        appended.trim_files_of(os.getpid())
    assert precious.stat().st_size == 50_000
    assert (tmp_path / "moved").stat().st_size < 1000
