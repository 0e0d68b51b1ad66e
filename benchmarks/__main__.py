"""Measures the figures one after the other and writes the page about them."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from benchmarks import machine
from benchmarks.figures import (
    calls,
    engine_time,
    login,
    move_calls,
    snapshot,
    start,
    tests,
    upload,
    wake_up,
)
from benchmarks.report import Figure, Table
from benchmarks.run_options import Run
from benchmarks.workers import BUILD, PROJECT

FIGURES: dict[str, Callable[[Run], Figure]] = {
    "calls": calls.measure,
    "move-calls": move_calls.measure,
    "engine-time": engine_time.measure,
    "wake-up": wake_up.measure,
    "login": login.measure,
    "upload": upload.measure,
    "snapshot": snapshot.measure,
    "tests": tests.measure,
    "start": start.measure,
}
PAGE = PROJECT / "docs/benchmarks.md"

INTRODUCTION = """\
# Benchmarks

Written by `make bench`. Every client runs in a process of its own, against a lab in another one,
all of them on one machine over TLS on loopback; peers are measured in the same run, on the same
endpoint, with the same images. Nova is the vSphere driver of the `nova` package from PyPI with
oslo.vmware, unchanged but for one number: it sends the size of a flat image as `8192.0`, which is
no whole number and is refused, so it is given one. Glance and Neutron are files and constants.

Figures are medians of at least {repeat}, with the least and the most in brackets. The machine is
shared and noisy: the 1-minute load was {before:.1f} at the start and {after:.1f} at the end. Trust
counts and ratios; milliseconds are for this machine and this hour.
"""
REPEATING = """\
## How to repeat

`make bench` installs what is needed into `.venv-bench`, measures for some minutes and rewrites
this page. `.venv-bench/bin/python -m benchmarks --help` shows how to measure a single figure,
which is printed instead; `make bench BENCH="--run-tests"` passes options on. Logs of the processes
are in `.build/benchmarks`.
"""


def main() -> int:
    arguments = parsed()
    # A run that is ended ends its workers in order.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    before = machine.load()
    BUILD.mkdir(parents=True, exist_ok=True)
    figures: list[Figure] = []
    failed: list[str] = []
    for name in arguments.only or FIGURES:
        with tempfile.TemporaryDirectory(prefix="run-", dir=BUILD) as scratch:
            run = Run(
                scratch=Path(scratch),
                repeat=arguments.repeat,
                upload_mib=arguments.upload_mib,
                test_seconds=arguments.test_seconds,
                run_tests=arguments.run_tests,
            )
            begin = time.monotonic()
            print(f"{name} ...", file=sys.stderr, flush=True)
            try:
                figures.append(FIGURES[name](run))
            except Exception:  # noqa: BLE001 - the others are worth having
                traceback.print_exc()
                failed.append(name)
            print(f"  {time.monotonic() - begin:.0f} s", file=sys.stderr, flush=True)
    if arguments.only:
        print("\n".join(line for figure in figures for line in figure.lines()))
        return 1 if failed else 0
    if failed:
        # A page that lacks figures takes no other's place.
        arguments.output = BUILD / "incomplete.md"
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    arguments.output.write_text(page(figures, arguments.repeat, before))
    print(f"written: {arguments.output}", file=sys.stderr)
    return 1 if failed else 0


def page(figures: list[Figure], repeat: int, before: float) -> str:
    introduction = INTRODUCTION.format(repeat=repeat, before=before, after=machine.load())
    lines = [introduction, *Table(("", "this run"), machine.described(), left=2).lines(), ""]
    for figure in figures:
        lines += figure.lines()
    return "\n".join([*lines, REPEATING])


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("only", nargs="*", choices=[*FIGURES, []], help="figures to print")
    parser.add_argument("--repeat", type=int, default=5, help="how often (5)")
    parser.add_argument("--upload-mib", type=int, default=1024, help="size of the upload (1024)")
    parser.add_argument("--output", type=Path, default=PAGE, help="the page to write")
    tested = parser.add_mutually_exclusive_group()
    tested.add_argument("--run-tests", action="store_true", help="measure `make test` too")
    tested.add_argument(
        "--test-seconds",
        type=Path,
        metavar="FILE",
        help="seconds that runs of `make test` took, one a line",
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
