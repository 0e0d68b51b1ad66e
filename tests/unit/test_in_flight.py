"""Marks: whose work it is, and whether that is still being done."""

from __future__ import annotations

import os
import subprocess
from datetime import UTC, datetime, timedelta

import pytest

from vmops import in_flight

ELSEWHERE = "01234567-89abcdef-4711-99"


def at(age: timedelta) -> str:
    return f"{datetime.now(UTC) - age:%Y-%m-%dT%H:%M:%SZ}"


def test_ones_own_work_is_known_otherwise() -> None:
    mark = in_flight.mark("spawn")
    assert not in_flight.owner_is_gone(mark)
    assert in_flight.work_of_another(mark) is None


def test_a_living_process_is_at_work_and_a_dead_one_is_not() -> None:
    process = subprocess.Popen(["sleep", "60"])
    mark = in_flight.mark("rescue", pid=process.pid)
    work = in_flight.work_of_another(mark)
    process.kill()
    process.wait()
    assert work is not None
    assert (work.operation, work.pid) == ("rescue", process.pid)
    assert f"rescue has been running since {work.since.astimezone():%H:%M:%S}" in str(work)
    assert in_flight.owner_is_gone(mark)
    assert in_flight.work_of_another(mark) is None


def test_a_number_that_another_process_has_got_is_not_its_owner() -> None:
    machine, boot, pid, start = in_flight.owner(os.getppid()).split("-")
    assert in_flight.work_of_another(f"resize {machine}-{boot}-{pid}-{int(start) + 1} x") is None


@pytest.mark.parametrize(
    ("since", "believed"),
    [
        (timedelta(), True),
        (timedelta(minutes=50), True),
        (timedelta(minutes=61), False),
        ("", False),
        ("yesterday", False),
    ],
    ids=["now", "lately", "long ago", "untold", "unclear"],
)
def test_a_process_on_another_machine_is_believed_for_an_hour(
    since: timedelta | str, believed: bool
) -> None:
    told = since if isinstance(since, str) else at(since)
    work = in_flight.work_of_another(f"resize {ELSEWHERE} {told}")
    assert (work is not None) == believed
    if work is not None:
        assert str(work).endswith("on another machine")


@pytest.mark.parametrize("text", ["", "spawn", "tmp-nobody"])
def test_what_names_nobody_is_nobodys_work(text: str) -> None:
    assert in_flight.work_of_another(text) is None
