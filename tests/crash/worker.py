"""One operation in a process of its own, on a lab of its own."""

from __future__ import annotations

import time
import traceback

from tests.crash import matrix
from tests.crash.operations import OPERATIONS
from tests.crash.pairs import PAIRS, Contest, contest
from tests.crash.stage import Stage
from tests.crash.tally import Tally


def one(kind: str, name: str, number: int) -> Tally:
    """The rounds of one operation, on a lab of their own. A harness that fails is a problem."""
    begin = time.monotonic()
    tally = Tally(kind=kind, operation=name)
    has_guests = kind == "guests"
    operation = OPERATIONS[name]
    with Stage(hypervisor="qemu" if has_guests else "none") as stage:
        try:
            for each in ("clients", "servers") if has_guests else (kind,):
                how = matrix.KINDS[each]
                if number:
                    tally.add(matrix.chosen(stage, how, operation, number))
                else:
                    tally.add(matrix.every(stage, how, operation))
        except Exception:  # noqa: BLE001 - the others go on
            tally.problems.append(f"{name}: {traceback.format_exc()} {stage.log()}")
    tally.seconds = time.monotonic() - begin
    return tally


def pair(name: str, seconds: float) -> Contest:
    """The rounds of one pair. A harness that fails is a problem."""
    with Stage() as stage:
        try:
            return contest(stage, PAIRS[name], seconds)
        except Exception:  # noqa: BLE001 - the others go on
            failed = Contest(name=name)
            failed.problems.append(f"{traceback.format_exc()} {stage.log()}")
            return failed
