"""``vmops pause | unpause``."""

from __future__ import annotations

import click

from vmops.cli.context import CommandContext, pass_context
from vmops.cli.power import each, names_argument


@click.command()
@names_argument
@pass_context
def pause(context: CommandContext, names: tuple[str, ...]) -> None:
    """Stop the processors of instances and keep their memory.

    vSphere has no pause: they are suspended, and marked as paused. They go on with unpause.
    """
    each(context, names, "paused", lambda engine, uuid: engine.pause(uuid))


@click.command()
@names_argument
@pass_context
def unpause(context: CommandContext, names: tuple[str, ...]) -> None:
    """Let paused instances go on where they stopped."""
    each(context, names, "running", lambda engine, uuid: engine.unpause(uuid))
