"""The session's stream breaking off: whoever waits goes on, and nothing is told twice."""

from __future__ import annotations

import pytest

from tests.contract.engine import Bench
from tests.faults import matrix
from vmops.lab.wire.failures import Failure, How

HOWS = [How.REFUSED, How.LOST_BEFORE, How.LOST_AFTER]


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("nth", [1, 3])
@pytest.mark.parametrize("call", ["WaitForUpdatesEx", "ModifyListView"])
def test_a_spawn_does_not_notice(bench: Bench, call: str, nth: int, how: How) -> None:
    lab = matrix.lab_of(bench)
    lab.failures.plan(Failure(call=call, how=how, nth=nth))
    instance = bench.spawn()
    assert lab.failures.calls().count(call) >= nth
    lab.failures.clear()
    assert bench.power(instance) == "poweredOn"
    bench.ops.power_off(instance)
    assert bench.power(instance) == "poweredOff"


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize(
    "call", ["CreatePropertyCollector", "CreateContainerView", "CreateFilter", "CreateListView"]
)
def test_a_new_session_does_not_notice(bench: Bench, call: str, how: How) -> None:
    lab = matrix.lab_of(bench)
    lab.failures.plan(Failure(call=call, how=how))
    with bench.backend.connect() as session:
        instance = bench.spawn(ops=bench.engine(session=session))
    assert call in lab.failures.calls()
    lab.failures.clear()
    assert bench.power(instance) == "poweredOn"
