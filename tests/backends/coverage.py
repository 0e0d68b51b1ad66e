"""Which test of the contract runs on which back end, as a page of the documentation.

``python -m tests.backends.coverage`` writes docs/coverage.md; a test compares it, so that a skip
that is added is seen.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path

import pytest

from tests.backends.behaviours import section
from tests.backends.registry import EVERY_BACK_END

PROJECT = Path(__file__).parents[2]
PAGE = PROJECT / "docs/coverage.md"

_HEAD = """\
# What the contract tests cover

Every test of `tests/contract` is written once and runs on each of these back ends, or is skipped
there with the reason. Written by `python -m tests.backends.coverage`; a test compares it.

| back end | what it is | run by |
|---|---|---|
| lab | the lab without guests, as a vCenter | `make test` |
| lab-esx | the same as a single ESXi | `make test` |
| qemu | the lab with QEMU guests | `make test` |
| vcsim | the govmomi simulator of Debian's package | `make test` |
| vcenter | a real one: see `tests/backends/real_vcenter.py` | who sets its variables |

+ it runs; a number: it is skipped for the reason below. With parameters, a test counts once if all
of them do the same.

"""


class Collector:
    """A pytest plugin that has every back end collected, and keeps what was."""

    def __init__(self) -> None:
        self.items: list[pytest.Item] = []

    def pytest_configure(self, config: pytest.Config) -> None:
        config.stash[EVERY_BACK_END] = True

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self.items = list(session.items)


def collect() -> list[pytest.Item]:
    """Every test of the contract on every back end, run by none."""
    collector = Collector()
    arguments = ["--collect-only", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
    code = pytest.main([*arguments, str(PROJECT / "tests/contract")], plugins=[collector])
    if code != pytest.ExitCode.OK:
        raise RuntimeError(f"the contract cannot be collected: {code!r}")
    return collector.items


def page(items: list[pytest.Item]) -> str:
    """The page as text."""
    table: dict[tuple[str, str], dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    names: list[str] = []
    for item in items:
        callspec = getattr(item, "callspec", None)
        name = callspec.params.get("backend") if callspec else None
        if name is None:
            continue
        if name not in names:
            names.append(name)
        test = (Path(item.path).stem, getattr(item, "originalname", item.name))
        table[test][name].add(_skipped(item))
    reasons: dict[str, int] = {}
    lines = [f"| test | {' | '.join(names)} |", f"|---|{'---|' * len(names)}"]
    file = ""
    for (stem, name), found in table.items():
        if stem != file:
            file = stem
            lines.append(f"| **{stem}** |{' |' * len(names)}")
        cells = []
        for kind in names:
            numbers = [
                "+" if not reason else str(reasons.setdefault(reason, len(reasons) + 1))
                for reason in sorted(found[kind])
            ]
            cells.append(" ".join(numbers))
        shown = name.removeprefix("test_").replace("_", " ")
        lines.append(f"| {shown} | {' | '.join(cells)} |")
    listed = [f"{number}. {reason}" for reason, number in reasons.items()]
    reasons_section = "\n\n## Reasons\n\n" + "\n".join(listed) + "\n\n"
    return _HEAD + "\n".join(lines) + reasons_section + section()


def _skipped(item: pytest.Item) -> str:
    marker = item.get_closest_marker("skip")
    return str(marker.kwargs["reason"]) if marker else ""


def main() -> None:
    PAGE.write_text(page(collect()), encoding="utf-8")
    sys.stdout.write(f"{PAGE} written\n")


if __name__ == "__main__":
    main()
