"""How long the tests take."""

from __future__ import annotations

import subprocess
import time

from benchmarks.report import Figure, spread
from benchmarks.run_options import Run
from benchmarks.workers import PROJECT

TITLE = "Tests"

METHOD = """\
Seconds of `make test` on a prepared machine: formatting, lint, types, import contracts and all
tests, those with guests and with the simulator too."""


def measure(run: Run) -> Figure:
    if run.run_tests:
        seconds = [measured()]
    elif run.test_seconds:
        seconds = [float(line) for line in run.test_seconds.read_text().split()]
    else:
        return Figure(TITLE, METHOD, ["Not measured in this run."])
    return Figure(TITLE, METHOD, [f"{spread(seconds, digits=0)} s, {len(seconds)} run(s)."])


def measured() -> float:
    begin = time.perf_counter()
    subprocess.run(["make", "test"], cwd=PROJECT, check=True)
    return time.perf_counter() - begin
