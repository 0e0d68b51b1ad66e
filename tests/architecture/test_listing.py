"""Folders of the lab are looked at in one place, which bears that others delete in them."""

from __future__ import annotations

import ast

from tests.architecture import source

LOOKS = {"rglob", "glob", "iglob", "iterdir", "scandir", "listdir", "walk", "rmtree"}
ITSELF = "src/vmops/lab/listing.py"
NOBODY_ELSE_IS_THERE = {
    "src/vmops/lab/guest/": "the builder's own folders",
    "src/vmops/lab/daemon.py": "it deletes a state folder whose lab has ended",
}
IGNORED = {"src/vmops/lab/storage/datastore_files.py": 2}
"""Uses of `shutil.rmtree` that ignore errors, for temporary folders."""


def looks(tree: ast.Module) -> list[int]:
    return [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in LOOKS
        and ast.unparse(node.func) != "ast.walk"
    ]


def test_only_the_listing_looks_into_folders() -> None:
    found = {
        path: lines
        for path, tree in source.modules()
        if path.startswith("src/vmops/lab/")
        and not path.startswith(tuple(NOBODY_ELSE_IS_THERE))
        and path != ITSELF
        and len(lines := looks(tree)) > IGNORED.get(path, 0)
    }
    assert not found, "use vmops.lab.listing, which leaves out what vanishes meanwhile"


def test_the_exceptions_are_needed() -> None:
    by_path = {path: looks(tree) for path, tree in source.modules()}
    for start in NOBODY_ELSE_IS_THERE:
        assert any(lines for path, lines in by_path.items() if path.startswith(start)), start
    for path, count in IGNORED.items():
        assert len(by_path[path]) == count
    assert by_path[ITSELF]
