"""Numbers in texts from elsewhere: one parser, which nothing foreign can stop."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import vmops
from vmops.numbers import INT_MAX, MOST, PORT_MAX, whole_number

SOURCE = Path(vmops.__file__).parent
ASKS = {"isdigit", "isdecimal", "isnumeric"}
HOSTILE = ["", " ", "²", "٣", "१", "-1", "+1", "1_000", "1e3", "0x10", " 1", "1\n", "9" * 5000, "½"]


@pytest.mark.parametrize("text", HOSTILE)
def test_what_is_none_is_none(text: str) -> None:
    assert whole_number(text) is None
    assert whole_number(text, PORT_MAX) is None


@pytest.mark.parametrize(
    ("text", "most", "number"),
    [
        ("0", MOST, 0),
        ("00012", PORT_MAX, 12),
        ("65535", PORT_MAX, 65535),
        ("65536", PORT_MAX, None),
        (str(INT_MAX), INT_MAX, INT_MAX),
        (str(INT_MAX + 1), INT_MAX, None),
        (str(MOST), MOST, MOST),
        (str(MOST + 1), MOST, None),
        (7, MOST, 7),
    ],
)
def test_its_bound_holds(text: object, most: int, number: int | None) -> None:
    assert whole_number(text, most) == number


def test_nothing_else_asks_a_text_whether_it_is_a_number() -> None:
    found = [
        f"{file.relative_to(SOURCE)}:{node.lineno}"
        for file in SOURCE.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr in ASKS
    ]
    assert found == []


def test_no_pattern_takes_as_many_digits_as_come() -> None:
    """`int` refuses some thousand: a pattern whose digits become a number says how many."""
    found = []
    for file in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Constant) or not isinstance(node.value, str | bytes):
                continue
            text = node.value if isinstance(node.value, str) else node.value.decode("latin-1")
            if any(each in text for each in (r"(\d+", r"\d+)", r"([0-9]+", r"([0-9]*)")):
                found.append(f"{file.relative_to(SOURCE)}:{node.lineno}: {text[:60]}")
    assert found == []
