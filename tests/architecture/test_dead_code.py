"""What is defined in the sources is used in the sources, not by tests alone."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections import Counter
from collections.abc import Iterator

from tests.architecture import source

# By name, who uses it. Methods of the API, in capitals, are called by the lab's clients.
USED_BY_OTHERS = {
    "CRASHED": "a state of Nova's that callers compare with",
    "HIGH": "a word of the wire, made of its text",
    "InvokeMethod": "pyVmomi",
    "LOST_BEFORE": "tests of clients, which plan failures",
    "LOW": "a word of the wire, made of its text",
    "UNTRANSLATED": "the test of the table of faults",
    "as_dict": "callers",
    "attach_disk_to_vm": "callers, as Nova's class has it",
    "connection_lost": "asyncio",
    "connection_made": "asyncio",
    "data_received": "asyncio",
    "detach_disk_from_vm": "callers, as Nova's class has it",
    "endpoints": "the tests that walk over all of them",
    "format_commands": "click",
    "format_completion": "click",
    "get_command": "click",
    "get_volume_connector": "callers, as Nova's class has it",
    "list_commands": "click",
    "list_images": "click: a command",
    "list_of": "click: a command",
    "makefile": "http.client",
    "max_refresh": "rich",
    "source_template": "click",
    "status_code": "aiohttp",
}
API_METHOD = re.compile(r"(?:[A-Z][a-z0-9]+)+[A-Za-z]*(?:_Task)?")
TEXT_OF_A_NAME = re.compile(r"[\w.]+")
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def definitions(tree: ast.AST, in_lab: bool) -> Iterator[str]:
    """Functions, classes, and what modules and classes have, by name."""
    for node in ast.walk(tree):
        if isinstance(node, FUNCTIONS) and not (in_lab and API_METHOD.fullmatch(node.name)):
            yield node.name
        if isinstance(node, (ast.Module, ast.ClassDef)):
            for each in node.body:
                targets = each.targets if isinstance(each, ast.Assign) else []
                if isinstance(each, ast.AnnAssign):
                    targets = [each.target]
                names = [one.id for one in targets if isinstance(one, ast.Name)]
                yield from (name for name in names if not (in_lab and API_METHOD.fullmatch(name)))


def uses(text: str) -> Iterator[str]:
    """Every name in a program, also those in texts that are but a name."""
    tree = ast.parse(text)
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.NAME:
            yield token.string
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            if TEXT_OF_A_NAME.fullmatch(node.value):
                yield from node.value.split(".")
        elif isinstance(node, ast.JoinedStr):
            for inner in ast.walk(node):
                if isinstance(inner, ast.Name):
                    yield inner.id
                elif isinstance(inner, ast.Attribute):
                    yield inner.attr


def test_what_is_defined_is_used() -> None:
    places = [source.SOURCE, source.PROJECT / "scripts", source.PROJECT / "benchmarks"]
    files = [file for place in places for file in place.rglob("*.py")]
    used = Counter(name for file in files for name in uses(file.read_text()))
    defined = Counter(
        name
        for path, tree in source.modules()
        for name in definitions(tree, path.startswith("src/vmops/lab/"))
        if not name.startswith("__")
    )
    unused = {name for name, count in defined.items() if used[name] <= count}
    assert unused == set(USED_BY_OTHERS)


def test_a_use_in_an_f_string_counts() -> None:
    assert Counter(uses("def f(): ...\nprint(f'{f()}')"))["f"] >= 2
    assert Counter(uses("def f(): ..."))["f"] == 1
