"""What operations tell, on stderr: step lines with seconds, transfer bars with rate and ETA."""

from __future__ import annotations

import dataclasses
import json
import sys
import threading
import time
from typing import Any, Protocol, TextIO

from vmops import units
from vmops.cli.step_lines import StepLines
from vmops.cli.terminal import print_line, visible
from vmops.progress import (
    Event,
    StepFailed,
    StepFinished,
    StepStarted,
    TaskProgress,
    TransferProgress,
)


class View(Protocol):
    """An observer that has to be closed."""

    def __call__(self, event: Event) -> None:
        """Show one event."""

    def close(self) -> None:
        """Stop drawing, and tell how it ended."""


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
    """The view where progress is not wanted."""

    def __call__(self, event: Event) -> None:
        """Leave the event out."""

    def close(self) -> None:
        """Nothing to stop."""


class Pace:
    """Lets the first and the last event of a transfer pass, and between them one in a while."""

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self._shown: dict[str, float] = {}

    def is_due(self, event: TransferProgress) -> bool:
        """Whether to show this one."""
        now = time.monotonic()
        last = self._shown.get(event.name)
        is_end = event.done_bytes == event.total_bytes
        if last is not None and not is_end and now - last < self._interval_s:
            return False
        self._shown[event.name] = now
        return True


class JsonView:
    """One JSON object a line; a transfer tells of itself twice a second."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._pace = Pace(0.5)

    def __call__(self, event: Event) -> None:
        """Print the event's fields and its kind."""
        if isinstance(event, TransferProgress) and not self._pace.is_due(event):
            return
        # Not asdict, which copies what it finds: not every exception can be copied.
        found = {one.name: getattr(event, one.name) for one in dataclasses.fields(event)}
        fields = {
            name: str(value) if isinstance(value, BaseException) else value
            for name, value in found.items()
        }
        line = json.dumps({"event": type(event).__name__, **fields})
        print_line(line, self._stream)

    def close(self) -> None:
        """Nothing to stop."""


class PlainView:
    """A line a step, and now and then one of a long transfer; for logs and pipes."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lines = StepLines()
        self._pace = Pace(10.0)
        self._begun: set[str] = set()

    def __call__(self, event: Event) -> None:
        """Print finished and failed steps, and where a long transfer stands."""
        self._print(self._lines.of(event))
        if isinstance(event, TransferProgress) and self._pace.is_due(event):
            if event.name in self._begun and event.done_bytes != event.total_bytes:
                self._print([f"    {event.name}: {_amount(event.done_bytes, event.total_bytes)}"])
            self._begun.add(event.name)

    def close(self) -> None:
        """Tell whether what was done was taken back."""
        self._print(self._lines.end())

    def _print(self, lines: list[str]) -> None:
        for line in lines:
            print_line(line, self._stream)


class TerminalView:
    """Step lines, and below them what is going on now: a spinner, a task's percent, a bar."""

    def __init__(self) -> None:
        from rich.console import Console  # noqa: PLC0415 - only on a terminal
        from rich.progress import Progress, SpinnerColumn  # noqa: PLC0415

        from vmops.cli.live_line import LiveLine  # noqa: PLC0415

        self._console = Console(stderr=True, highlight=False)
        self._live = Progress(
            SpinnerColumn(finished_text=" "),
            LiveLine(self._console),
            transient=True,
            console=self._console,
        )
        self._lines = StepLines()
        self._pace = Pace(0.1)
        self._lock = threading.RLock()
        self._steps: list[tuple[str, Any]] = []
        self._transfers: dict[str, Any] = {}
        self._task: Any = None

    def __call__(self, event: Event) -> None:
        """Draw one event."""
        with self._lock:
            match event:
                case StepStarted():
                    self._live.start()
                    self._steps.append(
                        (event.title, self._live.add_task(visible(event.title), total=None))
                    )
                case StepFinished() | StepFailed():
                    self._end_step(event.title)
                case TaskProgress():
                    self._draw_task(event)
                case TransferProgress():
                    self._draw_transfer(event)
                case _:
                    pass
            self._print(self._lines.of(event))
            self._show_innermost()

    def _show_innermost(self) -> None:
        """Of steps inside one another only the last is drawn, and not while a bar tells more."""
        for at, (_, step) in enumerate(self._steps, start=1):
            self._live.update(step, visible=at == len(self._steps) and not self._transfers)

    def _end_step(self, title: str) -> None:
        for bar in self._transfers.values():
            self._live.remove_task(bar)
        self._transfers.clear()
        while self._steps:
            known, step = self._steps.pop()
            self._live.remove_task(step)
            if known == title:
                break
        if not self._steps:
            self._live.stop()

    def _draw_task(self, event: TaskProgress) -> None:
        if self._steps:
            title, step = self._steps[-1]
            self._live.update(step, description=f"{visible(title)} {event.percent} %")
            return
        self._live.start()
        if self._task is None:
            self._task = self._live.add_task(visible(event.task), total=None)
        self._live.update(self._task, description=f"{visible(event.task)} {event.percent} %")

    def _draw_transfer(self, event: TransferProgress) -> None:
        if not self._pace.is_due(event):
            return
        self._live.start()
        if event.name not in self._transfers:
            self._transfers[event.name] = self._live.add_task(
                visible(event.name), total=event.total_bytes, is_transfer=True
            )
        self._live.update(self._transfers[event.name], completed=event.done_bytes)

    def _print(self, lines: list[str]) -> None:
        for line in lines:
            self._console.print(visible(line), markup=False, soft_wrap=True)

    def close(self) -> None:
        """Leave the terminal as it was, and tell whether what was done was taken back."""
        with self._lock:
            self._live.stop()
            self._print(self._lines.end())


def _amount(done: int, total: int | None) -> str:
    if not total:
        return units.human_bytes(done)
    return f"{100 * done // total} % of {units.human_bytes(total)}"
