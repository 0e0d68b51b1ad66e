"""``vmops audit``."""

from __future__ import annotations

import sys

import click

from vmops.cli.context import CommandContext, pass_context
from vmops.cli.output import output_options, print_rows, take_output_options
from vmops.errors import VMOpsError


@click.command()
@click.option("--fix", is_flag=True, help="Remove what is found.")
@output_options
@pass_context
def audit(context: CommandContext, /, fix: bool, **options: object) -> None:
    """Find what interrupted operations left behind, and remove it with --fix.

    Only leftovers of processes that are known to be dead are listed: what belongs to a running
    vmops, or to one on another machine, is left alone. The exit code is 7 if something is found and
    stays.
    """
    from vmops.context import operation  # noqa: PLC0415
    from vmops.ops.engine.settings import EngineSettings  # noqa: PLC0415
    from vmops.ops.instances.recovery import find_leftovers, remove_leftover  # noqa: PLC0415

    how = take_output_options(options)
    settings = context.engine_settings(EngineSettings)
    with operation("audit", task_deadline_s=settings.task_deadline_s):
        found = find_leftovers(context.session, settings)
    rows = [{"name": one.name, "kind": one.kind} for one in found]
    if not rows and how.style in {"table", "wide"}:
        click.echo("Nothing is left behind.", err=True)
        return
    print_rows(rows, how, keys=("name", "kind"), narrow=("name", "kind"))
    if not fix:
        if found:
            click.echo("Remove it with: vmops audit --fix", err=True)
            sys.exit(7)
        return
    deadline_s = settings.task_deadline_s
    with operation("audit", observe=context.observer, task_deadline_s=deadline_s):
        for one in found:
            remove_leftover(context.session, one)
    click.echo(f"Removed {len(found)}.", err=True)


def sweep(context: CommandContext) -> None:
    """Remove the leftovers of dead processes, saying so on stderr.

    Only for the user's own lab, where nobody else's decision is needed. What cannot be removed
    does not stand in the way of the command that called.
    """
    from vmops.context import operation  # noqa: PLC0415
    from vmops.ops.engine.settings import EngineSettings  # noqa: PLC0415
    from vmops.ops.instances.recovery import find_leftovers, remove_leftover  # noqa: PLC0415

    settings = context.engine_settings(EngineSettings)
    try:
        with operation("sweep", task_deadline_s=settings.task_deadline_s):
            for one in find_leftovers(context.session, settings):
                remove_leftover(context.session, one)
                click.echo(f"Removed what was left of an {one.kind}: {one.name}", err=True)
    except VMOpsError as failure:
        click.echo(f"Leftovers could not be removed: {failure} See: vmops audit", err=True)
