"""``vmops snapshot create``."""

from __future__ import annotations

from pathlib import Path

import click

from vmops import units
from vmops.cli.change_command import Change, changes
from vmops.cli.instances import instance_argument, resolve
from vmops.cli.waiting import Until
from vmops.model.image import EXPORT_FORMATS


@click.group()
def snapshot() -> None:
    """Make images of instances."""


@snapshot.command()
@instance_argument
@click.option("--name", "image_name", required=True, metavar="IMAGE", help="The new image's name.")
@click.option(
    "--export",
    "file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write the image's disk to this new file, too.",
)
@click.option(
    "--disk-format", type=click.Choice(EXPORT_FORMATS), default="vmdk", show_default=True,
    help="The format of that file.",
)  # fmt: skip
@changes(until=Until.DONE)
def create(change: Change, name: str, image_name: str, file: Path | None, disk_format: str) -> None:
    """Make an image of an instance's root disk, while the instance runs on.

    Where the guest's Tools run it is asked to hold its writes for the moment of the snapshot;
    otherwise the image is as the disk would be after a power failure, and this is said.
    """
    from vmops.cli.verbs.image import export_to, image_record  # noqa: PLC0415

    found = resolve(change.context, name)
    change.begin_part(found.name)
    made = change.engine().snapshot(None, found.uuid, image_name, lambda **_: None)
    size = units.human_bytes(made.image.size_bytes)
    change.tell(f"{found.name}: image {made.image.name} made, {size}")
    if not made.quiesced:
        change.tell(
            f"{found.name}: the guest was not quiesced; the image is crash-consistent, as after a"
            " power failure"
        )
    if file is not None and not change.is_plan:
        export_to(change.context, made.image, file, disk_format)
    change.show(lambda: image_record(made.image), plain=made.image.id)
