"""Which cases of a test run always, and which only where all are asked for.

What tells the cases of a test apart is mostly the engine's, and the lab as a vCenter without guests
runs every one. What another back end, a real guest, or the moment at which something fails adds to
that is seen by some of them; those are always the same, so that a failure can be repeated.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
EACH = "every_case"
"""The marker of a test whose cases are told apart by more than the engine."""
# Folder or file, and back end -> one of so many cases runs; the first always does. 0: no other.
SHARES = {
    ("contract", "qemu"): 0,
    ("contract", "lab-esx"): 6,
    ("contract", "vcsim"): 6,
    ("faults", None): 6,
    ("vsphere/test_evil_answers.py", None): 6,
    ("cli/test_hostile_names.py", None): 3,
}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--every-case", action="store_true", help="run every case of every test")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", f"{EACH}: all cases of this test run always")


def _share(file: Path, back_end: str | None) -> int | None:
    """One of so many cases of a file's tests runs; None: all do."""
    if not file.is_relative_to(TESTS):
        return None
    path = file.relative_to(TESTS)
    return SHARES.get((path.as_posix(), back_end), SHARES.get((path.parts[0], back_end)))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what `SHARES` says, unless it is told to run every case."""
    if config.getoption("--every-case"):
        return
    seen: Counter[tuple[str, str | None]] = Counter()
    left_out = set()
    for item in items:
        if not isinstance(item, pytest.Function) or item.get_closest_marker(EACH) is not None:
            continue
        callspec = getattr(item, "callspec", None)
        back_end = None if callspec is None else callspec.params.get("backend")
        share = _share(item.path, back_end)
        if share is None or item.path.stem.endswith("_guests"):
            continue
        test = (f"{item.path}::{item.originalname}", back_end)
        number = seen[test]
        seen[test] += 1
        if number and (not share or number % share):
            left_out.add(item)
    if left_out:
        items[:] = [item for item in items if item not in left_out]
        config.hook.pytest_deselected(items=list(left_out))
