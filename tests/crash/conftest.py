"""A lab in a process of its own, for the rounds of one file."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.crash.stage import Stage


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with Stage() as made:
        yield made
