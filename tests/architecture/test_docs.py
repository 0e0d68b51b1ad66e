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
ROOM = re.compile(r"`((?:lab|ops|vsphere)/[a-z_/]+)`")
MODULE = re.compile(r"`([a-z_]+\.[a-z_]+\.[A-Za-z_.]+)`")
# Names of vmops in a VM's extraConfig look the same.
KEYS = ("vmops.lab.tools",)
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


def test_every_room_is_described_and_no_other() -> None:
    packages = {
        file.parent.relative_to(source.SOURCE / "vmops").as_posix()
        for file in source.SOURCE.glob("vmops/*/**/__init__.py")
    }
    rooms = {name for name in packages if name.startswith(("lab/", "ops/", "vsphere/"))}
    text = (source.PROJECT / "docs" / "design.md").read_text()
    assert set(ROOM.findall(text)) == rooms
    layers = text.partition("\n\n`lab` stands beside them.")[0]
    modules = {file.stem for file in source.SOURCE.glob("vmops/[a-z]*") if file.name != "py.typed"}
    assert set(re.findall(r"`([a-z_]+)`", layers)) == modules - {"lab"}


def test_every_module_named_exists() -> None:
    """In documents and docstrings: `vmops.ops.guard.locks`, `guard.locks.InstanceLocks`."""
    files = list(source.SOURCE.rglob("*.py"))
    known = {
        f".{'.'.join(file.relative_to(source.SOURCE).with_suffix('').parts)}".removesuffix(
            ".__init__"
        ): file.read_text()
        for file in files
    }
    rooms = {name.split(".")[-2] for name in known if name.count(".") > 3} | {"vmops"}
    dead = [
        f"{file.name}: {name}"
        for file in [*PAGES, *files]
        for name in MODULE.findall(file.read_text())
        if name.split(".")[0] in rooms and not name.startswith(KEYS) and not _is_named(name, known)
    ]
    assert dead == []


def _is_named(name: str, known: dict[str, str]) -> bool:
    """Whether there is such a module, or what is named besides stands in it."""
    parts = name.split(".")
    return any(
        there.endswith(f".{'.'.join(parts[:n])}") and all(part in text for part in parts[n:])
        for n in range(len(parts), 1, -1)
        for there, text in known.items()
    )


def test_every_make_target_named_exists() -> None:
    makefile = (source.PROJECT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    assert [f"{page.name}: {name}" for page, name in pages(COMMAND) if name not in targets] == []


@pytest.mark.parametrize("page", ["README.md", "CHANGELOG.md", "docs/contributing.md"])
def test_a_newcomer_finds(page: str) -> None:
    assert (source.PROJECT / page).read_text().startswith("# ")
