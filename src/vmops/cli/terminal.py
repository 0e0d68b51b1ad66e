r"""The only way to the user's terminal: what comes from elsewhere can be read there, not obeyed.

Names, messages and logs come from servers, guests, images and files. On a terminal their control
characters would move the cursor, set its title or turn the text around, so they are shown instead:
``\x1b``. Files and pipes get every character as it is.
"""

from __future__ import annotations

import codecs
import logging
import os
import re
import sys
import unicodedata
from typing import IO

import click

# C0 without tab and newline, DEL and C1; marks that turn the direction of writing; Unicode's own
# line and paragraph separators; halves of surrogate pairs, which no terminal can encode.
_HARMFUL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
_BREAKS_A_LINE = re.compile("[\t-\r\x1c-\x1e\x85\u2028\u2029]")
# ECMA-48: control sequences, strings up to their terminator, and two-character escapes.
_SEQUENCE = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"
    r"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)"
    r"|\x1b[PX^_][^\x1b]*\x1b\\"
    r"|\x1b[ -/]*[0-OQ-WYZ\\`-~]"
)
_LONGEST_SEQUENCE = 4096


def visible(text: str) -> str:
    """Show what a terminal would obey; tabs and newlines stay."""
    return _HARMFUL.sub(_escape, text)


def one_line(text: str) -> str:
    """The text with its tabs and newlines shown, so that it stays in its line and column."""
    return _BREAKS_A_LINE.sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape", "surrogatepass").decode("ascii")


def has_control_characters(text: str) -> bool:
    """Whether a terminal would obey a part of it, or break its line."""
    return one_line(visible(text)) != text


def width(text: str) -> int:
    """The columns that a text takes on a terminal."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(each) else 1 + (unicodedata.east_asian_width(each) in "FW")
        for each in text
    )


def padded(text: str, columns: int) -> str:
    """The text, filled up with blanks to so many columns."""
    return text + " " * (columns - width(text))


def say(text: str = "", *, err: bool = False, nl: bool = True, bold: bool = False) -> None:
    """Print to stdout or stderr."""
    stream = sys.stderr if err else sys.stdout
    shown = for_stream(text, stream)
    if bold and stream.isatty() and not os.environ.get("NO_COLOR"):
        shown = click.style(shown, bold=True)
    click.echo(shown, err=err, nl=nl)


def say_bytes(block: bytes) -> None:
    """Print bytes to stdout as they are."""
    sys.stdout.buffer.write(block)
    sys.stdout.buffer.flush()


def for_stream(text: str, stream: IO[str]) -> str:
    """What is to be written to a stream so that it can be read there."""
    return visible(text) if stream.isatty() else text


def print_line(text: str, stream: IO[str]) -> None:
    """Print a line to a stream, and do not keep it waiting there."""
    print(for_stream(text, stream), file=stream, flush=True)


def confirm(question: str) -> None:
    """Ask a person on the terminal.

    Raises:
        click.Abort: the answer is no.
    """
    click.confirm(visible(question), abort=True, err=True)


class VisibleFormatter(logging.Formatter):
    """Formats what is logged for a stream."""

    def __init__(self, form: str, stream: IO[str]) -> None:
        super().__init__(form)
        self._stream = stream

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter.format`."""
        return for_stream(super().format(record), self._stream)


class LogFilter:
    """Makes what a guest wrote to its serial port readable, block by block.

    Escape sequences are left out, returns to the line's beginning become new lines, and all other
    control characters are shown.
    """

    def __init__(self) -> None:
        self._decode = codecs.getincrementaldecoder("utf-8")("replace")
        self._rest = ""

    def __call__(self, block: bytes, *, final: bool = False) -> str:
        """What can be shown by now; a sequence that has only begun waits for the next block."""
        text = self._rest + self._decode.decode(block, final)
        self._rest = ""
        if not final and (begun := _begun_at(text)) is not None:
            text, self._rest = text[:begun], text[begun:]
        lines = re.sub(r"\r+\n?", "\n", _SEQUENCE.sub("", text))
        return visible(lines)


def _begun_at(text: str) -> int | None:
    """Where something begins whose end has not come yet."""
    at = text.rfind("\x1b")
    if at > 0 and text[at - 1] == "\x1b":
        at -= 1
    string = max(text.rfind(f"\x1b{kind}") for kind in "]PX^_")
    for start in sorted({at, string} - {-1}):
        if len(text) - start < _LONGEST_SEQUENCE and not _SEQUENCE.match(text, start):
            return start
    return len(text) - 1 if text.endswith("\r") else None
