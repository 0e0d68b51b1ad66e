"""``vmops rescue | unrescue``."""

from __future__ import annotations

import click

from vmops.cli.context import CommandContext, pass_context
from vmops.cli.instances import complete_images, instance_argument, resolve


@click.command()
@instance_argument
@click.option(
    "--image", "-i", shell_complete=complete_images,
    help="Name or id of the rescue system's image; without it, the one the instance came from.",
)  # fmt: skip
@pass_context
def rescue(context: CommandContext, name: str, image: str | None) -> None:
    """Boot an instance from another image, with its own root disk as the second disk.

    Whatever fails, the instance is as it was.
    """
    from vmops.ops.inventory import get_record  # noqa: PLC0415

    found = resolve(context, name)
    wanted = image or get_record(context.session, found.uuid).image_id
    if not wanted:
        raise click.UsageError(f"It is not known what image {name} came from: say --image.")
    context.engine().rescue(None, found.uuid, None, context.images.get(wanted))
    click.echo(f"{found.name}: rescued", err=True)
    click.echo(f"Its own disk is the second one. Then: vmops unrescue {found.name}", err=True)


@click.command()
@instance_argument
@click.option("--no-power-on", is_flag=True, help="Leave it off.")
@pass_context
def unrescue(context: CommandContext, name: str, no_power_on: bool) -> None:
    """Boot a rescued instance from its own disk again; the rescue disk is deleted."""
    found = resolve(context, name)
    context.engine().unrescue(found.uuid, power_on=not no_power_on)
    click.echo(f"{found.name}: {'powered off' if no_power_on else 'running'}", err=True)
