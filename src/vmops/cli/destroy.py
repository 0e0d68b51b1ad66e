"""``vmops destroy``."""

from __future__ import annotations

import sys

import click

from vmops.cli.context import CommandContext, pass_context
from vmops.cli.instances import complete_instances, forget, managed, resolve


@click.command()
@click.argument(
    "names", nargs=-1, required=True, metavar="NAME...", shell_complete=complete_instances
)
@click.option("--keep-disks", is_flag=True, help="Only unregister; all files stay.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@pass_context
def destroy(context: CommandContext, names: tuple[str, ...], keep_disks: bool, yes: bool) -> None:
    """Destroy instances with their disks.

    Attached volumes and the parents of linked clones are left alone. That there is no instance of
    a UUID is success; a name must be there.
    """
    found = [resolve(context, name) for name in names]
    if not yes:
        if not sys.stdin.isatty():
            raise click.UsageError("Nobody is there to ask: say --yes to destroy.")
        listed = ", ".join(one.name for one in found)
        click.confirm(f"Destroy {listed}?", abort=True, err=True)
    engine = context.engine()
    there = {vm.instance_uuid for vm in managed(context)}
    done = "unregistered" if keep_disks else "destroyed"
    for one in found:
        engine.destroy(one.uuid, None, destroy_disks=not keep_disks)
        forget(context, one.name)
        click.echo(f"{one.name}: {done if one.uuid in there else 'was not there'}", err=True)
