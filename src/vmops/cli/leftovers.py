"""What interrupted operations left behind, removed before the next one would stumble over it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from vmops.errors import VMOpsError

if TYPE_CHECKING:
    from vmops.cli.context import CommandContext


def sweep(context: CommandContext) -> None:
    """Remove the leftovers of dead processes, saying so on stderr.

    Only for the user's own lab, where nobody else's decision is needed. What cannot be removed
    does not stand in the way of the command that called.
    """
    from vmops.ops.engine.settings import EngineSettings  # noqa: PLC0415
    from vmops.ops.instances.recovery import find_leftovers, remove_leftover  # noqa: PLC0415

    try:
        for one in find_leftovers(context.session, context.engine_settings(EngineSettings)):
            remove_leftover(context.session, one)
            click.echo(f"Removed what was left of an {one.kind}: {one.name}", err=True)
    except VMOpsError as failure:
        click.echo(f"Leftovers stay, since {failure} See: vmops audit", err=True)
