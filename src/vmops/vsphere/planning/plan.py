"""What a plan holds: the calls that would be sent, under the steps that would send them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from vmops.context import current
from vmops.progress import Event, StepFailed, StepFinished, StepStarted, Warned

_RANDOM_END = re.compile(r"-[0-9a-f]{8}$")


class PlanEnds(BaseException):
    """What follows depends on an answer that only the server can give.

    No `Exception`: nothing that deals with failures may take it for one. Whoever began the plan
    catches it; what was recorded before it holds.
    """


@dataclass(slots=True, kw_only=True)
class PlannedCall:
    """One call that would be sent: a method of the API, or PUT, POST or DELETE of a file.

    ``target`` is the object ("VirtualMachine:vm-12") or the file. ``arguments`` are plain data:
    only what is set, secrets masked. ``note`` says what else is known of it.
    """

    method: str
    target: str
    arguments: Mapping[str, object] = field(default_factory=dict)
    note: str = ""


@dataclass(slots=True, kw_only=True)
class PlannedStep:
    """A step with its calls in order. Steps inside it follow it, numbered "3.1"."""

    number: str
    title: str
    calls: list[PlannedCall] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class PlannedPart:
    """What one command does to one thing. ``notes`` say what cannot be listed."""

    title: str
    steps: list[PlannedStep] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Open:
    """A step that runs; ``inside`` counts the steps inside it."""

    number: str
    title: str
    inside: int = 0


class Plan:
    """Takes the calls of one thread, and hears of the steps as their observer.

    Use it as the observer of the operations that are planned.
    """

    def __init__(self) -> None:
        self.parts: list[PlannedPart] = []
        self.is_over = False
        self._open: list[_Open] = [_Open("", "")]

    def __call__(self, event: Event) -> None:
        """Hear of a step's begin or end, and of warnings; all else is passed over."""
        if self.is_over:
            return
        match event:
            case StepStarted():
                self._start(event.title)
            case StepFinished() | StepFailed():
                if len(self._open) > 1:
                    self._open.pop()
            case Warned():
                self.note(event.text)
            case _:
                pass

    def begin(self, title: str) -> None:
        """Begin a part, such as one of several instances; its steps are numbered from 1."""
        self.parts.append(PlannedPart(title=title))
        self._open = [_Open("", "")]

    def record(self, call: PlannedCall) -> None:
        """Take a call into the step that runs, or into one named by the operation's id."""
        if self.is_over:
            return
        if len(self._open) == 1:
            self._into_step_of_its_own(call)
            return
        here, steps = self._open[-1], self._part.steps
        if steps[-1].number != here.number:  # steps inside it came between
            steps.append(PlannedStep(number=here.number, title=here.title))
        steps[-1].calls.append(call)

    def note(self, text: str) -> None:
        """Say something that belongs to the part as a whole, once."""
        if not self.is_over and text not in self._part.notes:
            self._part.notes.append(text)

    def end(self) -> None:
        """Take nothing more: what comes now is an undo of what was only planned."""
        self.is_over = True

    def calls(self) -> Iterator[PlannedCall]:
        """All calls in the order in which they would be sent."""
        for part in self.parts:
            for each in part.steps:
                yield from each.calls

    @property
    def _part(self) -> PlannedPart:
        if not self.parts:
            self.begin("")
        return self.parts[-1]

    def _start(self, title: str) -> None:
        part = self._part
        above = self._open[-1]
        above.inside += 1
        number = f"{above.number}.{above.inside}" if above.number else str(above.inside)
        self._open.append(_Open(number, title))
        part.steps.append(PlannedStep(number=number, title=title))

    def _into_step_of_its_own(self, call: PlannedCall) -> None:
        title = _purpose()
        steps = self._part.steps
        if not steps or steps[-1].title != title:
            self._start(title)
            self._open.pop()
        steps[-1].calls.append(call)


def _purpose() -> str:
    """What the operation under way is called in its id: "vmops-power_on-1a2b3c4d": "Power on"."""
    words = _RANDOM_END.sub("", current().operation_id).removeprefix("vmops-").replace("_", " ")
    return words.capitalize() or "Call the server"
