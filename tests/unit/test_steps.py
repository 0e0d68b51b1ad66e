"""Reversible steps: what runs, what is taken back, and what the caller sees."""

import ast
import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmops.context import operation
from vmops.progress import Event, StepFailed, StepFinished, StepStarted, StepUndone
from vmops.steps import Operation, Reversible, step

SOURCE = Path(__file__).resolve().parents[2] / "src" / "vmops"


class World:
    """What steps do and undo, in order."""

    def __init__(self) -> None:
        self.log: list[str] = []

    @property
    def there(self) -> list[str]:
        """What was done and not undone."""
        return [name for name in self.log if name.isalpha() and f"-{name}" not in self.log]


@step("Add a thing")
def add(world: World, name: str) -> Reversible[str]:
    world.log.append(name)
    yield name.upper()
    world.log.append(f"-{name}")


@step("Add a thing that cannot be removed")
def add_stuck(world: World, name: str) -> Reversible[None]:
    world.log.append(name)
    yield
    raise OSError("stuck")


@step("Fail")
def fail(error: BaseException) -> Reversible[None]:
    raise error
    yield


@step("Hold a lease")
def hold(world: World) -> Reversible[None]:
    world.log.append("lease")
    try:
        yield
        world.log.append("undone")
    finally:
        world.log.append("released")


def test_results_are_those_of_the_yield() -> None:
    world = World()
    with Operation("test") as do:
        assert do(add(world, "a")) == "A"


def test_nothing_is_undone_when_all_went_well() -> None:
    world = World()
    with Operation("test") as do:
        do(add(world, "a"))
        do(add(world, "b"))
    assert world.log == ["a", "b"]


@pytest.mark.parametrize("error", [ValueError("x"), KeyboardInterrupt(), SystemExit(3)])
def test_steps_are_undone_last_first_on_any_exception(
    error: ValueError | KeyboardInterrupt | SystemExit,
) -> None:
    world = World()
    with pytest.raises(type(error)) as seen, Operation("test") as do:
        do(add(world, "a"))
        do(add(world, "b"))
        do(fail(error))
    assert seen.value is error
    assert world.log == ["a", "b", "-b", "-a"]


def test_an_error_between_steps_undoes_them_too() -> None:
    world = World()
    with pytest.raises(ZeroDivisionError), Operation("test") as do:
        do(add(world, "a"))
        _ = 1 / 0
    assert world.there == []


def test_a_failing_undo_is_noted_and_hides_neither_the_first_error_nor_the_next_undo() -> None:
    world = World()
    with pytest.raises(ValueError, match="first") as seen, Operation("test") as do:
        do(add(world, "a"))
        do(add_stuck(world, "b"))
        do(add(world, "c"))
        do(fail(ValueError("first")))
    assert world.log == ["a", "b", "c", "-c", "-a"]
    assert seen.value.__notes__ == ["Could not undo 'Add a thing that cannot be removed': stuck"]


def test_finally_runs_on_success_and_on_failure() -> None:
    world = World()
    with Operation("test") as do:
        do(hold(world))
    assert world.log == ["lease", "released"]
    world = World()
    with pytest.raises(ValueError, match="x"), Operation("test") as do:
        do(hold(world))
        do(fail(ValueError("x")))
    assert world.log == ["lease", "undone", "released"]


def test_the_observer_sees_what_happens() -> None:
    events: list[Event] = []
    with (
        pytest.raises(ValueError, match="x"),
        operation("test", observe=events.append),
        Operation("test") as do,
    ):
        do(add(World(), "a"))
        do(fail(ValueError("x")))
    assert [(type(event), getattr(event, "title", "")) for event in events] == [
        (StepStarted, "Add a thing"),
        (StepFinished, "Add a thing"),
        (StepStarted, "Fail"),
        (StepFailed, "Fail"),
        (StepUndone, "Add a thing"),
    ]


@step("Look")
def look(world: World) -> Reversible[tuple[str, ...]]:
    try:
        world.log.append("looked")
    except ValueError:
        world.log.append("never")
        raise
    yield ("a", "b")


@step("Borrow")
def borrow(world: World) -> Reversible[None]:
    with contextlib.ExitStack() as held:
        held.callback(world.log.append, "given back")
        yield


@step("Borrow what cannot be given back")
def borrow_stuck() -> Reversible[None]:
    with contextlib.ExitStack() as held:
        held.callback(fail_with, OSError("stuck"))
        yield


def fail_with(error: Exception) -> None:
    raise error


def test_a_step_with_nothing_below_its_yield_is_not_said_to_be_undone() -> None:
    events: list[Event] = []
    world = World()
    with (
        pytest.raises(ValueError, match="x"),
        operation("test", observe=events.append),
        Operation("test") as do,
    ):
        do(look(world))
        do(borrow(world))
        do(hold(world))
        do(fail(ValueError("x")))
    undone = [event.title for event in events if isinstance(event, StepUndone)]
    assert undone == ["Hold a lease"]
    assert world.log == ["looked", "lease", "undone", "released", "given back"]


def test_what_cannot_be_given_back_is_noted() -> None:
    with pytest.raises(ValueError, match="x") as seen, Operation("test") as do:
        do(borrow_stuck())
        do(fail(ValueError("x")))
    assert seen.value.__notes__ == ["Could not undo 'Borrow what cannot be given back': stuck"]


@given(
    names=st.lists(st.sampled_from("abcdefgh"), unique=True),
    inner=st.lists(st.sampled_from("ijklmnop"), unique=True),
    fails=st.booleans(),
)
def test_undo_of_any_nesting_leaves_nothing(
    names: list[str], inner: list[str], fails: bool
) -> None:
    world = World()

    @step("Nest")
    def nested() -> Reversible[None]:
        with Operation("inner") as do_inner:
            for name in inner:
                do_inner(add(world, name))
            if fails:
                do_inner(fail(ValueError("inner")))
        yield
        for name in reversed(inner):
            world.log.append(f"-{name}")

    with pytest.raises(ValueError, match=r"inner|outer"), Operation("test") as do:
        for name in names:
            do(add(world, name))
        do(nested())
        do(fail(ValueError("outer")))
    assert world.there == []


def test_every_step_of_the_project_yields_exactly_once() -> None:
    seen = 0
    for file in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if not isinstance(node, ast.FunctionDef):
                continue
            if not any(
                isinstance(d, ast.Call) and getattr(d.func, "id", "") == "step"
                for d in node.decorator_list
            ):
                continue
            seen += 1
            yields = [n for n in ast.walk(node) if isinstance(n, ast.Yield | ast.YieldFrom)]
            assert len(yields) == 1, f"{file.name}: {node.name}"
    assert seen > 10
