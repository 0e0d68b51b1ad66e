"""The source files that the architecture tests read."""

from __future__ import annotations

import ast
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

PROJECT = Path(__file__).parents[2]
SOURCE = PROJECT / "src"

type_of_function = (ast.FunctionDef, ast.AsyncFunctionDef)


def modules() -> Iterator[tuple[str, ast.Module]]:
    """Give each source file by its path from the project, with its syntax tree."""
    for path in sorted(SOURCE.rglob("*.py")):
        yield path.relative_to(PROJECT).as_posix(), ast.parse(path.read_text())


def tracked_files() -> list[Path]:
    """Return the files that belong to the project; skips where git cannot tell."""
    if not shutil.which("git") or not (PROJECT / ".git").exists():
        pytest.skip("not a git checkout: which files belong to the project is not known")
    # Run as root in a folder of somebody else git refuses without the exception.
    git = ["git", "-c", f"safe.directory={PROJECT}", "ls-files", "-z"]
    listed = subprocess.run(git, cwd=PROJECT, stdout=subprocess.PIPE, check=True).stdout
    names = [PROJECT / name for name in listed.decode().split("\0") if name]
    return [path for path in names if path.is_file()]
