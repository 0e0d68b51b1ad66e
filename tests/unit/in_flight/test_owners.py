"""Owners: who a process is, and what the short cut knows of another one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

import pytest

from vmops.in_flight import owners
from vmops.in_flight.owners import Life, life_of

PROJECT = Path(__file__).parents[3]


def other(changed: Mapping[str, str] | None = None, *, later: int = 0) -> str:
    """The name of this process' parent with parts changed."""
    parts = owners.named(os.getppid()).split("-")
    name = dict(zip(("id", "place", "pid", "start"), parts, strict=True))
    name["start"] = str(int(name["start"]) + later)
    return "-".join({**name, **(changed or {})}.values())


def in_another(statement: str, *options: str) -> str:
    """What a statement prints in a Python that unshare starts with these options."""
    if shutil.which("unshare") is None:
        pytest.skip("there is no unshare here")
    program = f"from vmops.in_flight import owners; print({statement})"
    done = subprocess.run(
        ["unshare", *options, sys.executable, "-c", program],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.skip(f"namespaces are not permitted here: {done.stderr.strip()[-80:]}")
    return done.stdout.strip()


_FORK = """
import os
from vmops.in_flight import owners
print(owners.owner(), flush=True)
child = os.fork()
if child == 0:
    print(os.getpid(), owners.owner(), flush=True)
    os._exit(0)
os.waitpid(child, 0)
"""


def test_a_process_keeps_its_name_and_a_forked_one_gets_another() -> None:
    mine = owners.owner()
    assert owners.owner() == mine
    assert life_of(mine) is Life.ALIVE
    # In a process of its own: what other tests have imported may object to forks.
    told = subprocess.run(
        [sys.executable, "-c", _FORK], stdout=subprocess.PIPE, text=True, check=True
    ).stdout.split()
    first, child, forked = told
    assert forked.split("-")[0] != first.split("-")[0]
    assert forked.split("-")[2] == child


def test_a_living_process_lives_and_one_that_ended_is_dead() -> None:
    process = subprocess.Popen(["sleep", "60"])
    name = owners.named(process.pid)
    assert life_of(name) is Life.ALIVE
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert life_of(name) is Life.UNKNOWN, "nobody has waited for it, its threads might run on"
    process.wait()
    assert life_of(name) is Life.DEAD


def test_a_number_that_another_process_has_got_is_not_its_owner() -> None:
    assert life_of(other()) is Life.ALIVE
    assert life_of(other(later=1)) is Life.DEAD


@pytest.mark.parametrize(
    "changed",
    [
        {"place": "0" * 12},
        {"place": "a" * 12},
        {"place": "deadbeef", "id": "deadbeef"},
        {"start": "0"},
    ],
    ids=["unknown place", "another place", "an older form", "untold start"],
)
def test_what_is_not_certain_is_unknown(changed: dict[str, str]) -> None:
    assert life_of(other(changed)) is Life.UNKNOWN


@pytest.mark.parametrize("text", ["", "spawn", "a-b-c-d"])
def test_nothing_is_known_of_what_is_no_owner(text: str) -> None:
    assert life_of(text) is Life.UNKNOWN


def test_nobody_is_dead() -> None:
    assert life_of(owners.NOBODY) is Life.DEAD


def test_a_proc_that_is_of_other_processes_is_not_believed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As in a container that has the /proc of its host."""
    name = owners.named(os.getpid())
    (tmp_path / "self").symlink_to("1")
    monkeypatch.setattr(owners, "_PROC", tmp_path)
    assert owners.place() == "0" * 12
    assert life_of(name) is Life.UNKNOWN
    assert life_of(owners.named(os.getpid())) is Life.UNKNOWN


def test_another_pid_namespace_is_another_place() -> None:
    """Its process 1 is not ours, nor is any number that it has."""
    elsewhere = in_another("owners.owner()", "-p", "-f", "--mount-proc")
    assert elsewhere.split("-")[2] == "1"
    assert life_of(elsewhere) is Life.UNKNOWN
    mine = owners.owner()
    told = in_another(f"owners.life_of({mine!r})", "-p", "-f", "--mount-proc")
    assert told == "unknown"


def test_a_pid_namespace_with_the_proc_of_its_host_knows_nothing() -> None:
    place = in_another("owners.place()", "-p", "-f")
    assert place == "0" * 12


def test_a_host_of_another_name_is_the_same_place() -> None:
    """The name decides nothing: neither that it is another place, nor that it is the same."""
    renamed = ("-u", "sh", "-c", 'hostname elsewhere; exec "$@"', "sh")
    told = in_another(f"owners.life_of({owners.owner()!r})", *renamed)
    assert told == "alive"


def test_the_name_is_made_once_for_all_threads() -> None:
    seen: list[str] = []
    threads = [threading.Thread(target=lambda: seen.append(owners.owner())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(seen) == {owners.owner()}
