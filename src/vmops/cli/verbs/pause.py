"""``vmops pause | unpause``."""

from __future__ import annotations

import click

from vmops.cli.change_command import Change, changes
from vmops.cli.verbs.power import each, names_argument
from vmops.cli.waiting import Until


@click.command()
@names_argument
@changes(until=Until.SUSPENDED, many=True)
def pause(change: Change, names: tuple[str, ...]) -> None:
    """Stop the processors of instances and keep their memory.

    vSphere has no pause: they are suspended, and marked as paused. They go on with unpause.
    """
    each(change, names, "paused", lambda engine, uuid: engine.pause(uuid))


@click.command()
@names_argument
@changes(until=Until.GOES_ON, many=True)
def unpause(change: Change, names: tuple[str, ...]) -> None:
    """Let paused instances go on where they stopped."""
    each(change, names, "running", lambda engine, uuid: engine.unpause(uuid))
