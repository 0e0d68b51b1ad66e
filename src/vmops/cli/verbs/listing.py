"""``vmops list`` and ``vmops show``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from vmops.cli.context import CommandContext, pass_context
from vmops.cli.instances import instance_argument, remember, resolve
from vmops.cli.output import (
    output_options,
    print_record,
    print_rows,
    take_output_options,
)

if TYPE_CHECKING:
    from vmops.ops.instances.listing import InstanceRecord


STATUSES = ("running", "off", "suspended", "paused", "rescued", "resized", "resizing", "building")


@click.command("list")
@click.option("--status", type=click.Choice(STATUSES), help="Only those in this state.")
@output_options
@pass_context
def list_instances(context: CommandContext, /, status: str | None, **options: Any) -> None:
    """List the instances."""
    from vmops.ops.instances.listing import list_records  # noqa: PLC0415

    how = take_output_options(options)
    records = list_records(context.session)
    remember(context, [record.name for record in records])
    rows = [_row(record) for record in records if status in {None, record.status}]
    if not rows and how.style in {"table", "wide"}:
        none = f"No instance is {status}." if records else "There are no instances."
        more = "" if records else " Create one with: vmops spawn"
        click.echo(f"{none}{more}", err=True)
        return
    print_rows(rows, how, keys=COLUMNS, narrow=NARROW)


NARROW = ("name", "status", "cpus", "memory_mib", "addresses", "host", "uuid")
COLUMNS = (*NARROW, "moid", "folder", "guest_id")


def _row(record: InstanceRecord) -> dict[str, Any]:
    values = {name: getattr(record, name) for name in COLUMNS}
    return {**values, "addresses": list(record.addresses)}


def full_record(record: InstanceRecord) -> dict[str, Any]:
    """All that `show` tells of an instance."""
    return {
        **_row(record),
        "booted": record.boot_time,
        "image": record.image_id,
        "nics": list(record.nics),
        "disks": list(record.disks),
        "tools": record.tools,
    }


@click.command()
@instance_argument
@output_options
@pass_context
def show(context: CommandContext, /, name: str, **options: Any) -> None:
    """Show one instance in full."""
    from vmops.ops.instances.listing import get_record  # noqa: PLC0415

    how = take_output_options(options)
    record = get_record(context.session, resolve(context, name).uuid)
    print_record(full_record(record), how)
