from __future__ import annotations

import re
import threading
from contextvars import copy_context

import pytest

from vmops.context import (
    FORGOTTEN_AFTER_S,
    UNDO_AT_LEAST_S,
    Context,
    Troubles,
    current,
    operation,
    tell,
    undoing,
)
from vmops.progress import Event, TaskProgress


def test_names_the_operation_while_it_lasts() -> None:
    assert current() == Context()
    with operation("spawn") as operation_id:
        assert current().operation_id == operation_id
        assert re.fullmatch("vmops-spawn-[0-9a-f]{8}", operation_id)
    assert current() == Context()


def test_an_operation_inside_keeps_the_outer_id_and_what_it_does_not_say() -> None:
    told: list[Event] = []
    event = TaskProgress(task="a task", percent=7)
    outer = operation("resize", observe=told.append, task_deadline_s=7.0, answers={"a": "b"})
    with outer as outer_id, operation("power-off", answers={}) as inner_id:
        assert inner_id.startswith(f"{outer_id}-power-off-")
        assert (current().task_deadline_s, current().answers) == (7.0, {})
        tell(event)
    assert told == [event]


def test_other_threads_have_their_own_unless_they_are_given_it() -> None:
    seen: list[str] = []

    def look() -> None:
        seen.append(current().operation_id)

    with operation("spawn") as operation_id:
        for work in (look, lambda: copy_context().run(look)):
            thread = threading.Thread(target=work)
            thread.start()
            thread.join()
        given = threading.Thread(target=copy_context().run, args=(look,))
        given.start()
        given.join()
    assert seen == ["", "", operation_id]


@pytest.mark.parametrize(
    ("deadline_s", "then"), [(None, None), (0.1, UNDO_AT_LEAST_S), (3600.0, 3600.0)]
)
def test_what_is_taken_back_has_time(deadline_s: float | None, then: float | None) -> None:
    with operation("spawn", task_deadline_s=deadline_s):
        with undoing():
            assert current().task_deadline_s == then
        assert current().task_deadline_s == deadline_s


def test_an_operation_has_one_account_of_its_troubles() -> None:
    assert current().troubles is None
    with operation("resize"):
        troubles = current().troubles
        assert troubles is not None
        assert troubles.add(3.0) == 3.0
        with operation("power-off"), undoing():
            assert current().troubles is troubles
            assert troubles.add(4.0) == 7.0
    with operation("resize"):
        assert current().troubles is not troubles


def test_troubles_of_long_ago_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("vmops.context.time.monotonic", lambda: now)
    troubles = Troubles()
    assert troubles.add(5.0) == 5.0
    now += FORGOTTEN_AFTER_S
    assert troubles.add(5.0) == 10.0
    now += FORGOTTEN_AFTER_S + 5.1
    assert troubles.add(5.0) == 5.0
