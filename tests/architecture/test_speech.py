"""How the project speaks: of itself alone, plainly, and of an instance by its name."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest

from tests.architecture import source

# Written apart, so that this file does not name what it looks for.
HOMES = ["/" + "root/", "/" + "work/", "/" + "farm/", r"/(?:home|Users)/[a-z]+/"]
FORBIDDEN = re.compile("|".join(HOMES).encode())


def test_no_tracked_file_names_a_folder_of_one_machine() -> None:
    found = [
        f"{path.relative_to(source.PROJECT)}: {match.group().decode()}"
        for path in source.tracked_files()
        if (match := FORBIDDEN.search(path.read_bytes()))
    ]
    assert found == []


def test_the_search_sees_such_a_folder() -> None:
    assert FORBIDDEN.search(b"see /home/" + b"somebody/notes")
    assert not FORBIDDEN.search(b"[ds1] web1/root.vmdk and ./work")


# Turns of phrase that a reader has to read twice.
WORN_OUT = re.compile(
    r"""
    \b(?<!there\ )(is|are)\ no\ [a-z]           # "It is no OVA" for "Not an OVA"
    | \bnobody\b | \bmakes\ no\ sense\b | \bnothing\ for\ a\b | \bgood\ for\ nothing\b
    | \bknows\ nothing\ of\b | \bsomething\ else\b | \bnot\ known\ what\b
    | (^|[.:;]\ )say\ (what|it|so|which|either|--)  # "Add", "give"
    | \bgoes\ without\b | \bpasses\ over\b
    """,
    re.VERBOSE | re.IGNORECASE,
)

# `called` and its like know the name where that costs nothing.
LOGGING = re.compile(r"_?(log|messages)\.(debug|info|warning|error|exception)")
BARE = re.compile(r"\b(moid|(instance_)?uuid|_GetMoId\(\)|_moId)$")


def docstrings(tree: ast.Module) -> set[int]:
    """The constants that stand alone: docstrings, of attributes too."""
    return {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}


def messages(tree: ast.Module) -> Iterator[ast.Constant]:
    """Every string of a program that has words in it."""
    alone = docstrings(tree)
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and " " in node.value.strip()
            and id(node) not in alone
        ):
            yield node


def bare_ids(tree: ast.Module) -> Iterator[ast.expr]:
    """What a message of an error or a log names by an id that says nothing to a reader."""
    for node in ast.walk(tree):
        told: list[ast.expr] = []
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            told = [
                value.value
                for text in ast.walk(node.exc)
                if isinstance(text, ast.JoinedStr)
                for value in text.values
                if isinstance(value, ast.FormattedValue)
            ]
        elif isinstance(node, ast.Call) and LOGGING.fullmatch(ast.unparse(node.func)):
            # Of what does not exist no name is known.
            told = [] if "does not exist" in ast.unparse(node.args[0]) else node.args[1:]
        yield from (each for each in told if BARE.search(ast.unparse(each)))


def test_what_a_user_reads_is_plain() -> None:
    found = [
        f"{path}:{text.lineno}: {text.value!r}"
        for path, tree in source.modules()
        for text in messages(tree)
        if WORN_OUT.search(str(text.value))
    ]
    assert found == []


def test_messages_name_an_instance_and_not_its_id_alone() -> None:
    found = [
        f"{path}:{each.lineno}: {ast.unparse(each)}"
        for path, tree in source.modules()
        if path.startswith("src/vmops/ops/")
        for each in bare_ids(tree)
    ]
    assert found == []


def test_a_docstring_says_more_than_a_name_does() -> None:
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    found = [
        f"{path}:{node.lineno}: {said}"
        for path, tree in source.modules()
        for node in ast.walk(tree)
        if isinstance(node, kinds) and (said := ast.get_docstring(node))
        if len(said.split()) < 3 and not said.startswith("See `")
    ]
    assert found == []


@pytest.mark.parametrize(
    ("text", "is_plain"),
    [
        ("It is no OVA", False),
        ("There is no image", True),
        ("Nobody is there to ask", False),
        ("add what is to change: say --live", False),
        ("it is not an OVA", True),
    ],
)
def test_the_search_sees_such_words(text: str, is_plain: bool) -> None:
    assert (WORN_OUT.search(text) is None) is is_plain


def test_the_search_sees_a_bare_id() -> None:
    tree = ast.parse("raise Busy(f'VM {vm.moid} is busy')\nlog.info('%s is off', instance_uuid)")
    assert [ast.unparse(each) for each in bare_ids(tree)] == ["vm.moid", "instance_uuid"]
