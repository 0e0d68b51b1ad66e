"""The page about all figures: written whole, or with some of its chapters measured anew."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmarks import machine
from benchmarks.report import Figure, Table

INTRODUCTION = """\
# Benchmarks

Written by `make bench`. Every client runs in a process of its own, against a lab in another one,
all of them on one machine over TLS on loopback; peers are measured in the same run, on the same
endpoint, with the same images. Nova is the vSphere driver of the `nova` package from PyPI with
oslo.vmware, unchanged but for one number: it sends the size of a flat image as `8192.0`, which is
no whole number and is refused, so it is given one. Glance and Neutron are files and constants, and
there is no database.

Figures are medians of at least {repeat}, with the least and the most in brackets. The machine is
shared and noisy: the 1-minute load was {before:.1f} at the start and {after:.1f} at the end. Trust
counts and ratios; milliseconds are for this machine and this hour.
"""
REPEATING = """\
## How to repeat

`make bench` installs what is needed into `.venv-bench`, measures for some minutes and rewrites
this page. `make bench BENCH="snapshot live-migration --update"` measures these chapters anew and
leaves the others as they are; without `--update` they are printed. `--help` lists the chapters and
all options. Logs of the processes are in `.build/benchmarks`.
"""
_HEAD = "## "


def whole(figures: Sequence[Figure], repeat: int, before: float) -> str:
    """The page of a run that measured everything."""
    introduction = INTRODUCTION.format(repeat=repeat, before=before, after=machine.load())
    lines = [introduction, *Table(("", "this run"), machine.described(), left=2).lines(), ""]
    for figure in figures:
        lines += figure.lines()
    return "\n".join([*lines, REPEATING])


def updated(text: str, figures: Sequence[Figure], titles: Sequence[str], before: float) -> str:
    """The page with these chapters measured anew; ``titles`` are all there are, in order."""
    head, chapters = _taken_apart(text)
    for figure in figures:
        chapters[figure.title] = "\n".join(_with_note(figure, before))
    ordered = [chapters[title].strip("\n") for title in titles if title in chapters]
    return "\n\n".join([head.strip("\n"), *ordered, REPEATING])


def _with_note(figure: Figure, before: float) -> list[str]:
    facts: Mapping[str, str] = dict(machine.described())
    title, blank, *rest = figure.lines()
    ahead = ", which this run went before" if machine.goes_before_others() else ""
    note = (
        f"Measured on its own, {facts['date']}, vmops {facts['vmops']}.\n"
        f"The 1-minute load was {before:.1f} at the start, {machine.load():.1f} at the end{ahead}."
    )
    return [title, blank, note, "", *rest]


def _taken_apart(text: str) -> tuple[str, dict[str, str]]:
    head, *rest = text.split(f"\n{_HEAD}")
    return head, {each.partition("\n")[0]: f"{_HEAD}{each}" for each in rest}
