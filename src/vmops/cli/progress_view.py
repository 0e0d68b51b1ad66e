"""What operations tell, on stderr: step lines with seconds, transfer bars with rate and ETA."""

from __future__ import annotations

import json
import sys
import threading
import time
from dataclasses import asdict
from typing import Any, Protocol, TextIO

from vmops import units
from vmops.progress import (
    Event,
    StepFailed,
    StepFinished,
    StepStarted,
    StepUndone,
    TaskProgress,
    TransferProgress,
)


class View(Protocol):
    """An observer that has to be closed."""

    def __call__(self, event: Event) -> None:
        """Show one event."""

    def close(self) -> None:
        """Stop drawing."""


def make_observer(style: str) -> View:
    """The view asked for; "auto" draws bars on a terminal and prints lines elsewhere."""
    if style == "none":
        return SilentView()
    if style == "json":
        return JsonView(sys.stderr)
    if style == "auto" and sys.stderr.isatty():
        return TerminalView()
    return PlainView(sys.stderr)


class SilentView:
    """Shows nothing."""

    def __call__(self, event: Event) -> None:
        """Pass over the event."""

    def close(self) -> None:
        """Nothing to stop."""


class JsonView:
    """One JSON object a line."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __call__(self, event: Event) -> None:
        """Print the event's fields and its kind."""
        fields = {
            key: str(value) if isinstance(value, BaseException) else value
            for key, value in asdict(event).items()
        }
        line = json.dumps({"event": type(event).__name__, **fields})
        print(line, file=self._stream, flush=True)

    def close(self) -> None:
        """Nothing to stop."""


def line_for(event: Event) -> str | None:
    """The line that tells an event of a step; None for one that needs no line of its own."""
    match event:
        case StepFinished():
            return f"  {event.title} ({event.seconds:.1f} s)"
        case StepFailed():
            return f"  {event.title}: failed after {event.seconds:.1f} s"
        case StepUndone(error=None):
            return f"  undone: {event.title}"
        case StepUndone():
            return f"  could not undo: {event.title}: {event.error}"
        case _:
            return None


class PlainView:
    """A line a step; for logs and pipes."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __call__(self, event: Event) -> None:
        """Print finished, failed and undone steps."""
        line = line_for(event)
        if line is not None:
            print(line, file=self._stream, flush=True)

    def close(self) -> None:
        """Nothing to stop."""


_REDRAW_S = 0.1


class TerminalView:
    """Step lines, and below them what is going on now: a spinner, a task's percent, a bar."""

    def __init__(self) -> None:
        from rich.console import Console  # noqa: PLC0415 - only on a terminal
        from rich.progress import (  # noqa: PLC0415
            BarColumn,
            DownloadColumn,
            Progress,
            SpinnerColumn,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )

        self._console = Console(stderr=True, highlight=False)
        self._now = Progress(
            SpinnerColumn(), TextColumn("{task.description}"), transient=True, console=self._console
        )
        self._transfer = Progress(
            TextColumn("  {task.description}"),
            BarColumn(),
            DownloadColumn(binary_units=True),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            transient=True,
            console=self._console,
        )
        self._lock = threading.RLock()
        self._bars: dict[str, Any] = {}
        self._drawn: dict[str, float] = {}
        self._steps: list[tuple[str, Any]] = []

    def __call__(self, event: Event) -> None:
        """Draw one event."""
        with self._lock:
            match event:
                case StepStarted():
                    self._start_step(event.title)
                case StepFinished() | StepFailed():
                    self._end_step(event.title)
                case TaskProgress() if self._steps:
                    title, task = self._steps[-1]
                    self._now.update(task, description=f"{title} {event.percent} %")
                case TransferProgress():
                    self._draw_transfer(event)
                case _:
                    pass
            line = line_for(event)
            if line is not None:
                self._console.print(line, markup=False)

    def _start_step(self, title: str) -> None:
        self._now.start()
        self._steps.append((title, self._now.add_task(title, total=None)))

    def _end_step(self, title: str) -> None:
        self._end_transfers()
        while self._steps:
            known, task = self._steps.pop()
            self._now.remove_task(task)
            if known == title:
                break
        if not self._steps:
            self._now.stop()

    def _draw_transfer(self, event: TransferProgress) -> None:
        now = time.monotonic()
        if event.name not in self._bars:
            # Two live displays cannot share a terminal: the spinner makes room for the bar.
            self._now.stop()
            self._transfer.start()
            self._bars[event.name] = self._transfer.add_task(event.name, total=event.total_bytes)
        elif now - self._drawn[event.name] < _REDRAW_S and event.done_bytes != event.total_bytes:
            return
        self._drawn[event.name] = now
        self._transfer.update(self._bars[event.name], completed=event.done_bytes)

    def _end_transfers(self) -> None:
        if not self._bars:
            return
        for name, bar in self._bars.items():
            task = next(t for t in self._transfer.tasks if t.id == bar)
            rate = task.completed / task.elapsed if task.elapsed else 0
            self._transfer.remove_task(bar)
            self._console.print(
                f"    {name}: {units.human_bytes(task.completed)} at {units.human_bytes(rate)}/s",
                markup=False,
            )
        self._bars.clear()
        self._drawn.clear()
        self._transfer.stop()

    def close(self) -> None:
        """Leave the terminal as it was."""
        with self._lock:
            self._transfer.stop()
            self._now.stop()
