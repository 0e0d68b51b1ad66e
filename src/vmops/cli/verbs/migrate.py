"""``vmops migrate --live``."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from vmops.cli.change_command import Change, changes
from vmops.cli.instances import Found, instance_argument, resolve
from vmops.cli.waiting import Until
from vmops.errors import NoSuitableHost

if TYPE_CHECKING:
    from vmops.cli.context import CommandContext
    from vmops.vsphere.live.records import HostInfo


@click.command()
@instance_argument
@click.option("--live", is_flag=True, help="While it runs. The other way is a resize.")
@click.option(
    "--host", metavar="HOST",
    help="Where to; without it the usable host of its cluster with the fewest instances.",
)  # fmt: skip
@click.option("--block-migration", is_flag=True, help="Move its disks, too, to another datastore.")
@changes(until=Until.DONE)
def migrate(change: Change, name: str, live: bool, host: str | None, block_migration: bool) -> None:
    """Move a running instance to another host without stopping it."""
    if not live:
        raise click.UsageError("Add --live: this command moves running instances only.")
    context = change.context
    found = resolve(context, name)
    dest = host or _roomiest_host(context, found).name
    begin = time.monotonic()
    with change.on(found, ""):
        change.engine().live_migration(
            None,
            found.uuid,
            dest,
            lambda *_: None,
            lambda *_: change.tell(f"{found.name}: runs where it was"),
            block_migration,
        )
    change.tell(f"{found.name}: on {dest} after {time.monotonic() - begin:.1f} s")


def _roomiest_host(context: CommandContext, found: Found) -> HostInfo:
    """The usable other host of an instance's cluster with the fewest VMs, the first by name.

    Raises:
        NoSuitableHost: its cluster has no other host that can be used.
    """
    from vmops.vsphere.objects.lookup import find_vm  # noqa: PLC0415
    from vmops.vsphere.wire.moref import moid  # noqa: PLC0415

    session = context.session
    vm = find_vm(session, found.uuid)
    now = vm.read("runtime.host").get("runtime.host")
    here = "" if now is None else moid(now)
    hosts = session.inventory.hosts()
    cluster = next((one.cluster for one in hosts if one.moid == here), "")
    fit = [
        one
        for one in hosts
        if one.cluster == cluster and one.moid != here and one.connected and not one.in_maintenance
    ]
    if not fit:
        raise NoSuitableHost(f"The cluster of {found.name} has no other host that can be used.")
    there = session.properties.read([one.moref for one in fit], "HostSystem", ("vm",))
    load = {name: len(values.get("vm") or ()) for name, values in there.items()}
    return min(fit, key=lambda one: (load.get(one.moid, 0), one.name))
