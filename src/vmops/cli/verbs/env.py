"""``vmops env``."""

from __future__ import annotations

from typing import Any

import click

from vmops.cli.context import CommandContext, pass_context
from vmops.cli.output import output_options, print_rows, take_output_options

COLUMNS = ("name", "value", "origin")
# What says who logs in where, and means nothing where no URL is set.
_OF_THE_URL = {"username", "password", "password_file", "ca_file", "thumbprint", "known_hosts",
               "insecure"}  # fmt: skip


@click.command()
@output_options
@pass_context
def env(context: CommandContext, /, **options: Any) -> None:
    """Show which endpoint and settings would be used, and where each comes from.

    Nothing is started and nobody is asked; secrets are not shown.
    """
    how = take_output_options(options)
    rows = [
        {"name": name, "value": setting.shown, "origin": setting.origin}
        for name, setting in context.settings.items()
        if not (context.uses_lab and name in _OF_THE_URL)
    ]
    known = {row["name"] for row in rows}
    if context.uses_lab:
        from vmops.cli.lab_endpoint import peek  # noqa: PLC0415

        rows.insert(0, {"name": "url", "value": peek(context.state_dir), "origin": "the lab"})
    defaults = {
        "state_dir": str(context.state_dir),
        "images": str(context.state_dir / "images"),
        **({} if context.uses_lab else {"insecure": "false"}),
    }
    rows += [
        {"name": name, "value": value, "origin": "default"}
        for name, value in defaults.items()
        if name not in known
    ]
    print_rows(rows, how, keys=COLUMNS, narrow=COLUMNS)
