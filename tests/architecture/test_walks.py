"""The walks through the house that the page of design gives lead through what is there."""

from __future__ import annotations

import ast
import re

from tests.architecture.source import PROJECT

HOP = re.compile(r"^\d+\. `(src/[\w/]+\.py)`: (.+)$", re.MULTILINE)


def hops() -> list[tuple[str, list[str]]]:
    page = (PROJECT / "docs/design.md").read_text()
    return [(path, re.findall(r"`(\w+)`", said)) for path, said in HOP.findall(page)]


def defined(path: str) -> set[str]:
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    nodes = ast.walk(ast.parse((PROJECT / path).read_text()))
    return {node.name for node in nodes if isinstance(node, kinds)}


def test_every_hop_of_a_walk_is_there() -> None:
    assert len(hops()) > 30
    lost = {(path, name) for path, names in hops() for name in names if name not in defined(path)}
    assert not lost
    assert all(names for _, names in hops())
