"""``vmops list`` and ``vmops show``."""

from __future__ import annotations

from typing import Any

import click

from vmops.cli.context import CommandContext, pass_context
from vmops.cli.instances import (
    COLUMNS,
    NARROW,
    instance_argument,
    instance_record,
    record_row,
    remember,
    resolve,
)
from vmops.cli.output import output_options, print_record, print_rows, take_output_options
from vmops.cli.terminal import say

STATUSES = (
    "running", "off", "suspended", "paused", "rescued", "resized", "resizing", "building",
    "template", "inaccessible", "orphaned", "invalid",
)  # fmt: skip


@click.command("list")
@click.option(
    "--status",
    type=click.Choice(STATUSES),
    metavar="STATUS",
    help=f"Only those in this state: {', '.join(STATUSES)}.",
)
@output_options
@pass_context
def list_instances(context: CommandContext, /, status: str | None, **options: Any) -> None:
    """List the instances."""
    from vmops.ops.instances.listing import list_records  # noqa: PLC0415

    how = take_output_options(options)
    records = list_records(context.session)
    remember(context, [record.name for record in records])
    rows = [record_row(record) for record in records if status in {None, record.status}]
    if not rows and how.style in {"table", "wide"}:
        none = f"No instance is {status}." if records else "There are no instances."
        more = "" if records else " Create one with: vmops spawn"
        say(f"{none}{more}", err=True)
        return
    print_rows(rows, how, keys=COLUMNS, narrow=NARROW)


@click.command()
@instance_argument
@output_options
@pass_context
def show(context: CommandContext, /, name: str, **options: Any) -> None:
    """Show one instance in full."""
    how = take_output_options(options)
    print_record(instance_record(context, resolve(context, name)), how)
