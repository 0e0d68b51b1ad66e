"""What a soak takes for growth, and what a short one sees of a lab and its clients."""

from __future__ import annotations

import random

import pytest

from tests.crash.soak import Watched, growth, report

SECONDS = [5.0 * number for number in range(240)]


@pytest.mark.parametrize(
    ("per_minute", "is_seen"), [(0.0, False), (0.05, False), (0.3, True), (2.0, True)]
)
def test_a_slope_is_seen_through_noise(per_minute: float, is_seen: bool) -> None:
    chance = random.Random(1)
    values = [60.0 + per_minute * at / 60 + chance.gauss(0, 0.3) for at in SECONDS]
    found = growth(SECONDS, values)
    assert found.per_minute == pytest.approx(per_minute, abs=0.05)
    assert found.exceeds(0.1) is is_seen


def test_what_grows_at_the_beginning_alone_is_flat() -> None:
    values = [60.0 + min(at, 300.0) / 10 for at in SECONDS]
    assert not growth(SECONDS, values).exceeds(0.1)


def test_one_step_is_not_a_slope() -> None:
    """Memory that is taken once and kept; a leak goes on."""
    values = [60.0 + (1.0 if at > 900 else 0.0) for at in SECONDS]
    assert not growth(SECONDS, values).exceeds(0.1)


def test_the_table_names_what_grows() -> None:
    watched = Watched(name="lab", pid=0, seconds=SECONDS)
    watched.seen = {
        "memory, MiB": [100.0 + at / 60 for at in SECONDS],
        "threads": [5.0 for _ in SECONDS],
        "descriptors": [10.0 + (at % 30) / 10 for at in SECONDS],
    }
    lines, grows = report([watched])
    assert grows == ["lab: memory, MiB"]
    assert [line.endswith("| grows |") for line in lines[2:]] == [True, False, False]
