"""What was measured, as a page of Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of text under a head."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    left: int = 1
    """So many columns are left-aligned; the others are numbers."""

    def lines(self) -> list[str]:
        rule = ["---"] * self.left + ["--:"] * (len(self.head) - self.left)
        return [f"| {' | '.join(row)} |" for row in (self.head, rule, *self.rows)]


@dataclass(frozen=True, slots=True)
class Figure:
    """A chapter of the report."""

    title: str
    method: str
    """How it was measured, and what it does not show."""
    parts: Sequence[Table | str] = field(default_factory=tuple)
    """Tables and paragraphs."""

    def lines(self) -> list[str]:
        lines = [f"## {self.title}", "", self.method, ""]
        for part in self.parts:
            lines += [*(part.lines() if isinstance(part, Table) else [part]), ""]
        return lines


def spread(values: Sequence[float], unit: str = "", *, digits: int | None = None) -> str:
    """The median, and the least and the most in brackets."""
    low, middle, high = (
        number(value, digits) for value in (min(values), median(values), max(values))
    )
    return f"**{middle}**{unit} ({low} to {high})"


def number(value: float, digits: int | None = None) -> str:
    """Three significant digits, or so many after the point."""
    if digits is None:
        digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:,.{digits}f}"


def ratio(peer: Sequence[float], ours: Sequence[float]) -> str:
    """How many times as much the peer needs."""
    return f"{number(median(peer) / median(ours))}x"
