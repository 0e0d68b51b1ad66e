"""Measures the figures one after the other and writes the page about them."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path

from benchmarks import machine, page
from benchmarks.figures import (
    calls,
    engine_time,
    evil_servers,
    live_migration,
    login,
    move_calls,
    snapshot,
    start,
    tests,
    unknown_clients,
    upload,
    wake_up,
)
from benchmarks.report import Figure
from benchmarks.run_options import Run
from benchmarks.workers import BUILD, PROJECT

FIGURES = {
    "calls": calls,
    "move-calls": move_calls,
    "engine-time": engine_time,
    "wake-up": wake_up,
    "login": login,
    "live-migration": live_migration,
    "upload": upload,
    "snapshot": snapshot,
    "unknown-clients": unknown_clients,
    "evil-servers": evil_servers,
    "tests": tests,
    "start": start,
}
PAGE = PROJECT / "docs/benchmarks.md"


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
                figures.append(FIGURES[name].measure(run))
            except Exception:  # noqa: BLE001 - the others are worth having
                traceback.print_exc()
                failed.append(name)
            print(f"  {time.monotonic() - begin:.0f} s", file=sys.stderr, flush=True)
    if arguments.only and not arguments.update:
        print("\n".join(line for figure in figures for line in figure.lines()))
        return 1 if failed else 0
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    if arguments.update:
        titles = [figure.TITLE for figure in FIGURES.values()]
        text = page.updated(arguments.output.read_text(), figures, titles, before)
    else:
        text = page.whole(figures, arguments.repeat, before)
        if failed:  # a page that lacks figures takes no other's place
            arguments.output = BUILD / "incomplete.md"
    arguments.output.write_text(text)
    print(f"written: {arguments.output}", file=sys.stderr)
    return 1 if failed else 0


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("only", nargs="*", choices=[*FIGURES, []], help="chapters; all if none")
    parser.add_argument(
        "--update", action="store_true", help="put the chapters on the page; else they are printed"
    )
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
