"""``vmops start | stop | reboot | suspend | resume``."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from vmops.cli.change_command import Change, changes
from vmops.cli.instances import complete_instances, resolve
from vmops.cli.waiting import Until

if TYPE_CHECKING:
    from vmops.ops.vmops.vmops import VMwareVMOps

names_argument = click.argument(
    "names", nargs=-1, required=True, metavar="NAME...", shell_complete=complete_instances
)


def each(
    change: Change, names: tuple[str, ...], done: str, do: Callable[[VMwareVMOps, str], None]
) -> None:
    """Do it to each instance; all names are looked up before anything is done."""
    engine = change.engine()
    for found in [resolve(change.context, name) for name in names]:
        with change.on(found, done):
            do(engine, found.uuid)


@click.command()
@names_argument
@changes(until=Until.BOOTED, many=True)
def start(change: Change, names: tuple[str, ...]) -> None:
    """Power instances on, or resume those that are suspended."""
    each(change, names, "running", lambda engine, uuid: engine.power_on(None, uuid))


@click.command()
@names_argument
@click.option(
    "--timeout",
    type=click.FloatRange(0),
    default=0,
    show_default=True,
    help="Seconds for the guest to shut down by itself; 0 does not ask it.",
)
@changes(until=Until.OFF, many=True)
def stop(change: Change, names: tuple[str, ...], timeout: float) -> None:
    """Power instances off: as if the plug was pulled, or by their guests with --timeout."""
    each(change, names, "powered off", lambda engine, uuid: engine.power_off(uuid, timeout, 1.0))


@click.command()
@names_argument
@click.option("--hard", is_flag=True, help="Reset, even if the guest could reboot itself.")
@changes(until=Until.BOOTED, many=True)
def reboot(change: Change, names: tuple[str, ...], hard: bool) -> None:
    """Reboot instances: by the guest if its Tools run, by a reset otherwise."""
    kind = "HARD" if hard else "SOFT"
    each(change, names, "rebooting", lambda engine, uuid: engine.reboot(uuid, None, kind))


@click.command()
@names_argument
@changes(until=Until.SUSPENDED, many=True)
def suspend(change: Change, names: tuple[str, ...]) -> None:
    """Suspend instances: their memory goes to disk, and they go on there with resume."""
    each(change, names, "suspended", lambda engine, uuid: engine.suspend(uuid))


@click.command()
@names_argument
@changes(until=Until.GOES_ON, many=True)
def resume(change: Change, names: tuple[str, ...]) -> None:
    """Let suspended instances go on where they stopped."""
    each(change, names, "running", lambda engine, uuid: engine.resume(uuid))
