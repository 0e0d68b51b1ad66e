"""Data on stdout: as a table for people, as JSON, YAML, CSV or names for programs."""

from __future__ import annotations

import csv
import io
import json
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import click

from vmops.cli.terminal import one_line, padded, say, width

FORMATS = ("table", "wide", "json", "jsonl", "yaml", "csv", "name")

F = TypeVar("F", bound=Callable[..., Any])
Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputOptions:
    """How to print; made by the options of `output_options`."""

    style: str = "table"
    columns: tuple[str, ...] = ()
    no_headers: bool = False
    sort_by: str | None = None


def output_options(command: F) -> F:
    """Give a command the options -o, --columns, --no-headers and --sort-by."""
    for option in (
        click.option("--sort-by", metavar="COLUMN", help="Order rows by a column."),
        click.option("--no-headers", is_flag=True, help="Leave out the headings."),
        click.option("--columns", metavar="A,B", help="Only these columns, in this order."),
        click.option(
            "-o", "--output", "style", type=click.Choice(FORMATS), default="table",
            show_default=True, help="How to print.",
        ),
    ):  # fmt: skip
        command = option(command)
    return command


def take_output_options(options: dict[str, Any]) -> OutputOptions:
    """Take the options of `output_options` out of a command's."""
    columns = options.pop("columns")
    return OutputOptions(
        style=options.pop("style"),
        columns=tuple(part.strip() for part in columns.split(",")) if columns else (),
        no_headers=options.pop("no_headers"),
        sort_by=options.pop("sort_by"),
    )


def print_rows(
    rows: Sequence[Row], how: OutputOptions, *, keys: Sequence[str], narrow: Sequence[str]
) -> None:
    """Print rows that all have ``keys``; a table shows ``narrow`` unless told otherwise.

    On a terminal, a table leaves out the last columns that do not fit.
    """
    for name in (*how.columns, *([how.sort_by] if how.sort_by else [])):
        if name not in keys:
            raise click.UsageError(f"There is no column {name!r}. Columns: {', '.join(keys)}.")
    if how.sort_by:
        by = how.sort_by
        rows = sorted(rows, key=lambda row: (row[by] is None, row[by]))
    shown = list(how.columns) or (list(narrow) if how.style == "table" else keys)
    picked = [{key: row.get(key) for key in shown} for row in rows]
    match how.style:
        case "json":
            say(json.dumps(picked, indent=2))
        case "jsonl":
            for line in picked:
                say(json.dumps(line))
        case "yaml":
            say(_yaml(picked), nl=False)
        case "csv":
            say(_csv(picked, shown, how.no_headers), nl=False)
        case "name":
            for row in rows:
                say(str(row["name"]))
        case _:
            fits = how.style == "table" and not how.columns and sys.stdout.isatty()
            width = shutil.get_terminal_size().columns if fits else None
            _print_table(picked, shown, how.no_headers, width)


def print_record(record: Row, how: OutputOptions) -> None:
    """Print one thing in full."""
    if unknown := [name for name in how.columns if name not in record]:
        raise click.UsageError(f"There is no column {unknown[0]!r}. Columns: {', '.join(record)}.")
    shown = {key: record[key] for key in (how.columns or record)}
    match how.style:
        case "json" | "jsonl":
            say(json.dumps(shown, indent=2 if how.style == "json" else None))
        case "yaml":
            say(_yaml(shown), nl=False)
        case "csv":
            say(_csv([shown], list(shown), how.no_headers), nl=False)
        case "name":
            say(str(record["name"]))
        case _:
            columns = max(map(width, shown), default=0)
            for key, value in shown.items():
                lines = _cell(value, between="\n").split("\n")
                say(padded(key, columns), bold=True, nl=False)
                say(f"  {lines[0]}")
                for line in lines[1:]:
                    say(f"{'':{columns}}  {line}")


def _print_table(
    rows: Sequence[Row], keys: Sequence[str], no_headers: bool, room: int | None
) -> None:
    """Columns as wide as their longest cell, so that a row is one line and can be cut by tools."""
    cells = [[_cell(row[key]) for key in keys] for row in rows]
    heads = [key.upper().replace("_", " ") for key in keys]
    grid = cells if no_headers else [heads, *cells]
    widths = [max((width(line[at]) for line in grid), default=0) for at in range(len(keys))]
    while room is not None and len(widths) > 1 and sum(widths) + 2 * (len(widths) - 1) > room:
        widths.pop()
    for number, line in enumerate(grid):
        text = "  ".join(padded(cell, wide) for cell, wide in zip(line, widths, strict=False))
        say(text.rstrip(), bold=number == 0 and not no_headers)


def _cell(value: Any, between: str = "; ") -> str:
    """A value on one line; ``between`` stands between the entries of a mapping."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(_cell, value)) or "-"
    if isinstance(value, Mapping):
        return between.join(f"{key}={_cell(item)}" for key, item in value.items()) or "-"
    return one_line(str(value)) or "-"


def _yaml(data: Any) -> str:
    import yaml  # noqa: PLC0415 - only for this format

    return str(yaml.safe_dump(data, sort_keys=False, default_flow_style=False))


def _csv(rows: Sequence[Row], keys: Sequence[str], no_headers: bool) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if not no_headers:
        writer.writerow(keys)
    empty: tuple[object, ...] = (None, "", [], (), {})
    writer.writerows([["" if row[k] in empty else _cell(row[k]) for k in keys] for row in rows])
    return text.getvalue()
