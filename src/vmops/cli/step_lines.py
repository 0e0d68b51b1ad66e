"""The lines that tell of an operation's steps, one inside the other, and of what was undone."""

from __future__ import annotations

from dataclasses import dataclass

from vmops import units
from vmops.progress import (
    Event,
    StepFailed,
    StepFinished,
    StepStarted,
    StepUndone,
    TransferProgress,
    Warned,
)


@dataclass(slots=True)
class _Open:
    """A step that runs; ``has_heading`` once steps inside it made it a heading."""

    title: str
    has_heading: bool = False


class StepLines:
    """Turns events into lines. A step with steps inside it is a heading above theirs."""

    def __init__(self) -> None:
        self._open: list[_Open] = []
        self._transferred: dict[str, int] = {}
        self._first_error: BaseException | None = None
        self._is_undoing = False
        self._undone = 0
        self._not_undone = 0

    def of(self, event: Event) -> list[str]:
        """The lines for one event; most have none or one."""
        match event:
            case StepStarted():
                return self._start(event.title)
            case StepFinished():
                return self._end(f"({event.seconds:.1f} s{self._rate(event.seconds)})", event)
            case StepFailed():
                was = "interrupted" if isinstance(event.error, KeyboardInterrupt) else "failed"
                lines = self._end(f"{was} after {event.seconds:.1f} s", event)
                if not self._open and self._first_error is None:
                    self._first_error = event.error
                return lines
            case StepUndone(error=None):
                self._undone += 1
            case StepUndone():
                self._not_undone += 1  # the error's notes tell of it, with the reason
            case TransferProgress():
                self._transferred[event.name] = event.done_bytes
            case Warned():
                return [f"{self._indent(len(self._open))}Warning: {event.text}"]
            case _:
                pass
        return []

    def end(self) -> list[str]:
        """What stands below the steps of an operation that failed."""
        notes = getattr(self._first_error, "__notes__", ())
        in_doubt = any(note.startswith("Could not") for note in notes)
        if self._first_error is None or not self._undone or self._not_undone or in_doubt:
            return []
        self._undone = 0
        return ["  Undone: nothing of it is left."]

    def _start(self, title: str) -> list[str]:
        lines = []
        if not self._open and self._first_error is not None and not self._is_undoing:
            self._is_undoing = True
            lines.append("  Undoing:")
        for depth, outer in enumerate(self._open):
            if not outer.has_heading:
                outer.has_heading = True
                lines.append(f"{self._indent(depth)}{outer.title}:")
        self._open.append(_Open(title))
        return lines

    def _end(self, how: str, event: StepFinished | StepFailed) -> list[str]:
        while self._open:
            ended = self._open.pop()
            if ended.title == event.title:
                break
        else:
            return []
        self._transferred.clear()
        if ended.has_heading:
            return []
        colon = ":" if isinstance(event, StepFailed) else ""
        return [f"{self._indent(len(self._open))}{ended.title}{colon} {how}"]

    def _indent(self, depth: int) -> str:
        return "  " * (1 + depth + self._is_undoing)

    def _rate(self, seconds: float) -> str:
        """What was moved in a step that is about to end, and how fast."""
        if not (moved := sum(self._transferred.values())):
            return ""
        rate = units.human_bytes(int(moved / max(seconds, 0.001)))
        return f", {units.human_bytes(moved)} at {rate}/s"
