"""What comes from elsewhere is read on a terminal, not obeyed; nothing goes round that."""

from __future__ import annotations

import ast
import io
import logging
from pathlib import Path

import pytest

import vmops.cli
from vmops.cli import terminal
from vmops.cli.output import OutputOptions, print_record, print_rows
from vmops.cli.progress_view import PlainView
from vmops.progress import StepFinished, StepStarted

HOSTILE = {
    "title": "\x1b]0;owned\x07",
    "clear": "\x1b[2J\x1b[H",
    "c1": "\x9b2J",
    "delete": "a\x7fb",
    "return": "good\revil",
    "newline": "web1\nweb2",
    "right to left": "exe\u202egpj",
    "isolate": "\u2066x\u2069",
    "line separator": "a\u2028b",
    "half a pair": "\ud800",
    "null": "a\0b",
}
CLI = Path(vmops.cli.__file__).parent


class Screen(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def is_harmless(text: str) -> bool:
    return all(terminal.visible(line) == line for line in text.split("\n"))


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_it_is_shown_and_nothing_is_lost(text: str) -> None:
    shown = terminal.one_line(terminal.visible(text))
    assert is_harmless(shown)
    assert "\n" not in shown
    assert shown.encode("ascii", "replace")  # a terminal can encode it
    back = shown.encode("latin-1", "backslashreplace").decode("unicode_escape")
    assert back == text


@pytest.mark.parametrize("text", ["web1", "日本", "é", "a\tb", "two\nlines", "\U0001f600"])
def test_what_does_no_harm_stays(text: str) -> None:
    assert terminal.visible(text) == text
    assert not terminal.has_control_characters(text.replace("\n", "").replace("\t", ""))


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("style", ["table", "wide"])
def test_tables_and_records(monkeypatch: pytest.MonkeyPatch, text: str, style: str) -> None:
    screen = Screen()
    monkeypatch.setattr("sys.stdout", screen)
    how = OutputOptions(style=style)
    row = {"name": text, "nics": [text], "labels": {"of": text}}
    print_rows([row, row], how, keys=tuple(row), narrow=tuple(row))
    assert is_harmless(screen.getvalue())
    assert len(screen.getvalue().splitlines()) == 3  # a heading, and a line each
    print_record(row, how)
    assert is_harmless(screen.getvalue())


def test_a_pipe_gets_every_character(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.say(HOSTILE["title"])
    assert capsys.readouterr().out == HOSTILE["title"] + "\n"


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_progress_and_what_is_logged(text: str) -> None:
    screen = Screen()
    view = PlainView(screen)
    view(StepStarted(operation="spawn", title=text))
    view(StepFinished(operation="spawn", title=text, seconds=1.0))
    handler = logging.StreamHandler(screen)
    handler.setFormatter(terminal.VisibleFormatter("%(message)s", screen))
    handler.handle(logging.makeLogRecord({"msg": text}))
    assert is_harmless(screen.getvalue())
    assert screen.getvalue()


def test_columns_stand_below_each_other_whatever_the_letters(
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows = [{"name": name, "host": "esx1"} for name in ("日本", "web1", "e\u0301te")]
    print_rows(rows, OutputOptions(), keys=("name", "host"), narrow=("name", "host"))
    lines = capsys.readouterr().out.splitlines()
    places = {terminal.width(line[: line.index(line.split()[1])]) for line in lines}
    assert len(places) == 1


LOG = [
    (b"plain\r\nlines\r\n", "plain\nlines\n"),
    (b"\x1b[1;31mred\x1b[0m", "red"),
    (b"\x1b]0;title\x07text", "text"),
    (b"\x1b]0;title\x1b\\text", "text"),
    (b"\x1bPq#0\x1b\\sixel", "sixel"),
    (b"\x1bcreset", "reset"),
    (b"10 %\r20 %\r\n", "10 %\n20 %\n"),
    (b"bell\x07 and \x08", "bell\\x07 and \\x08"),
    ("ü\u202e".encode(), "ü\\u202e"),
    (b"\xff", "\ufffd"),
]


@pytest.mark.parametrize(("written", "shown"), LOG)
@pytest.mark.parametrize("size", [1, 2, 3, 1000])
def test_a_guests_log_in_blocks_of_any_size(written: bytes, shown: str, size: int) -> None:
    readable = terminal.LogFilter()
    blocks = [written[at : at + size] for at in range(0, len(written), size)]
    assert "".join([*map(readable, blocks), readable(b"", final=True)]) == shown


def test_a_sequence_without_end_is_kept_only_so_long() -> None:
    readable = terminal.LogFilter()
    shown = readable(b"\x1b]0;") + "".join(readable(b"x" * 1000) for _ in range(10))
    assert shown.startswith("\\x1b]0;xxx")


def test_nothing_else_writes_to_the_terminal() -> None:
    """Every way to print, but for `vmops.cli.terminal`, which knows how."""
    found = []
    for file in CLI.rglob("*.py"):
        if file.name == "terminal.py":
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            called = ast.unparse(node.func)
            if called in {"print", "click.echo", "click.secho", "click.confirm"} or (
                called.startswith(("sys.stdout.", "sys.stderr.")) and "write" in called
            ):
                found.append(f"{file.relative_to(CLI)}:{node.lineno}: {called}")
            if called.endswith("console.print") and "visible(" not in ast.unparse(node):
                found.append(f"{file.relative_to(CLI)}:{node.lineno}: {called}")
    assert found == []
