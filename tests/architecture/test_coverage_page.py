"""The page of what the contract covers is that of the tests that are there."""

from __future__ import annotations

import subprocess
import sys

from tests.backends.coverage import PAGE, PROJECT

_PROGRAM = "from tests.backends.coverage import collect, page; import sys; text = page(collect()); \
sys.stdout.write('\\0' + text)"


def test_the_page_is_up_to_date() -> None:
    said = subprocess.run(
        [sys.executable, "-c", _PROGRAM], cwd=PROJECT, stdout=subprocess.PIPE, text=True, check=True
    ).stdout
    assert PAGE.read_text(encoding="utf-8") == said.partition("\0")[2], (
        "a test or a skip was added or removed: run python -m tests.backends.coverage, and look"
        " whether the skips in docs/coverage.md are meant"
    )
