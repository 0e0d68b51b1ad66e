"""docs/reliability.md: its chapters are written anew one by one, those not run stay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tests.crash.nursery import PROJECT
from tests.crash.pairs import Contest
from tests.crash.tally import Tally, table

PAGE = PROJECT / "docs" / "reliability.md"
INTRODUCTION = """\
# Reliability

What happens to a client's work when something dies in the middle of it, measured.
`make crash` runs each operation once undisturbed, takes the list of its calls, SOAP and HTTP, and
then harms it at each of them: no list is written by hand.
After each harm come `vmops audit`, `vmops audit --fix`, the operation again, and
`vmops destroy`; a second round destroys at once.
Files on the datastores, hardware, notes in `extraConfig`, snapshots, images and the bytes of all
disks are compared with those of a run that was not harmed.
A difference, something left, a second run that fails, an error without a type: each is a problem.
Numbers of each chapter are of the day that it names. How it works is told in
[Contributing](contributing.md#killed-at-every-call).
"""
CHAPTERS = {
    "clients": (
        "The client killed",
        "A process is killed (SIGKILL) before a call leaves it, when the server has the call"
        " (half of it, where it is an upload) and when the server has answered and the client has"
        " not heard of it.",
    ),
    "servers": (
        "The server killed",
        "The lab is killed (SIGKILL) when a call has come that changes something, and again when"
        " it and its task are done, and started again on what it left. Its machines run on.",
    ),
    "holes": (
        "A connection silent",
        "The connection of a call goes silent, before the call arrives and before its answer does,"
        " for a client whose `timeout_s` is 1. Other connections stay good.",
    ),
    "guests": (
        "With real guests",
        "Clients and the lab killed, at evenly chosen calls, with machines that are QEMU guests."
        " What guests write themselves is not compared.",
    ),
}
PAIRS = (
    "Two at the same time",
    "Pairs of operations that touch the same things, begun at once in two processes: what only one"
    " of them can have, one of them has; who is refused is told by an error with a type; after"
    " `vmops destroy` nothing is left.",
)
_HEAD = "\n## "


def chapter(kind: str, tallies: Sequence[Tally], number: int = 0) -> str:
    """One chapter, without its title; ``number`` is how many points of each were chosen, 0 all."""
    _, text = CHAPTERS[kind]
    problems = [problem for each in tallies for problem in each.problems]
    which = f"{number} points of each, evenly chosen" if number else "every point"
    lines = [text, "", f"{_days(tallies)}; {which}.", ""]
    lines += [*table(tallies), ""]
    return "\n".join([*lines, *_problems(problems)])


def pairs_chapter(contests: Sequence[Contest]) -> str:
    """The chapter about pairs, without its title."""
    lines = [PAIRS[1], "", f"{_days(contests)}.", ""]
    lines += ["| pair | rounds | how both ended | problems |", "|---|---:|---|---:|"]
    for each in contests:
        ended = ", ".join(f"{how}: {times}" for how, times in most_often(each.outcomes))
        lines.append(f"| {each.name} | {each.rounds} | {ended} | {len(each.problems)} |")
    total = sum(each.rounds for each in contests)
    lines += [f"| **all** | {total} | | {sum(len(each.problems) for each in contests)} |", ""]
    return "\n".join([*lines, *_problems([one for each in contests for one in each.problems])])


def most_often(outcomes: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(outcomes.items(), key=lambda each: -each[1])


def _problems(problems: Sequence[str]) -> list[str]:
    return ["Problems:", "", *(f"- {_short(each)}" for each in problems), ""] if problems else []


def write(chapters: Mapping[str, str]) -> None:
    """Write these chapters, by title, into the page; the others stay as they are."""
    there = _chapters(PAGE.read_text()) if PAGE.exists() else {}
    order = [title for title, _ in (*CHAPTERS.values(), PAIRS)]
    merged = {**dict.fromkeys(order, ""), **there, **chapters}
    parts = [INTRODUCTION]
    parts += [f"## {title}\n\n{text.strip()}\n" for title, text in merged.items() if text.strip()]
    PAGE.write_text("\n".join(parts))


def _chapters(text: str) -> dict[str, str]:
    _, *rest = text.split(_HEAD)
    return {each.partition("\n")[0]: each.partition("\n")[2] for each in rest}


def _days(results: Sequence[Tally | Contest]) -> str:
    """When it was measured, and how long it took if nothing else ran beside."""
    days = sorted({each.day for each in results})
    minutes = sum(each.seconds for each in results) / 60
    return f"{' to '.join(days[:1] + days[1:][-1:])}, {minutes:.0f} minutes in all"


def _short(problem: str) -> str:
    line = " ".join(problem.split())
    return line if len(line) < 400 else f"{line[:400]} ..."
