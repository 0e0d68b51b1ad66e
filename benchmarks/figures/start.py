"""How long the command takes to say something."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.report import Figure, Table, spread
from benchmarks.run_options import Run

TITLE = "Start of the command"

METHOD = """\
From starting the process to its end, in turns; the first row is what Python needs to do nothing."""
GOAL_MS = 100


def measure(run: Run) -> Figure:
    vmops = str(Path(sys.executable).with_name("vmops"))
    commands = {
        "`python -c pass`": [sys.executable, "-c", "pass"],
        "`vmops --help`": [vmops, "--help"],
    }
    taken: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(1 + 3 * run.repeat):
        for name, command in commands.items():
            taken[name].append(milliseconds(command))
    rows = [(name, spread(each[1:], digits=0)) for name, each in taken.items()]
    table = Table(("command", "ms"), rows)
    return Figure(TITLE, f"{METHOD} Goal: under {GOAL_MS} ms.", [table])


def milliseconds(command: Sequence[str]) -> float:
    begin = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return (time.perf_counter() - begin) * 1e3
