"""Operations whose server goes silent: they end in time, and what they tell is true.

With shorter limits; ``python -m tests.faults.silent`` measures with those that hold.
"""

from __future__ import annotations

import pytest

from tests.backends.lab import LabBackend
from tests.builders import Images
from tests.faults.silent import CASES, Case, Outcome, scene, shortened
from vmops.errors import ConnectionLost, LeftBehind

FACTOR = 0.15
# What a busy machine takes for the rest of the operation.
SLACK_S = 3.0
COULD_NOT = "Could not"


def quick() -> list[Case]:
    """One of each kind, and the later calls of a spawn as they die with their answers."""
    return [
        case
        for case in CASES
        # The command has the limits that hold, for which a test is too long.
        if case.what != "vmops list"
        and not (
            case.where == "request" and case.call in {"ReconfigVM_Task", "RemoveSnapshot_Task"}
        )
    ]


@pytest.mark.parametrize("case", quick(), ids=lambda case: case.name)
def test_ends_in_time_and_tells_the_truth(
    lab_backend: LabBackend, images: Images, case: Case
) -> None:
    limits = shortened(case, FACTOR)
    try:
        with scene(lab_backend, images, limits) as ready:
            before = set(ready.bench.tree())
            outcome, instance = ready.run(case)
            ready.silencer.speak()
            check(case, outcome)
            exists = ready.bench.vm(instance) is not None
            if case.what == "spawn":
                is_told = case.succeeds or any(COULD_NOT in note for note in outcome.notes)
                assert is_told or not exists, "it is told as undone, and is there"
            elif case.what == "destroy" and isinstance(outcome.error, LeftBehind):
                assert not outcome.error.is_sure, "nobody was asked"
            elif case.what != "destroy":
                assert exists
            ready.bench.ops.destroy(instance, None)
            assert ready.bench.vm(instance) is None
            left = {name for name in ready.bench.tree() if instance.uuid in name}
            assert left - before == set()
    finally:
        lab_backend.clean()


def check(case: Case, outcome: Outcome) -> None:
    error = outcome.error
    if case.succeeds:
        assert error is None
    else:
        lost = error.__cause__ if isinstance(error, LeftBehind) else error
        assert isinstance(lost, ConnectionLost), repr(error)
    assert outcome.seconds < case.most_s * FACTOR + SLACK_S
    assert outcome.closing_s < 1.5
