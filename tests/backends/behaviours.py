"""The checkable behaviours of the engine and the tests that prove them, from behaviours.toml."""

from __future__ import annotations

import ast
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

TESTS = Path(__file__).parents[1]
TABLE = TESTS / "behaviours.toml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """One promise; ``tests`` are "file::function" below tests/, ``reason`` says why there is none.

    With both, the reason says what the tests leave open.
    """

    number: str
    says: str
    tests: tuple[str, ...]
    reason: str


def behaviours() -> list[Behaviour]:
    """All of them, in order."""
    table = tomllib.loads(TABLE.read_text(encoding="utf-8"))
    return [
        Behaviour(
            number=number,
            says=row["says"],
            tests=tuple(row.get("tests", ())),
            reason=row.get("reason", ""),
        )
        for number, row in table.items()
    ]


@cache
def _functions(file: Path) -> frozenset[str]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


def missing(behaviour: Behaviour) -> list[str]:
    """Those of its tests that are not there."""
    lost = []
    for test in behaviour.tests:
        name, _, function = test.partition("::")
        file = TESTS / name
        if not file.is_file() or function not in _functions(file):
            lost.append(test)
    return lost


def section() -> str:
    """The behaviours as a section of the page."""
    lines = [
        "## Checkable behaviours",
        "",
        "What the engine promises, and where it is proved. The files are below `tests/`.",
        "",
        "| | behaviour | proved by |",
        "|---|---|---|",
    ]
    for each in behaviours():
        files: dict[str, list[str]] = {}
        for test in each.tests:
            name, _, function = test.partition("::")
            files.setdefault(name, []).append(function.removeprefix("test_").replace("_", " "))
        proofs = [f"`{name}`: {'; '.join(tests)}" for name, tests in files.items()]
        if each.reason:
            proofs.append(f"*{each.reason}*")
        lines.append(f"| {each.number} | {each.says} | {'<br>'.join(proofs)} |")
    return "\n".join(lines) + "\n"
