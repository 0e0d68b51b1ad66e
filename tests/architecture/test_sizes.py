"""Files and functions stay small enough to be read in one go."""

from __future__ import annotations

import ast

from tests.architecture import source

LINES_OF_A_FILE = 400
LINES_OF_A_FUNCTION = 60

# "path" or "path:name" -> why it may be larger. Entries leave when they are no longer needed,
# which the tests demand; a new one needs a better reason than having grown.
ALLOWED: dict[str, str] = {}


def test_no_file_is_longer_than_it_should_be() -> None:
    paths = sorted(source.SOURCE.rglob("*.py"))
    assert paths
    sizes = {
        path.relative_to(source.PROJECT).as_posix(): path.read_text().count("\n") for path in paths
    }
    assert too_large(sizes, LINES_OF_A_FILE) == {
        place: sizes.get(place) for place in ALLOWED if ":" not in place
    }


def test_no_function_is_longer_than_it_should_be() -> None:
    sizes = {
        f"{path}:{name}": lines
        for path, tree in source.modules()
        for name, lines in functions(tree).items()
    }
    assert too_large(sizes, LINES_OF_A_FUNCTION) == {
        place: sizes.get(place) for place in ALLOWED if ":" in place
    }


def too_large(sizes: dict[str, int], limit: int) -> dict[str, int]:
    return {place: lines for place, lines in sizes.items() if lines > limit}


def functions(tree: ast.AST, prefix: str = "") -> dict[str, int]:
    """Return the lines of each function, nested ones too; documentation does not count."""
    found = {}
    for node in ast.iter_child_nodes(tree):
        name = f"{prefix}{getattr(node, 'name', '')}"
        if isinstance(node, source.type_of_function):
            found[name] = lines_of(node)
        inner = f"{name}." if hasattr(node, "name") else prefix
        found |= functions(node, inner)
    return found


def lines_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    lines = (function.end_lineno or 0) - function.lineno + 1
    if ast.get_docstring(function) is not None:
        documentation = function.body[0]
        lines -= (documentation.end_lineno or 0) - documentation.lineno + 1
    return lines


def test_what_is_measured() -> None:
    tree = ast.parse('class A:\n def f(self):\n  """One\n  two."""\n  def g():\n   pass\n  g()\n')
    assert functions(tree) == {"A.f": 4, "A.f.g": 2}
