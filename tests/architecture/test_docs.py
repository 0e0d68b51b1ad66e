"""What the documentation points at is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.architecture import source

PAGES = sorted([*source.PROJECT.glob("*.md"), *source.PROJECT.glob("docs/**/*.md")])
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)\s]*)?\)")
# `src/vmops/...`, `tests/...` and the like, without placeholders in capitals or braces.
FILE = re.compile(r"`((?:src|tests|scripts|docs|benchmarks)/[a-z0-9_./-]+)`")
COMMAND = re.compile(r"`make ([a-z]+)`|^make ([a-z]+)", re.MULTILINE)


def pages(pattern: re.Pattern[str]) -> list[tuple[Path, str]]:
    return [
        (page, next(filter(None, match.groups())))
        for page in PAGES
        for match in pattern.finditer(page.read_text())
    ]


def test_every_link_between_pages_leads_somewhere() -> None:
    assert PAGES
    dead = [
        f"{page.name}: {target}"
        for page, target in pages(LINK)
        if "://" not in target and not (page.parent / target).exists()
    ]
    assert dead == []


def test_every_file_named_exists() -> None:
    dead = [
        f"{page.name}: {target}"
        for page, target in pages(FILE)
        if not (source.PROJECT / target).exists()
    ]
    assert dead == []


def test_every_make_target_named_exists() -> None:
    makefile = (source.PROJECT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    assert [f"{page.name}: {name}" for page, name in pages(COMMAND) if name not in targets] == []


@pytest.mark.parametrize("page", ["README.md", "CHANGELOG.md", "docs/contributing.md"])
def test_a_newcomer_finds(page: str) -> None:
    assert (source.PROJECT / page).read_text().startswith("# ")
