"""Marks, and judging them by watching."""

from __future__ import annotations

import os
import subprocess
import time
from datetime import UTC, datetime, timedelta

import pytest

from vmops import in_flight
from vmops.in_flight import Mark, Verdict, judge, watch
from vmops.in_flight.owners import named

ELSEWHERE = "0123456789ab-0123456789ab-4711-99"
LEASE_S = 60.0


class Clock:
    """Stands in for the time that passes."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "monotonic", clock)
    monkeypatch.setattr(watch, "WATCH", watch.Watch())
    return clock


def seen(text: str) -> Verdict:
    return judge(Mark.parse(text)).verdict


def test_a_mark_says_what_and_who_and_is_new_each_time() -> None:
    first, second = in_flight.mark("resize"), in_flight.mark("resize")
    assert first != second
    assert Mark.parse(first) == Mark(text=first, operation="resize", owner=in_flight.owner())
    assert Mark.parse(in_flight.mark("live migration")).operation == "live migration"


def test_a_name_says_who_and_is_new_each_time() -> None:
    first, second = in_flight.unique_name("tmp"), in_flight.unique_name("tmp")
    assert first != second
    mark = in_flight.named_mark(first, "image transfer")
    assert mark == Mark(text=first, operation="image transfer", owner=in_flight.owner())
    renewed = in_flight.named_mark(first, "image transfer", sign="x 2")
    assert renewed is not None
    assert renewed.text != mark.text
    assert in_flight.named_mark("tmp-nobody", "image transfer") is None
    assert in_flight.named_mark("tmp", "image transfer") is None


def test_what_stands_still_for_a_lease_is_given_up_and_not_before(clock: Clock) -> None:
    mark = f"resize {ELSEWHERE} 1"
    assert seen(mark) is Verdict.UNKNOWN
    clock.now += LEASE_S - 0.1
    assert seen(mark) is Verdict.UNKNOWN
    clock.now += 0.1
    judgment = judge(Mark.parse(mark))
    assert judgment.verdict is Verdict.EXPIRED
    assert judgment.may_be_taken
    assert judgment.why == "it was not renewed for 60 s"


def test_what_is_renewed_is_watched_anew(clock: Clock) -> None:
    for number in range(20):
        assert seen(f"resize {ELSEWHERE} {number}") is Verdict.UNKNOWN
        clock.now += LEASE_S - 1
    assert seen(f"resize {ELSEWHERE} 19") is Verdict.UNKNOWN


def test_another_sign_of_life_counts_too(clock: Clock) -> None:
    mark = Mark.parse(f"resize {ELSEWHERE} 1")
    judge(mark)
    clock.now += LEASE_S
    in_flight.see_alive(mark)
    assert judge(mark).verdict is Verdict.UNKNOWN


@pytest.mark.parametrize("years", [-1, 0, 1])
def test_no_date_in_a_mark_decides_anything(clock: Clock, years: int) -> None:
    """Marks had one once: of a clock that was right, a year ahead, or a year behind."""
    then = datetime.now(UTC) + timedelta(days=365 * years)
    mark = f"resize deadbeef-deadbeef-77-12345 {then:%Y-%m-%dT%H:%M:%SZ}"
    assert seen(mark) is Verdict.UNKNOWN
    clock.now += LEASE_S
    assert seen(mark) is Verdict.EXPIRED


@pytest.mark.parametrize("text", ["x", "resize", '{"operation": "resize"}'])
def test_what_nobody_can_read_is_watched_all_the_same(clock: Clock, text: str) -> None:
    assert seen(text) is Verdict.UNKNOWN
    clock.now += LEASE_S
    assert seen(text) is Verdict.EXPIRED


def test_ones_own_work_and_that_of_a_neighbour_are_known_at_once(clock: Clock) -> None:
    process = subprocess.Popen(["sleep", "60"])
    neighbours = f"rescue {named(process.pid)} 1"
    assert seen(in_flight.mark("spawn")) is Verdict.OWN
    assert seen(neighbours) is Verdict.ALIVE
    process.kill()
    process.wait()
    assert seen(neighbours) is Verdict.DEAD


def test_work_that_a_living_neighbour_does_not_renew_is_given_up(clock: Clock) -> None:
    """The process may live, and its operation have ended without an end; or it hangs."""
    mark = f"rescue {named(os.getppid())} 1"
    assert seen(mark) is Verdict.ALIVE
    clock.now += LEASE_S
    assert seen(mark) is Verdict.EXPIRED


def test_what_was_given_up_is_known_at_once(clock: Clock) -> None:
    judgment = judge(Mark.parse(in_flight.nobodys_mark("spawn")))
    assert (judgment.verdict, judgment.why) == (Verdict.DEAD, "it was given up")


def test_the_watch_forgets_what_nobody_asks_for_any_more(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "_MANY", 10)
    for number in range(100):
        clock.now += LEASE_S
        seen(f"resize {ELSEWHERE} {number}")
    assert len(watch.WATCH._first) <= 11


def test_the_watch_goes_by_real_time() -> None:
    mark = Mark.parse(f"resize {ELSEWHERE} {time.monotonic_ns()}")
    judge(mark)
    time.sleep(0.05)
    assert 0.05 <= judge(mark).still_s < 5.0
