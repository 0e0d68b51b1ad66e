"""``vmops resize``."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from vmops.cli.change_command import Change, changes
from vmops.cli.instances import Found, instance_argument, resolve
from vmops.cli.sizes import GIB, MIB, size
from vmops.cli.waiting import Until

if TYPE_CHECKING:
    from vmops.cli.context import CommandContext
    from vmops.model.instance import Flavor

_POLL_S = 0.25
_CHANGES = ("cpus", "memory", "disk", "host", "datastore")


@click.command()
@instance_argument
@click.option("--cpus", type=click.IntRange(1), help="vCPUs.")
@click.option("--memory", callback=size(MIB, "512M", least=4), help="Memory.")
@click.option(
    "--disk", callback=size(GIB, "10G", least=1), help="Root disk in GiB; it cannot shrink."
)
@click.option("--host", metavar="HOST|CLUSTER", help="Move it there.")
@click.option("--datastore", help="Move its disks there.")
@click.option("--confirm", "decision", flag_value="confirm", help="Keep the new size.")
@click.option("--revert", "decision", flag_value="revert", help="Have the old size again.")
@click.option(
    "--shutdown-timeout", type=click.FloatRange(0), default=60, show_default=True,
    help="Seconds that the guest may take to shut down, if its Tools run.",
)  # fmt: skip
@changes(until=Until.BOOTED)
def resize(change: Change, /, name: str, **options: Any) -> None:
    """Give an instance another size, or take it to another place.

    It is shut down for that and started again. Its old disk is kept, and it can be reverted, until
    it is confirmed: vmops resize --confirm NAME, or vmops resize --revert NAME. What is not asked
    for stays as it is.
    """
    changes = [f"--{option}" for option in _CHANGES if options[option] is not None]
    if options["decision"] and changes:
        raise click.UsageError(
            f"--{options['decision']} cannot be combined with {', '.join(changes)}."
        )
    if not options["decision"] and not changes:
        raise click.UsageError("Nothing to do: add what is to change, --confirm or --revert.")
    if options["host"] and options["datastore"]:
        raise click.UsageError("Give --host or --datastore, not both.")
    found = resolve(change.context, name)
    engine = change.engine()
    begin = time.monotonic()
    if options["decision"] == "confirm":
        with change.on(found, "", until=Until.DONE):
            had = engine.confirm_migration(None, found.uuid, None)
        change.tell(f"{found.name}: {'confirmed' if had else 'nothing to confirm'}")
        return
    with change.on(found, ""):
        if options["decision"] == "revert":
            engine.finish_revert_migration(found.uuid, None)
            done = "reverted"
        else:
            _resize(change, found, options)
            done = "resized"
    change.tell(f"{found.name}: {done} after {time.monotonic() - begin:.1f} s")
    if done == "resized":
        for then in ("confirm", "revert"):
            change.tell(f"  vmops resize --{then} {found.name}")


def _resize(change: Change, found: Found, options: dict[str, Any]) -> None:
    engine = change.engine()
    engine.migrate_disk_and_power_off(
        None,
        found.uuid,
        options["host"] or options["datastore"],
        _flavor(change.context, found, options),
        timeout=options["shutdown_timeout"],
        retry_interval=_POLL_S,
    )
    engine.finish_migration(None, None, found.uuid, None, None, None, resize_instance=True)


def _flavor(context: CommandContext, found: Found, options: dict[str, Any]) -> Flavor:
    """The size asked for, what is not asked for as it is."""
    from vmops.model.instance import Flavor  # noqa: PLC0415
    from vmops.ops.engine.extra_disks import present_sizes  # noqa: PLC0415
    from vmops.ops.instances.listing import get_record  # noqa: PLC0415

    now = get_record(context.session, found.uuid)
    extras = present_sizes(context.session, found.uuid)
    return Flavor(
        vcpus=options["cpus"] or now.cpus,
        memory_mib=options["memory"] or now.memory_mib,
        root_gib=options["disk"] or 0,
        ephemeral_gib=sum(extras.ephemerals_gib),
        swap_mib=extras.swap_mib,
    )
