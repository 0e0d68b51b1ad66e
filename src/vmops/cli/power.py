"""``vmops start | stop | reboot | suspend | resume``."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from vmops.cli.context import CommandContext, pass_context
from vmops.cli.instances import complete_instances, resolve

if TYPE_CHECKING:
    from vmops.ops.vmops import VMwareVMOps

names_argument = click.argument(
    "names", nargs=-1, required=True, metavar="NAME...", shell_complete=complete_instances
)


def each(
    context: CommandContext,
    names: tuple[str, ...],
    done: str,
    do: Callable[[VMwareVMOps, str], None],
) -> None:
    """Do it to each instance; all names are looked up before anything is done."""
    engine = context.engine()
    for found in [resolve(context, name) for name in names]:
        do(engine, found.uuid)
        click.echo(f"{found.name}: {done}", err=True)


@click.command()
@names_argument
@pass_context
def start(context: CommandContext, names: tuple[str, ...]) -> None:
    """Power instances on, or resume those that are suspended."""
    each(context, names, "running", lambda engine, uuid: engine.power_on(None, uuid))


@click.command()
@names_argument
@click.option(
    "--timeout",
    type=click.FloatRange(0),
    default=0,
    show_default=True,
    help="Seconds for the guest to shut down by itself; 0 does not ask it.",
)
@pass_context
def stop(context: CommandContext, names: tuple[str, ...], timeout: float) -> None:
    """Power instances off: as if the plug was pulled, or by their guests with --timeout."""
    each(context, names, "powered off", lambda engine, uuid: engine.power_off(uuid, timeout, 1.0))


@click.command()
@names_argument
@click.option("--hard", is_flag=True, help="Reset, even if the guest could reboot itself.")
@pass_context
def reboot(context: CommandContext, names: tuple[str, ...], hard: bool) -> None:
    """Reboot instances: by the guest if its Tools run, by a reset otherwise."""
    kind = "HARD" if hard else "SOFT"
    each(context, names, "rebooting", lambda engine, uuid: engine.reboot(uuid, None, kind))


@click.command()
@names_argument
@pass_context
def suspend(context: CommandContext, names: tuple[str, ...]) -> None:
    """Suspend instances: their memory goes to disk, and they go on there with resume."""
    each(context, names, "suspended", lambda engine, uuid: engine.suspend(uuid))


@click.command()
@names_argument
@pass_context
def resume(context: CommandContext, names: tuple[str, ...]) -> None:
    """Let suspended instances go on where they stopped."""
    each(context, names, "running", lambda engine, uuid: engine.resume(uuid))
