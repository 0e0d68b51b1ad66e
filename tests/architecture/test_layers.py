"""The layers drawn in pyproject.toml are the layers of the code."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import grimp

PROJECT = Path(__file__).parents[2]


def test_every_import_contract_is_kept() -> None:
    program = Path(sys.executable).with_name("lint-imports")
    check = subprocess.run(
        [program, "--no-cache"], cwd=PROJECT, capture_output=True, text=True, check=False
    )
    assert check.returncode == 0, check.stdout + check.stderr


def test_no_file_imports_itself_by_way_of_others() -> None:
    """Imports for types alone count, too."""
    graph = grimp.build_graph("vmops", exclude_type_checking_imports=False, cache_dir=None)
    left = {
        each: graph.find_modules_directly_imported_by(each) & graph.modules
        for each in graph.modules
    }
    # What imports nothing that is left is in no circle.
    while ends := {each for each, imported in left.items() if not imported}:
        left = {each: imported - ends for each, imported in left.items() if each not in ends}
    assert not left
