"""Every promised behaviour is proved by a test that is there, or has a reason."""

from __future__ import annotations

import pytest

from tests.backends.behaviours import Behaviour, behaviours, missing


def test_none_is_left_out() -> None:
    numbers = [each.number for each in behaviours()]
    assert numbers == [f"C{n:02}" for n in range(1, len(numbers) + 1)]
    assert len(numbers) >= 90


@pytest.mark.parametrize("behaviour", behaviours(), ids=lambda each: each.number)
def test_it_is_proved_or_says_why_not(behaviour: Behaviour) -> None:
    assert not missing(behaviour), "tests that are not there (any more)"
    assert behaviour.tests or behaviour.reason
