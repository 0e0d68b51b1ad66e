"""The hunt for left-over processes finds one that tried hard to be forgotten."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.guards import processes

DAEMON = """
import os, sys, time
if os.fork():
    os._exit(0)
os.setsid()
print(os.getpid(), flush=True)
os.close(1)
time.sleep(60)
"""


def test_a_daemon_is_found_by_its_mark_and_ended() -> None:
    mark = processes.new_mark()
    started = subprocess.run(
        [sys.executable, "-c", DAEMON],
        env=os.environ | {processes.MARK: mark},
        stdout=subprocess.PIPE,
        check=True,
    )
    pid = int(started.stdout)
    found = processes.wait_for_none(mark, seconds=0)
    processes.end(found)
    assert [process.pid for process in found] == [pid]
    assert "sleep" in found[0].command
    assert not processes.is_alive(pid)
    assert processes.find(mark) == []


def test_processes_of_others_are_left_alone() -> None:
    assert processes.find(processes.new_mark()) == []


LEAVES_A_PROCESS = """
import subprocess

def test_passes() -> None:
    subprocess.Popen(["sleep", "60"], start_new_session=True)
"""


def test_a_run_that_leaves_a_process_fails(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(LEAVES_A_PROCESS)
    options = ["-p", "tests.conftest", "-p", "no:cacheprovider", "-W", "ignore", "-n1"]
    run = subprocess.run(
        [sys.executable, "-m", "pytest", *options, "-c", os.devnull, tmp_path],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "1 passed" in run.stdout
    assert "processes left running" in run.stdout
    assert "sleep 60" in run.stdout
    assert run.returncode == 1
