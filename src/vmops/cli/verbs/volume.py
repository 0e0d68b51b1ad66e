"""``vmops volume create | list | show | attach | detach | delete``."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import click

from vmops import units
from vmops.cli.change_command import Change, changes
from vmops.cli.confirm import ask, yes_option
from vmops.cli.context import CommandContext, pass_context
from vmops.cli.instances import instance_argument, resolve
from vmops.cli.output import output_options, print_record, print_rows, take_output_options
from vmops.cli.sizes import MIB, size
from vmops.cli.terminal import say
from vmops.cli.waiting import Until
from vmops.model.image import AdapterType

if TYPE_CHECKING:
    from vmops.ops.volumes.made import MadeVolume

COLUMNS = (
    "name", "type", "size", "datastore", "attached_to", "id", "path", "size_bytes", "instance",
)  # fmt: skip
_KINDS = {"fcd": "vstorageobject", "vmdk": "vmdk"}
_volume_argument = click.argument("volume", metavar="VOLUME")


@click.group()
def volume() -> None:
    """Create volumes, and attach them to instances, also while those run."""


@volume.command()
@click.argument("name")
@click.option(
    "--size", "size_mib", required=True, callback=size(MIB, "10G", least=1),
    help="Such as 512M or 10G.",
)  # fmt: skip
@click.option(
    "--type", "kind", type=click.Choice(list(_KINDS)),
    help="A first class disk, or a VMDK that a VM holds; without it the endpoint decides.",
)  # fmt: skip
@click.option(
    "--datastore", default="", help="The datastore; otherwise the one with most free space."
)
@click.option("--policy", default="", help="The storage policy of its disk.")
@changes()
def create(change: Change, /, name: str, size_mib: int, **options: Any) -> None:
    """Make an empty volume, and print its id."""
    from vmops.model.block_devices import VolumeKind  # noqa: PLC0415
    from vmops.ops.volumes.made import WantedVolume  # noqa: PLC0415

    kind = options["kind"]
    wanted = WantedVolume(
        name=name,
        size_bytes=size_mib * units.MIB,
        kind=VolumeKind(_KINDS[kind]) if kind else None,
        datastore=options["datastore"],
        storage_policy=options["policy"],
    )
    change.begin_part(name)
    made = change.engine().create_volume(wanted)
    change.tell(f"{made.name}: a volume of {units.human_bytes(made.size_bytes)}")
    change.show(functools.partial(_row, made), plain=made.volume.id)


@volume.command("list")
@output_options
@pass_context
def list_volumes(context: CommandContext, /, **options: Any) -> None:
    """List the volumes, and which instance has each."""
    how = take_output_options(options)
    rows = [_row(one) for one in context.engine().list_volumes()]
    if not rows and how.style in {"table", "wide"}:
        say("There are no volumes. Make one with: vmops volume create NAME --size 1G", err=True)
        return
    print_rows(rows, how, keys=COLUMNS, narrow=COLUMNS[:6])


@volume.command()
@_volume_argument
@output_options
@pass_context
def show(context: CommandContext, /, volume: str, **options: Any) -> None:
    """Show one volume in full."""
    how = take_output_options(options)
    print_record(_row(context.engine().find_volume(volume)), how)


@volume.command()
@instance_argument
@_volume_argument
@click.option(
    "--bus", type=click.Choice([adapter.value for adapter in AdapterType]),
    help="The adapter it is attached to; that of the instance's first disk without it.",
)  # fmt: skip
@changes(until=Until.DONE)
def attach(change: Change, /, name: str, volume: str, bus: str | None) -> None:
    """Attach a volume to an instance, which may be running unless the bus is ide."""
    found, engine = resolve(change.context, name), change.engine()
    wanted = engine.find_volume(volume)
    with change.on(found, f"{wanted.name} attached"):
        engine.attach_volume(None, wanted.volume, found.uuid, disk_bus=bus)


@volume.command()
@instance_argument
@_volume_argument
@changes(until=Until.DONE)
def detach(change: Change, /, name: str, volume: str) -> None:
    """Take a volume off an instance; what is on it stays."""
    found, engine = resolve(change.context, name), change.engine()
    wanted = engine.find_volume(volume)
    with change.on(found, f"{wanted.name} detached"):
        engine.detach_volume(None, wanted.volume, found.uuid)


@volume.command()
@click.argument("volumes", nargs=-1, required=True, metavar="VOLUME...")
@yes_option
@changes(many=True)
def delete(change: Change, /, volumes: tuple[str, ...], yes: bool) -> None:
    """Delete volumes with what is on them; an instance's must be detached first."""
    if not yes and not change.is_plan:
        ask(f"Delete {', '.join(volumes)} with what is on it?", "delete")
    engine = change.engine()
    for name in volumes:
        change.begin_part(name)
        wanted = engine.find_volume(name)
        engine.delete_volume(wanted.volume.id)
        change.tell(f"{name}: deleted")
        record = {"name": wanted.name, "id": wanted.volume.id, "status": "deleted"}
        change.show(functools.partial(dict, record))


def _row(made: MadeVolume) -> dict[str, Any]:
    kinds = {wire: word for word, wire in _KINDS.items()}
    return {
        "name": made.name,
        "type": kinds[made.volume.kind.value],
        "size": units.human_bytes(made.size_bytes),
        "datastore": made.datastore,
        "attached_to": made.attached_name,
        "id": made.volume.id,
        "path": made.path,
        "size_bytes": made.size_bytes,
        "instance": made.attached_to,
    }
