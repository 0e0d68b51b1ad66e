"""The line that is redrawn on a terminal; imported only there, since it needs rich."""

from __future__ import annotations

from rich.console import Console
from rich.progress import ProgressColumn, Task
from rich.text import Text

from vmops import units

_BAR = 30
_LEAST_BAR = 8


class LiveLine(ProgressColumn):
    """A step's title, or a transfer as "name ━━━━──── 40 %  12 of 30 MiB  5 MiB/s  4 s left"."""

    max_refresh = 0.1

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def render(self, task: Task) -> Text:
        """The line, as wide as the terminal allows."""
        if not task.fields.get("is_transfer"):
            return Text(task.description, overflow="ellipsis", no_wrap=True)
        figures = _figures(task)
        # Two columns of spinner, and a blank on either side of the bar.
        room = self._console.width - len(task.description) - len(figures) - 5
        line = Text(task.description, overflow="ellipsis", no_wrap=True)
        if task.total and room >= _LEAST_BAR:
            width = min(_BAR, room)
            done = min(width, int(width * task.completed / task.total))
            line.append(" ")
            line.append("━" * done, style="green")
            line.append("─" * (width - done), style="dim")
        line.append(f" {figures}")
        return line


def _figures(task: Task) -> str:
    done = units.human_bytes(int(task.completed))
    rate = f"{units.human_bytes(int(task.speed))}/s" if task.speed else "-"
    if not task.total:
        return f"{done}  {rate}"
    left = f"{_span(task.time_remaining)} left" if task.time_remaining is not None else ""
    total = units.human_bytes(int(task.total))
    percent = f"{100 * task.completed / task.total:3.0f} %"
    return f"{percent}  {done} of {total}  {rate}  {left}".rstrip()


def _span(seconds: float) -> str:
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02} min"
    return f"{whole // 3600}:{whole % 3600 // 60:02} h"
