"""``vmops resize``."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from vmops.cli.change_command import Change, changes
from vmops.cli.instances import Found, instance_argument, resolve
from vmops.cli.sizes import GIB, MIB, size
from vmops.cli.waiting import Until
from vmops.model.power import InstanceState

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
@click.option("--confirm", is_flag=True, help="Keep the new size.")
@click.option("--revert", is_flag=True, help="Have the old size again.")
@click.option(
    "--shutdown-timeout", type=click.FloatRange(0), default=60, show_default=True,
    help="Seconds that the guest may take to shut down, if its Tools run.",
)  # fmt: skip
@changes(until=Until.BOOTED)
def resize(change: Change, /, name: str, **options: Any) -> None:
    """Give an instance another size, or take it to another place.

    It is shut down for that and started again; one that is off stays off. Its old disk is kept, and
    it can be reverted, until it is confirmed: vmops resize --confirm NAME, or vmops resize --revert
    NAME. What is not asked for stays as it is.
    """
    changes = [f"--{option}" for option in _CHANGES if options[option] is not None]
    decisions = [option for option in ("confirm", "revert") if options[option]]
    if len(decisions) > 1:
        raise click.UsageError("Give --confirm or --revert, not both.")
    decision = decisions[0] if decisions else ""
    if decision and changes:
        raise click.UsageError(f"--{decision} cannot be combined with {', '.join(changes)}.")
    if not decision and not changes:
        raise click.UsageError("Nothing to do: add what is to change, --confirm or --revert.")
    if options["host"] and options["datastore"]:
        raise click.UsageError("Give --host or --datastore, not both.")
    found = resolve(change.context, name)
    engine = change.engine()
    begin = time.monotonic()
    if decision == "confirm":
        with change.on(found, "", until=Until.DONE):
            had = engine.confirm_migration(None, found.uuid, None)
        change.tell(f"{found.name}: {'confirmed' if had else 'nothing to confirm'}")
        return
    runs = engine.get_info(found.uuid).state is InstanceState.RUNNING
    with change.on(found, "", until=None if runs else Until.DONE):
        if decision == "revert":
            engine.finish_revert_migration(found.uuid, None, power_on=None)
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
    engine.finish_migration(
        None, None, found.uuid, None, None, None, resize_instance=True, power_on=None
    )


def _flavor(context: CommandContext, found: Found, options: dict[str, Any]) -> Flavor:
    """The size asked for, what is not asked for as it is.

    Raises:
        InvalidState: its root disk is a volume, whose size is not the instance's.
    """
    from vmops.errors import InvalidState  # noqa: PLC0415
    from vmops.model.instance import Flavor  # noqa: PLC0415
    from vmops.ops.engine.extra_disks import sizes_of  # noqa: PLC0415
    from vmops.ops.engine.own_disks import is_volume, root_disk  # noqa: PLC0415
    from vmops.ops.instances.listing import get_record  # noqa: PLC0415
    from vmops.vsphere.objects.lookup import with_vm  # noqa: PLC0415

    now = get_record(context.session, found.uuid)
    hardware = with_vm(context.session, found.uuid, lambda vm: vm.hardware())
    extras = sizes_of(hardware.files)
    if options["disk"] and is_volume(hardware.files, root_disk(hardware, found.name)):
        raise InvalidState(
            f"{found.name} boots from a volume, whose size a resize does not change. Nothing was"
            " changed; leave out --disk."
        )
    return Flavor(
        vcpus=options["cpus"] or now.cpus,
        memory_mib=options["memory"] or now.memory_mib,
        root_gib=options["disk"] or 0,
        ephemeral_gib=sum(extras.ephemerals_gib),
        swap_mib=extras.swap_mib,
    )
