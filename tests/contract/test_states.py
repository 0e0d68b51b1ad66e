"""Every method on an instance in every state: what the table says, and nothing else changed."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.backends.backend import Backend
from tests.backends.capabilities import Capability
from tests.builders import Images
from tests.contract.engine import Bench
from tests.contract.needs import needs
from tests.contract.staging import Stage, Subject, changes, facts
from tests.contract.state_methods import METHODS
from tests.contract.state_table import OF_A_VCENTER, REFUSALS, SIMPLE, cells
from vmops.errors import VMOpsError
from vmops.vsphere.session import Session

CELLS = cells()
POWER = {"on": "poweredOn", "off": "poweredOff", "susp": "suspended", "gone": "gone"}


@pytest.fixture(scope="module")
def stage(backend: Backend, session: Session, images: Images) -> Iterator[Stage]:
    """One for all cells; what it made is taken away at the end."""
    session.inventory.wait_fresh()
    made = Stage(Bench(backend=backend, session=session, images=images))
    try:
        yield made
    finally:
        backend.clean()


def of(*, simple: bool, vcenter: bool) -> list[object]:
    """The cells of a kind as parameters: (state, method)."""
    return [
        pytest.param(state, method, id=f"{state}-{method}")
        for state, method in CELLS
        if bool({state, method} & OF_A_VCENTER) == vcenter
        and (state in SIMPLE.states and method in SIMPLE.methods and not vcenter) == simple
    ]


def test_every_method_has_a_row() -> None:
    assert {method for _, method in CELLS} == set(METHODS)


@needs(Capability.NO_GUESTS)
@pytest.mark.parametrize(("state", "method"), of(simple=True, vcenter=False))
def test_in_a_state_that_every_endpoint_has(stage: Stage, state: str, method: str) -> None:
    check(stage, state, method)


@needs(Capability.NO_GUESTS, Capability.CONTROL)
@pytest.mark.parametrize(("state", "method"), of(simple=False, vcenter=False))
def test_in_a_state(stage: Stage, state: str, method: str) -> None:
    check(stage, state, method)


@needs(Capability.NO_GUESTS, Capability.CONTROL, Capability.VCENTER)
@pytest.mark.parametrize(("state", "method"), of(simple=False, vcenter=True))
def test_in_a_state_that_a_vcenter_has(stage: Stage, state: str, method: str) -> None:
    check(stage, state, method)


def check(stage: Stage, state: str, method: str) -> None:
    """One cell: what it says happens, and the second view sees nothing but that."""
    outcome = CELLS[state, method]
    with stage.subject(state) as subject:
        if outcome.startswith("!"):
            check_refused(stage.bench, subject, method, outcome[1:])
        else:
            METHODS[method](stage.bench, subject.instance)
        bench = stage.bench
        after = facts(bench, subject.vm or bench.vm(subject.instance))
        if outcome == "=" or outcome.startswith("!"):
            assert changes(subject.before, after) == {}
        else:
            assert changes(subject.before, after) != {}
            assert after["power"] == POWER.get(outcome, subject.before["power"])


def check_refused(bench: Bench, subject: Subject, method: str, name: str) -> None:
    """The error is of its class, and names the instance, its state, and what to do."""
    refusal = REFUSALS[name]
    with pytest.raises(VMOpsError) as raised:
        METHODS[method](bench, subject.instance)
    message = str(raised.value)
    assert isinstance(raised.value, refusal.kind), repr(raised.value)
    assert subject.instance.uuid in message
    assert re.search(refusal.state, message), message
    assert re.search(refusal.advice, message), message
    notes = getattr(raised.value, "__notes__", [])
    assert not [note for note in notes if note.startswith("Could not")], notes
    # Only what the session has heard of costs no call: vcsim tells late.
    if name not in {"none", "busy"} and bench.session.inventory.vm_by_uuid(subject.instance.uuid):
        assert subject.instance.name in message, message


@needs(Capability.NO_GUESTS, Capability.CONTROL)
def test_a_session_that_knows_nothing_destroys_no_instance_whose_files_are_gone(
    stage: Stage,
) -> None:
    """The server's index finds it all the same."""
    with stage.subject("unreadable") as subject, stage.bench.backend.connect() as session:
        cold = Bench(backend=stage.bench.backend, session=session, images=stage.bench.images)
        check_refused(cold, subject, "destroy", "files")
        assert changes(subject.before, facts(stage.bench, subject.vm)) == {}
