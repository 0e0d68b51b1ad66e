"""``vmops snapshot create``."""

from __future__ import annotations

import click

from vmops import units
from vmops.cli.context import CommandContext, pass_context
from vmops.cli.instances import instance_argument, resolve


@click.group()
def snapshot() -> None:
    """Make images of instances."""


@snapshot.command()
@instance_argument
@click.option("--name", "image_name", required=True, metavar="IMAGE", help="The new image's name.")
@pass_context
def create(context: CommandContext, name: str, image_name: str) -> None:
    """Make an image of an instance's root disk, while the instance runs on.

    Where the guest's Tools run it is asked to hold its writes for the moment of the snapshot;
    otherwise the image is as the disk would be after a power failure, and this is said.
    """
    found = resolve(context, name)
    made = context.engine().snapshot(None, found.uuid, image_name, lambda **_: None)
    size = units.human_bytes(made.image.size_bytes)
    click.echo(f"{found.name}: image {made.image.name} made, {size}", err=True)
    if not made.quiesced:
        click.echo(
            f"{found.name}: its guest did not hold its writes; the image is as after a power"
            " failure",
            err=True,
        )
    click.echo(made.image.id)
