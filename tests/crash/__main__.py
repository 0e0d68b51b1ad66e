"""``make crash``: everything, or some of it, killed at every call; writes docs/reliability.md."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import asdict

from tests.crash import page, worker
from tests.crash.operations import OPERATIONS
from tests.crash.tally import Tally

GUESTS_ROUNDS = 3


def main() -> int:
    given = _arguments()
    worker.RESULTS.mkdir(parents=True, exist_ok=True)
    failed = False
    for kind in given.kinds:
        begin = time.monotonic()
        names = [
            name
            for name, operation in OPERATIONS.items()
            if given.only in name and (kind != "guests" or operation.guests)
        ]
        number = given.rounds or (GUESTS_ROUNDS if kind == "guests" else 0)
        tallies = list(_run(kind, names, number, 1 if kind == "guests" else given.jobs))
        tallies.sort(key=lambda each: names.index(each.operation))
        failed = failed or any(each.problems for each in tallies)
        seconds = time.monotonic() - begin
        file = worker.RESULTS / f"{kind}.json"
        file.write_text(json.dumps([asdict(each) for each in tallies], indent=1))
        if given.write:
            title, _ = page.CHAPTERS[kind]
            page.write({title: page.chapter(kind, tallies, seconds)})
        _say(f"{kind}: {sum(each.harmed for each in tallies)} rounds in {seconds:.0f} s; {file}")
    return 1 if failed else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.crash", description=__doc__)
    parser.add_argument(
        "kinds",
        nargs="*",
        default=list(page.CHAPTERS),
        metavar="KIND",
        help=", ".join(page.CHAPTERS),
    )
    parser.add_argument("--only", default="", help="operations whose name has this in it")
    parser.add_argument("--rounds", type=int, default=0, help="so many of each, evenly chosen")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--write", action="store_true", help="write the chapters of the page")
    return parser.parse_args()


def _run(kind: str, names: list[str], number: int, jobs: int) -> Iterator[Tally]:
    """The operations' tallies, as they are done."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context) as pool:
        running: list[Future[Tally]] = [
            pool.submit(worker.one, kind, name, number) for name in names
        ]
        for each in as_completed(running):
            tally = each.result()
            _say(
                f"{kind}: {tally.operation}: {tally.harmed} rounds, {len(tally.problems)} problems"
                f", {tally.seconds:.0f} s"
            )
            for problem in tally.problems:
                _say(f"    {problem[:600]}")
            yield tally


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
