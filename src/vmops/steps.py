"""Reversible steps: do and undo of one effect in one function.

A step is a generator function with exactly one ``yield``::

    @step("Create the VM")
    def create_vm(folder: Folder, spec: CreateSpec) -> Reversible[VirtualMachine]:
        vm = folder.create_vm(spec)
        yield vm
        vm.destroy(missing_ok=True)

What stands before the ``yield`` is done when the step is run by an `Operation`; the yielded value
is its result. What stands after it is the undo, and runs only if a later step of the same operation
fails. ``try``/``finally`` around the ``yield`` runs on success and on failure alike, at the
operation's end.

A step with nothing below its ``yield`` has no undo: nothing is told of it.

Undo runs last-first, on any exception, Ctrl-C included. An undo that fails is told to the observer
and noted on the first error; the next undo still runs, and the first error is what the caller sees.
A step that can fail half-way cleans up itself before its ``yield``. An undo must accept that its
effect is gone already.
"""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable, Generator, Iterator
from types import TracebackType
from typing import Generic, ParamSpec, Self, TypeAlias, TypeVar

from vmops.context import tell, undoing
from vmops.progress import StepFailed, StepFinished, StepStarted, StepUndone

T = TypeVar("T")
P = ParamSpec("P")

Reversible: TypeAlias = Generator[T, None, None]


class Step(Generic[T]):
    """A step that is ready to be run by an operation."""

    __slots__ = ("title", "work")

    def __init__(self, title: str, work: Reversible[T]) -> None:
        self.title = title
        self.work = work


def step(title: str) -> Callable[[Callable[P, Reversible[T]]], Callable[P, Step[T]]]:
    """Make a generator function a step; ``title`` is the wording of the documentation."""

    def decorate(function: Callable[P, Reversible[T]]) -> Callable[P, Step[T]]:
        @functools.wraps(function)
        def ready(*args: P.args, **kwargs: P.kwargs) -> Step[T]:
            return Step(title, function(*args, **kwargs))

        ready.__dict__["step_title"] = title
        return ready

    return decorate


@contextlib.contextmanager
def noting(first: BaseException, what: str) -> Iterator[None]:
    """Clean up after ``first`` inside a step: what fails in that is noted on it, not raised."""
    try:
        with undoing():
            yield
    except Exception as failure:  # noqa: BLE001 - the first error must stay what the caller sees
        first.add_note(f"Could not {what}: {failure}")


class Operation:
    """Runs steps, and takes them back last-first if one fails.

    Use as a context manager; the instance is called with each step and gives the step's result. The
    observer of the `vmops.context` that it is in is told.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._done: list[Step[object]] = []

    def __enter__(self) -> Self:
        return self

    def __call__(self, ready: Step[T]) -> T:
        """Do one step and remember how to undo it."""
        tell(StepStarted(operation=self.name, title=ready.title))
        begin = time.monotonic()
        try:
            result = next(ready.work)
        except BaseException as error:
            tell(
                StepFailed(
                    operation=self.name,
                    title=ready.title,
                    seconds=time.monotonic() - begin,
                    error=error,
                )
            )
            raise
        self._done.append(ready)  # type: ignore[arg-type]
        tell(StepFinished(operation=self.name, title=ready.title, seconds=time.monotonic() - begin))
        return result

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        while self._done:
            done = self._done.pop()
            if error is None:
                done.work.close()
            else:
                self._undo(done, error)

    def _undo(self, done: Step[object], first: BaseException) -> None:
        has_undo = _has_undo(done.work)
        try:
            with undoing():
                if has_undo:
                    next(done.work, None)
                done.work.close()
        except Exception as failure:  # noqa: BLE001 - the first error must stay what the caller sees
            first.add_note(f"Could not undo {done.title!r}: {failure}")
            tell(StepUndone(operation=self.name, title=done.title, error=failure))
        else:
            if has_undo:
                tell(StepUndone(operation=self.name, title=done.title))
        finally:
            done.work.close()


def _has_undo(work: Reversible[object]) -> bool:
    """Whether anything is written below the ``yield`` at which the generator stands.

    What leaves a ``with`` or enters a ``finally`` above it is on no line below; `close` does that.
    """
    frame = getattr(work, "gi_frame", None)  # that of a generator function, as steps are
    if frame is None:
        return False
    return any(
        line is not None and line > frame.f_lineno
        for start, _, line in frame.f_code.co_lines()
        if start > frame.f_lasti
    )
