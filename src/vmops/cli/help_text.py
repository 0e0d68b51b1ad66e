"""Help as wide as the terminal is, be it a phone's: click's own is never narrower than 50."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterable

import click

_NARROW = 60
"""Columns; with fewer, what an option does stands below its name and not beside it."""
_LEAST = 20


class HelpFormatter(click.HelpFormatter):
    """click's, for terminals of any width."""

    def __init__(
        self, indent_increment: int = 2, width: int | None = None, max_width: int | None = None
    ) -> None:
        if width is None:
            columns = shutil.get_terminal_size().columns
            width = max(min(columns, max_width or 80) - 2, _LEAST)
        super().__init__(indent_increment, width, max_width)

    def write_usage(self, prog: str, args: str = "", prefix: str | None = None) -> None:
        """The line of a command's use; of a narrow terminal several."""
        if self.width >= _NARROW:
            super().write_usage(prog, args, prefix)
        else:
            self._write_wrapped(f"{prefix or 'Usage: '}{prog} {args}", below=4)
            self.write("\n")

    def write_dl(
        self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = 2
    ) -> None:
        """A list of names with what each is."""
        if self.width >= _NARROW:
            super().write_dl(rows, col_max, col_spacing)
            return
        for name, text in rows:
            self._write_wrapped(name, below=2)
            self.indent()
            self.indent()
            self._write_wrapped(text)
            self.dedent()
            self.dedent()

    def _write_wrapped(self, text: str, below: int = 0) -> None:
        indent = " " * self.current_indent
        lines = textwrap.wrap(
            text,
            self.width,
            initial_indent=indent,
            subsequent_indent=indent + " " * below,
            break_on_hyphens=False,
        )
        for line in lines:
            self.write(f"{line}\n")
