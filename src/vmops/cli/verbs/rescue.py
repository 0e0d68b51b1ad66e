"""``vmops rescue | unrescue``."""

from __future__ import annotations

import click

from vmops.cli.change_command import Change, changes
from vmops.cli.instances import complete_images, instance_argument, resolve
from vmops.cli.waiting import Until


@click.command()
@instance_argument
@click.option(
    "--image", "-i", shell_complete=complete_images,
    help="Name or id of the rescue system's image; without it, the one the instance came from.",
)  # fmt: skip
@changes(until=Until.BOOTED)
def rescue(change: Change, name: str, image: str | None) -> None:
    """Boot an instance from another image, with its own root disk as the second disk.

    Whatever fails, the instance is as it was.
    """
    from vmops.ops.instances.listing import get_record  # noqa: PLC0415

    context = change.context
    found = resolve(context, name)
    wanted = image or get_record(context.session, found.uuid).image_id
    if not wanted:
        raise click.UsageError(f"Unknown rescue image for {name}: add --image.")
    with change.on(found, "rescued"):
        change.engine().rescue(None, found.uuid, None, context.images.get(wanted))
    change.tell(f"Its own disk is the second one. Then: vmops unrescue {found.name}")


@click.command()
@instance_argument
@click.option("--no-power-on", is_flag=True, help="Leave it off.")
@changes(until=Until.BOOTED)
def unrescue(change: Change, name: str, no_power_on: bool) -> None:
    """Boot a rescued instance from its own disk again; the rescue disk is deleted."""
    found = resolve(change.context, name)
    done = "powered off" if no_power_on else "running"
    with change.on(found, done, until=Until.OFF if no_power_on else None):
        change.engine().unrescue(found.uuid, power_on=not no_power_on)
