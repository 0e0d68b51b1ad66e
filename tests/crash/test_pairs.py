"""Some rounds of some pairs; `make crash` runs all of them for longer."""

from __future__ import annotations

import pytest

from tests.crash.pairs import PAIRS, contest
from tests.crash.stage import Stage

QUICK_S = 0.7
QUICK = (
    "two spawns of one instance",
    "two spawns of a new image",
    "snapshot and destroy of another",
    "resize and destroy",
    "two destroys",
    "a volume to two instances",
    "a volume detached and its instance destroyed",
    "live migration and destroy",
    "image list and image removed",
    "volumes listed while others are deleted",
    "audit and spawn",
)


@pytest.mark.parametrize("name", QUICK)
def test_what_only_one_can_have_one_has_and_nothing_is_left(stage: Stage, name: str) -> None:
    found = contest(stage, PAIRS[name], QUICK_S)
    assert found.rounds
    assert found.problems == []
