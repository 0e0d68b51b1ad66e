"""The types that are missing where vmops meets the wire may only become fewer."""

from __future__ import annotations

import ast

import pytest

from tests.architecture import source

# How often the name `Any` stands in the code of a room. Where it is less, lower the number.
ANY = {"vsphere": 64, "lab": 50}
IGNORES = 10
"""How often a type checker is told to look away, in all of the source."""


@pytest.mark.parametrize("room", ANY)
def test_any_becomes_rarer(room: str) -> None:
    found = {
        path: count
        for path, tree in source.modules()
        if path.startswith(f"src/vmops/{room}/") and (count := uses_of_any(tree))
    }
    assert sum(found.values()) == ANY[room], found


def test_ignored_errors_become_rarer() -> None:
    paths = source.SOURCE.rglob("*.py")
    found = {
        path.name: count for path in paths if (count := path.read_text().count("type: ignore"))
    }
    assert sum(found.values()) == IGNORES, found


def uses_of_any(tree: ast.AST) -> int:
    return sum(
        (isinstance(node, ast.Name) and node.id == "Any")
        or (isinstance(node, ast.Constant) and node.value == "Any")  # as in cast("Any", ...)
        for node in ast.walk(tree)
    )


def test_uses_are_counted() -> None:
    code = "from typing import Any\nx: dict[str, Any] = {}\ny = cast('Any', x)\ndef f(z: Any): ..."
    assert uses_of_any(ast.parse(code)) == 3
