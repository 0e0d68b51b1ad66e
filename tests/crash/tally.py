"""What came of many rounds, by operation, as a table."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from tests.crash.rounds import Round


@dataclass(kw_only=True)
class Tally:
    """The rounds of one operation that were harmed in one way."""

    kind: str
    operation: str
    rounds: int = 0
    points: int = 0
    """Moments of calls."""
    missed: int = 0
    """Rounds whose call did not come: some are made on some runs only."""
    found: int = 0
    """Rounds after which ``vmops audit`` listed something."""
    longest_s: float = 0.0
    """The longest time that a client took, from its beginning to its end."""
    seconds: float = 0.0
    day: str = ""
    problems: list[str] = field(default_factory=list)

    def add(self, rounds: Iterable[Round]) -> Tally:
        points = set()
        for each in rounds:
            self.rounds += 1
            points.add(each.point)
            self.missed += not each.reached
            self.found += bool(each.found)
            self.longest_s = max(self.longest_s, each.seconds)
            self.problems += [f"{each}: {problem}" for problem in each.problems]
        self.points += len(points)
        return self

    @property
    def harmed(self) -> int:
        """Rounds in which harm was done."""
        return self.rounds - self.missed


def table(tallies: Iterable[Tally]) -> list[str]:
    """The lines of a Markdown table, with the sums at its end."""
    rows = list(tallies)
    lines = [
        "| operation | points | rounds | audit found something | longest, s | problems |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {each.operation} | {each.points} | {each.harmed} | {each.found}"
        f" | {each.longest_s:.1f} | {len(each.problems)} |"
        for each in rows
    ]
    longest = max((each.longest_s for each in rows), default=0.0)
    lines.append(
        f"| **all** | {sum(each.points for each in rows)} | {sum(each.harmed for each in rows)}"
        f" | {sum(each.found for each in rows)} | {longest:.1f}"
        f" | {sum(len(each.problems) for each in rows)} |"
    )
    return lines
