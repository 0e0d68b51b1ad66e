"""``vmops diagnostics``."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from vmops.cli.context import CommandContext, pass_context
from vmops.cli.instances import instance_argument, resolve
from vmops.cli.output import output_options, print_record, take_output_options

if TYPE_CHECKING:
    from vmops.model.diagnostics import InstanceDiagnostics


@click.command()
@instance_argument
@click.option("--raw", is_flag=True, help="All that the server tells, under its own names.")
@output_options
@pass_context
def diagnostics(context: CommandContext, /, name: str, raw: bool, **options: Any) -> None:
    """Show what an instance uses and does now."""
    how = take_output_options(options)
    found = resolve(context, name)
    engine = context.engine()
    if raw:
        print_record({"name": found.name, **engine.get_diagnostics(found.uuid)}, how)
        return
    told = engine.get_instance_diagnostics(found.uuid)
    record = {"name": found.name, **_whole(told)}
    people = how.style in {"table", "wide", "csv"} and not how.columns
    print_record(_by_part(record) if people else record, how)


def _whole(told: InstanceDiagnostics) -> dict[str, Any]:
    values = asdict(told)
    return {**values, "state": told.state.name.lower()}


def _by_part(record: dict[str, Any]) -> dict[str, Any]:
    """Each disk and NIC under a name of its own, and only what is known of it."""
    parts = {
        **{f"disk {each['name'] or each['key']}": each for each in record["disks"]},
        **{f"nic {each['mac_address']}": each for each in record["nics"]},
    }
    told = {key: value for key, value in record.items() if key not in {"disks", "nics"}}
    return {key: _known(value) for key, value in {**told, **parts}.items()}


def _known(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {key: each for key, each in value.items() if each is not None}
