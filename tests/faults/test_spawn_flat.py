"""Spawn of a flat image, failing at each of its calls."""

from __future__ import annotations

import pytest

from tests.contract.engine import Bench
from tests.faults import matrix
from vmops.lab.wire.failures import Failure

WAY = "flat"


@pytest.mark.parametrize(("linked", "failure"), matrix.spawn_parameters(WAY))
def test_all_or_nothing(bench: Bench, linked: bool, failure: Failure) -> None:
    matrix.check_spawn(bench, WAY, linked=linked, failure=failure)


@pytest.mark.parametrize("linked", [True, False], ids=["linked", "full"])
def test_the_table_is_that_of_a_good_run(bench: Bench, linked: bool) -> None:
    matrix.check_table(bench, WAY, linked=linked)
