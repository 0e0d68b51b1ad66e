"""``vmops destroy``."""

from __future__ import annotations

import functools

import click

from vmops.cli.change_command import Change, changes
from vmops.cli.confirm import ask, yes_option
from vmops.cli.instances import complete_instances, forget, resolve
from vmops.cli.waiting import Until
from vmops.model.uuid_text import is_uuid


@click.command()
@click.argument(
    "names", nargs=-1, required=True, metavar="NAME...", shell_complete=complete_instances
)
@click.option("--keep-disks", is_flag=True, help="Only unregister; all files stay.")
@click.option(
    "--preempt",
    is_flag=True,
    help="Stop the server's tasks on them first, and do not wait for them.",
)
@yes_option
@changes(until=Until.DONE, many=True)
def destroy(
    change: Change, names: tuple[str, ...], keep_disks: bool, preempt: bool, yes: bool
) -> None:
    """Destroy instances with their disks.

    Attached volumes and the parents of linked clones are left alone. That there is no instance of
    a UUID is success; a name must be there.
    """
    from vmops.ops.instances.named import is_there  # noqa: PLC0415

    context = change.context
    found = [resolve(context, name) for name in names]
    if not yes and not change.is_plan:
        ask(f"Destroy {', '.join(one.name for one in found)}?", "destroy")
    engine = change.engine()
    # What was found by its name is there.
    there = {
        one.uuid
        for one in found
        if not is_uuid(one.name.lower()) or is_there(context.session, one.uuid)
    }
    for one in found:
        done = "unregistered" if keep_disks else "destroyed"
        done = done if one.uuid in there else "was not there"
        record = {"name": one.name, "uuid": one.uuid, "status": done}
        with change.on(one, done, show=functools.partial(dict, record)):
            engine.destroy(one.uuid, None, destroy_disks=not keep_disks, preempt=preempt)
            if not change.is_plan:
                forget(context, one.name)
