"""``make soak``: many operations for a long time, and whether anything grows that should not.

Memory, threads and descriptors of the lab and of its clients are looked at every few seconds. What
grows in the second half of the time by more than chance allows fails the run.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.crash.nursery import Child
from tests.crash.stage import Stage, plain

CLIENTS = 2
THREADS = 2
MIB = 1024 * 1024
LIMITS = {"memory, MiB": 0.1, "threads": 0.1, "descriptors": 0.1}
"""How much each may grow in a minute."""


@dataclass(kw_only=True)
class Watched:
    """A process and what was seen of it."""

    name: str
    pid: int
    seconds: list[float] = field(default_factory=list)
    seen: dict[str, list[float]] = field(default_factory=lambda: {key: [] for key in LIMITS})

    def look(self, at: float) -> None:
        folder = Path(f"/proc/{self.pid}")
        status = dict(line.split(":\t", 1) for line in (folder / "status").read_text().splitlines())
        values = (
            int(status["VmRSS"].split()[0]) / 1024,
            int(status["Threads"]),
            len(list((folder / "fd").iterdir())),
        )
        self.seconds.append(at)
        for key, value in zip(LIMITS, values, strict=True):
            self.seen[key].append(float(value))


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """A line through the second half of the values: its slope for a minute, and how sure it is."""

    per_minute: float
    error: float

    def exceeds(self, limit: float) -> bool:
        """Whether it is steeper than that, chance left aside."""
        return self.per_minute - 2 * self.error > limit


def growth(seconds: Sequence[float], values: Sequence[float]) -> Growth:
    """The least squares' slope of the second half.

    Neighbours are alike, as memory stays where it is for a while: means of eight stretches are
    taken for its error.
    """
    half = len(values) // 2
    x, y = [each / 60 for each in seconds[half:]], list(values[half:])
    slope, start = statistics.linear_regression(x, y)
    size = max(1, len(x) // 8)
    off = [value - start - slope * at for at, value in zip(x, y, strict=True)]
    means = [statistics.fmean(off[k : k + size]) for k in range(0, len(off), size)]
    spread = statistics.pstdev(x) * len(means) ** 0.5
    return Growth(per_minute=slope, error=statistics.pstdev(means) / spread if spread else 0.0)


def main() -> int:
    given = _arguments()
    with Stage(lease_s=300, trace_s=given.seconds if given.trace else 0.0) as stage:
        access = plain(stage.access(through_gate=False, timeout_s=60.0))
        asked = {"access": access, "seconds": given.seconds, "threads": THREADS}
        clients = [
            stage.nursery.fork("mix", {**asked, "trace": given.trace and number == 0})
            for number in range(CLIENTS)
        ]
        try:
            watched = [Watched(name="lab", pid=stage.lab.pid)]
            watched += [
                Watched(name=f"client {number + 1}", pid=client.pid)
                for number, client in enumerate(clients)
            ]
            _watch(watched, given.seconds)
            counts = _counts(clients, stage)
        finally:
            for client in clients:
                client.end()
        if given.trace:
            sys.stdout.write(stage.log())
    lines, grows = report(watched)
    failures = {name: times for name, times in counts.items() if name.startswith("failed")}
    done = sum(counts.values()) - sum(failures.values())
    lines += ["", f"{done} operations in {given.seconds:.0f} s; {len(failures)} kinds failed"]
    lines += [f"- {times} x {name}" for name, times in failures.items()]
    sys.stdout.write("\n".join([*lines, ""]))
    if given.json:
        given.json.write_text(json.dumps([vars(each) for each in watched]))
    return 1 if grows or failures else 0


def report(watched: Sequence[Watched]) -> tuple[list[str], list[str]]:
    """A table, and what grows."""
    lines = ["| process | what | first | last | most | growth a minute, second half | |"]
    lines += ["|---|---|---:|---:|---:|---:|---|"]
    grows = []
    for each in watched:
        for key, limit in LIMITS.items():
            values = each.seen[key]
            found = growth(each.seconds, values)
            verdict = "grows" if found.exceeds(limit) else "flat"
            lines.append(
                f"| {each.name} | {key} | {values[0]:.1f} | {values[-1]:.1f} | {max(values):.1f}"
                f" | {found.per_minute:+.3f} ± {2 * found.error:.3f} | {verdict} |"
            )
            if verdict == "grows":
                grows.append(f"{each.name}: {key}")
    return lines, grows


def _watch(watched: Sequence[Watched], seconds: float) -> None:
    begin = time.monotonic()
    step = min(5.0, seconds / 100)
    # The last seconds belong to the end of what is under way.
    while (at := time.monotonic() - begin) < seconds - 1:
        for each in watched:
            each.look(at)
        time.sleep(step)


def _counts(clients: Sequence[Child], stage: Stage) -> Counter[str]:
    total: Counter[str] = Counter()
    for client in clients:
        told = client.told(180)
        assert told is not None, stage.log()
        total.update(told)
    return total


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.crash.soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=3600.0)
    parser.add_argument(
        "--trace", action="store_true", help="say where the lab's and a client's memory goes"
    )
    parser.add_argument("--json", type=Path, help="a file for all that was seen")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
