"""``make crash``: everything, or some of it, killed at every call; writes docs/reliability.md."""

from __future__ import annotations

import argparse
import multiprocessing
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import TypeVar

from tests.crash import page, worker
from tests.crash.operations import OPERATIONS
from tests.crash.pairs import PAIRS, Contest
from tests.crash.results import Results
from tests.crash.tally import Tally

T = TypeVar("T")

GUESTS_ROUNDS = 4
PAIR_S = 30.0
KINDS = (*page.CHAPTERS, "pairs")


def main() -> int:
    given = _arguments()
    problems = [_pairs(given) if kind == "pairs" else _harm(kind, given) for kind in given.kinds]
    return 1 if any(problems) else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.crash", description=__doc__)
    parser.add_argument("kinds", nargs="*", default=KINDS, metavar="KIND", help=", ".join(KINDS))
    parser.add_argument("--only", default="", help="operations whose name matches this")
    parser.add_argument("--rounds", type=int, default=0, help="so many of each, evenly chosen")
    parser.add_argument("--seconds", type=float, default=PAIR_S, help="for each pair")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--write", action="store_true", help="write the chapters of the page")
    return parser.parse_args()


def _harm(kind: str, given: argparse.Namespace) -> int:
    """All operations harmed in one way, new ones first; how many problems there were."""
    has_guests = kind == "guests"
    every = [name for name, operation in OPERATIONS.items() if operation.guests or not has_guests]
    number = given.rounds or (GUESTS_ROUNDS if has_guests else 0)
    results, problems = Results(kind, Tally), 0
    names = sorted(
        (name for name in every if re.search(given.only, name)), key=results.__contains__
    )
    tasks = [(kind, name, number) for name in names]
    for tally in _each(worker.one, tasks, 1 if has_guests else given.jobs):
        problems += len(tally.problems)
        results.add(tally.operation, tally)
        _tell(f"{kind}: {tally.operation}: {tally.harmed} rounds", tally.seconds, tally.problems)
        if given.write:
            page.write({page.CHAPTERS[kind][0]: page.chapter(kind, results.of(every), number)})
    return problems


def _pairs(given: argparse.Namespace) -> int:
    """All pairs; how many problems there were."""
    results, problems = Results("pairs", Contest), 0
    tasks = [(name, given.seconds) for name in PAIRS if re.search(given.only, name)]
    for found in _each(worker.pair, tasks, given.jobs):
        problems += len(found.problems)
        results.add(found.name, found)
        ended = ", ".join(f"{how}: {times}" for how, times in page.most_often(found.outcomes))
        _tell(f"pairs: {found.name}: {found.rounds} rounds, {ended}", found.seconds, found.problems)
        if given.write:
            page.write({page.PAIRS[0]: page.pairs_chapter(results.of(list(PAIRS)))})
    return problems


def _each(do: Callable[..., T], tasks: Iterable[tuple[str | float, ...]], jobs: int) -> Iterator[T]:
    """What comes of each task, as they are done."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context) as pool:
        for each in as_completed([pool.submit(do, *task) for task in tasks]):
            yield each.result()


def _tell(what: str, seconds: float, problems: list[str]) -> None:
    lines = [f"{what}, {len(problems)} problems, {seconds:.0f} s"]
    lines += [f"    {' '.join(problem.split())[:900]}" for problem in problems]
    sys.stdout.write("\n".join([*lines, ""]))
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
