"""The help of every command, and what it costs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from vmops.cli.main import COMMANDS, cli


def commands(group: click.Group = cli, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        yield (*path, name)
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


@pytest.mark.parametrize("path", list(commands()), ids=" ".join)
def test_every_command_has_a_help(path: tuple[str, ...]) -> None:
    shown = CliRunner().invoke(cli, [*path, "--help"])
    assert shown.exit_code == 0
    assert shown.output.startswith("Usage: ")
    first = shown.output.split("\n\n")[1].strip()
    assert first.endswith((".", ")", '"'))
    assert "--verbose" not in shown.output  # the root's options are not listed again


@pytest.mark.parametrize("columns", [20, 40, 59, 80, 200])
def test_no_line_of_help_is_wider_than_the_terminal(
    columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    wide = [
        (path, line)
        for path in [(), *commands()]
        for line in CliRunner().invoke(cli, [*path, "--help"]).output.splitlines()
        if len(line) > max(columns, 22)
    ]
    assert wide == []


def test_the_list_of_commands_is_that_of_their_modules() -> None:
    for name, (_, _, line) in COMMANDS.items():
        command = cli.get_command(click.Context(cli), name)
        assert command is not None
        assert line.endswith(".")
        assert command.help


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['vmops', '--help']\n"
        "from vmops.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'pyVmomi', 'rich', 'yaml', 'aiohttp', 'cryptography', 'oslo_utils', 'json'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    # What measures coverage would import its own.
    plain = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=plain
    )
    assert run.stderr == "[]\n"


def test_an_unknown_command_is_met_with_the_nearest() -> None:
    shown = CliRunner().invoke(cli, ["shwo"])
    assert shown.exit_code == 2
    assert "Did you mean 'show'?" in shown.output
