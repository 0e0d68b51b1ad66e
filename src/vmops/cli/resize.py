"""``vmops resize``."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from vmops.cli.context import CommandContext, pass_context
from vmops.cli.instances import Found, instance_argument, resolve
from vmops.cli.spawn import GIB, MIB, READY, size
from vmops.errors import TimedOut
from vmops.steps import Operation, Reversible, step

if TYPE_CHECKING:
    from vmops.model.instance import Flavor

_POLL_S = 0.25
_CHANGES = ("cpus", "memory", "disk", "host", "datastore")


@click.command()
@instance_argument
@click.option("--cpus", type=click.IntRange(1), help="vCPUs.")
@click.option("--memory", callback=size(MIB, "512M", least=4), help="Memory.")
@click.option("--disk", callback=size(GIB, "10G"), help="Root disk in GiB; it cannot shrink.")
@click.option("--host", metavar="HOST|CLUSTER", help="Move it there.")
@click.option("--datastore", help="Move its disks there.")
@click.option("--confirm", "decision", flag_value="confirm", help="Keep the new size.")
@click.option("--revert", "decision", flag_value="revert", help="Have the old size again.")
@click.option(
    "--shutdown-timeout", type=click.FloatRange(0), default=60, show_default=True,
    help="Seconds that the guest may take to shut down, if its Tools run.",
)  # fmt: skip
@click.option("--wait", is_flag=True, help="Wait until the guest's serial port shows --wait-for.")
@click.option("--wait-for", metavar="REGEX", default=READY, show_default=True)
@click.option(
    "--timeout", type=click.FloatRange(0), default=300, show_default=True, help="Seconds to --wait."
)
@pass_context
def resize(context: CommandContext, /, name: str, **options: Any) -> None:
    """Give an instance another size, or take it to another place.

    It is shut down for that and started again. Its old disk is kept, and it can be reverted, until
    it is confirmed: vmops resize --confirm NAME, or vmops resize --revert NAME. What is not asked
    for stays as it is.
    """
    changes = [f"--{option}" for option in _CHANGES if options[option] is not None]
    if options["decision"] and changes:
        raise click.UsageError(f"--{options['decision']} goes without {', '.join(changes)}.")
    if not options["decision"] and not changes:
        raise click.UsageError("Say what is to change, --confirm or --revert.")
    if options["host"] and options["datastore"]:
        raise click.UsageError("Say either --host or --datastore.")
    try:
        ready = re.compile(options["wait_for"])
    except re.error as wrong:
        raise click.BadParameter(f"--wait-for: {wrong}") from None
    found = resolve(context, name)
    engine = context.engine()
    begin = time.monotonic()
    if options["decision"] == "confirm":
        engine.confirm_migration(None, found.uuid, None)
        click.echo(f"{found.name}: confirmed", err=True)
        return
    if options["decision"] == "revert":
        with_log = _log(context, found) if options["wait"] else None
        engine.finish_revert_migration(found.uuid, None)
        done = "reverted"
    else:
        engine.migrate_disk_and_power_off(
            None,
            found.uuid,
            options["host"] or options["datastore"],
            _flavor(context, found, options),
            timeout=options["shutdown_timeout"],
            retry_interval=_POLL_S,
        )
        with_log = _log(context, found) if options["wait"] else None
        engine.finish_migration(None, None, found.uuid, None, None, None, resize_instance=True)
        done = "resized"
    if with_log is not None:
        with Operation("resize", context.observer) as do:
            do(guest_ready(found, with_log, ready, options["timeout"]))
    click.echo(f"{found.name}: {done} after {time.monotonic() - begin:.1f} s", err=True)
    if done == "resized":
        for then in ("confirm", "revert"):
            click.echo(f"  vmops resize --{then} {found.name}", err=True)


def _flavor(context: CommandContext, found: Found, options: dict[str, Any]) -> Flavor:
    """The size asked for, what is not asked for as it is."""
    from vmops.model.instance import Flavor  # noqa: PLC0415
    from vmops.ops.inventory import get_record  # noqa: PLC0415

    now = get_record(context.session, found.uuid)
    return Flavor(
        vcpus=options["cpus"] or now.cpus,
        memory_mib=options["memory"] or now.memory_mib,
        root_gib=options["disk"] or 0,
    )


def _log(context: CommandContext, found: Found) -> Iterator[bytes]:
    """What the guest writes to its serial port from now on."""
    from vmops.ops.console import follow_serial_log  # noqa: PLC0415

    follower = follow_serial_log(context.session, found.uuid, 0)
    next(follower)
    return follower


@step("Wait for the guest")
def guest_ready(
    found: Found, log: Iterator[bytes], ready: re.Pattern[str], timeout_s: float
) -> Reversible[None]:
    """Follow the serial log until it shows what is waited for."""
    deadline = time.monotonic() + timeout_s
    seen = ""
    for block in log:
        seen += block.decode("utf-8", "replace")
        if ready.search(seen):
            break
        if time.monotonic() > deadline:
            raise TimedOut(
                f"The guest did not show {ready.pattern!r} on its serial port within"
                f" {timeout_s:g} s. The instance runs on; see: vmops log {found.name}"
            )
        if not block:
            time.sleep(_POLL_S)
    yield
