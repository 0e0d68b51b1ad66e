"""What `vmops` and its packages say they export is there, documented, and costs nothing."""

from __future__ import annotations

import ast
import importlib
import inspect
import subprocess
import sys

import pytest

import vmops
from tests.architecture import source


def assigns_all(tree: ast.Module) -> bool:
    """Tell whether a module lists its exports, without importing it."""
    return any(
        isinstance(target, ast.Name) and target.id == "__all__"
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
    )


EXPORTING = [
    path.removeprefix("src/").removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    for path, tree in source.modules()
    if assigns_all(tree)
]


@pytest.mark.parametrize("name", EXPORTING)
def test_every_exported_name_exists_and_is_documented(name: str) -> None:
    module = importlib.import_module(name)
    exported = list(module.__all__)
    assert len(exported) == len(set(exported))
    assert [name for name in exported if not hasattr(module, name)] == []
    assert [name for name in exported if not is_documented(getattr(module, name))] == []


def is_documented(value: object) -> bool:
    """Ask for documentation where Python keeps it: classes and functions, not plain values."""
    return bool(inspect.getdoc(value)) or not (inspect.isclass(value) or inspect.isroutine(value))


def test_the_public_names_are_those_exported() -> None:
    assert "vmops" in EXPORTING
    assert set(dir(vmops)) == set(vmops.__all__)


def test_importing_the_library_loads_nothing_large() -> None:
    program = "import sys, vmops; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, check=True
    ).stdout.split()
    assert "vmops" in loaded
    large = {"aiohttp", "click", "cryptography", "pyVmomi", "rich", "oslo_utils", "yaml"}
    assert large.isdisjoint(loaded)
