"""What the steps of an operation look like as lines."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from contextlib import suppress

from vmops.cli.progress_view import JsonView, PlainView
from vmops.context import operation, tell
from vmops.errors import TaskFailed
from vmops.progress import StepFailed, TaskProgress, TransferProgress
from vmops.steps import Operation, Reversible, step


@step("Make one")
def one(*, fail_undo: bool = False) -> Reversible[None]:
    yield
    if fail_undo:
        raise RuntimeError("stuck")


@step("Make another")
def another(error: BaseException | None = None) -> Reversible[None]:
    if error is not None:
        raise error
    yield


@step("Make many")
def many(error: BaseException | None = None) -> Reversible[None]:
    with Operation("inner") as do:
        do(one())
        tell(TransferProgress(name="disk", done_bytes=3 * 1024**2, total_bytes=3 * 1024**2))
        do(another(error))
    yield


@step("Make and remove")
def removed() -> Reversible[None]:
    yield
    with Operation("remove") as do:
        do(one())


def lines(work: Callable[[], object]) -> list[str]:
    """What a view prints of the work, without the seconds."""
    stream = io.StringIO()
    view = PlainView(stream)
    with suppress(ValueError, KeyboardInterrupt), operation("test", observe=view):
        work()
    view.close()
    return [line.partition(" (0.")[0] for line in stream.getvalue().splitlines()]


def test_steps_inside_a_step_stand_below_it() -> None:
    def work() -> None:
        with Operation("outer") as do:
            do(one())
            do(many())

    assert lines(work) == ["  Make one", "  Make many:", "    Make one", "    Make another"]


def test_a_failure_inside_is_told_once_and_undoing_is_told() -> None:
    def work() -> None:
        with Operation("outer") as do:
            do(removed())
            do(many(ValueError("odd")))

    assert lines(work) == [
        "  Make and remove",
        "  Make many:",
        "    Make one",
        "    Make another: failed after 0.0 s",
        "  Undoing:",
        "    Make one",
        "  Undone: nothing of it is left.",
    ]


def test_nothing_is_promised_when_undoing_failed() -> None:
    def work() -> None:
        with Operation("outer") as do:
            do(one(fail_undo=True))
            do(another(ValueError("odd")))

    assert lines(work) == ["  Make one", "  Make another: failed after 0.0 s"]


def test_nothing_is_promised_when_a_step_is_in_doubt() -> None:
    def work() -> None:
        doubt = ValueError("odd")
        doubt.add_note("Could not make sure that nothing was created")
        with Operation("outer") as do:
            do(one())
            do(another(doubt))

    assert lines(work)[-1] == "  Make another: failed after 0.0 s"


def test_an_interrupt_is_no_failure() -> None:
    def work() -> None:
        with Operation("outer") as do:
            do(another(KeyboardInterrupt()))

    assert lines(work) == ["  Make another: interrupted after 0.0 s"]


def test_a_step_that_moved_bytes_tells_how_many() -> None:
    stream = io.StringIO()
    view = PlainView(stream)
    with operation("test", observe=view), Operation("outer") as do:
        do(many())
    assert "3.0 MiB at " in stream.getvalue()


def test_json_lines_take_any_error() -> None:
    stream = io.StringIO()
    view = JsonView(stream)
    error = TaskFailed("Odd", "no message", method="m", entity="vm-1")
    view(StepFailed(operation="o", title="t", seconds=0.5, error=error))
    view(TaskProgress(task="suspend", percent=40))
    first, second = (json.loads(line) for line in stream.getvalue().splitlines())
    assert first["event"] == "StepFailed"
    assert "Odd" in first["error"]
    assert second == {"event": "TaskProgress", "task": "suspend", "percent": 40}


def test_json_lines_of_a_transfer_are_few_and_have_its_end() -> None:
    stream = io.StringIO()
    view = JsonView(stream)
    for done in range(1001):
        view(TransferProgress(name="disk", done_bytes=done, total_bytes=1000))
    told = [json.loads(line)["done_bytes"] for line in stream.getvalue().splitlines()]
    assert told[0] == 0
    assert told[-1] == 1000
    assert len(told) < 10
