"""``vmops audit``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from vmops.cli.context import CommandContext, pass_context
from vmops.cli.output import output_options, print_rows, take_output_options
from vmops.cli.terminal import say
from vmops.errors import VMOpsError

if TYPE_CHECKING:
    from vmops.ops.instances.leftovers import Leftover

_KEYS = ("name", "kind", "left", "owner", "operation", "seen_s", "why")
_NARROW = ("name", "kind", "left", "why", "owner")
_NOTHING = "Nothing is left behind."
# The last look is to come after the lease's end.
_SLACK_S = 0.5


@click.command()
@click.option("--fix", is_flag=True, help="Remove what is left behind.")
@click.option("--owner", metavar="ID", help="This owner is dead, whatever its marks look like.")
@click.option(
    "--wait",
    "wait_s",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="Watch all marks for so long at most, those of living processes too.",
)
@click.option("--no-wait", is_flag=True, help="Judge only what can be judged at once.")
@output_options
@pass_context
def audit(
    context: CommandContext,
    /,
    fix: bool,
    owner: str | None,
    wait_s: float | None,
    no_wait: bool,
    **options: object,
) -> None:
    """Find what interrupted operations left behind, and remove it with --fix.

    Also listed is what lies on datastores under an instance's name and no machine has: with disks
    in it, which somebody may keep, it is left alone; so is what destroy --keep-disks has left.
    Disks that could not be merged when a snapshot went are merged.

    Everything that an operation is at is listed: whether it is left behind and why, its owner, and
    for how long its mark was seen to stand still. A mark that cannot be judged at once is watched
    for a minute: an owner renews it every 20 seconds, on whatever machine. What lives is left
    alone. The exit code is 7 if something is left behind and stays.
    """
    if no_wait and wait_s is not None:
        raise click.UsageError("Give either --wait or --no-wait.")
    how = take_output_options(options)
    found = _find(context, owner or "", 0.0 if no_wait else wait_s)
    if not found and how.style in {"table", "wide"}:
        say(_NOTHING, err=True)
        return
    print_rows([_row(one) for one in found], how, keys=_KEYS, narrow=_NARROW)
    left = [one for one in found if one.is_left]
    if not left:
        if found:
            say(_NOTHING, err=True)
        return
    if not fix:
        say("Remove it with: vmops audit --fix", err=True)
        sys.exit(7)
    removed = _remove(context, left)
    say(f"Removed {removed}.", err=True)
    if removed < len(left):
        sys.exit(7)


def _row(one: Leftover) -> dict[str, object]:
    mark = one.judgment.mark
    return {
        "name": one.name,
        "kind": one.kind,
        "left": one.is_left,
        "owner": mark.owner,
        "operation": mark.operation,
        "seen_s": round(one.judgment.still_s),
        "why": one.judgment.why,
    }


def _find(context: CommandContext, owner: str, wait_s: float | None) -> list[Leftover]:
    """What operations are at; where that is not known at once it is watched, and said so."""
    from vmops import in_flight  # noqa: PLC0415
    from vmops.context import operation  # noqa: PLC0415
    from vmops.ops.engine.settings import EngineSettings  # noqa: PLC0415
    from vmops.ops.instances.orphans import OrphanWatch  # noqa: PLC0415
    from vmops.ops.instances.recovery import find_work, watch_work  # noqa: PLC0415

    settings = context.engine_settings(EngineSettings)
    orphans = OrphanWatch(context.session)
    told = False

    def look() -> list[Leftover]:
        nonlocal told
        found = [*find_work(context.session, settings, context.images, owner), *orphans.look()]
        unknown = [one for one in found if one.judgment.verdict is in_flight.Verdict.UNKNOWN]
        if unknown and not told and longest_s > 0:
            told = True
            say(
                f"{len(unknown)} cannot be judged at once; watching for {longest_s:.0f} s at most.",
                err=True,
            )
        return found

    longest_s = in_flight.TIMING.lease_s + _SLACK_S if wait_s is None else wait_s
    with operation("audit", task_deadline_s=settings.task_deadline_s):
        return watch_work(look, longest_s, all_of=bool(wait_s))


def _remove(context: CommandContext, left: list[Leftover]) -> int:
    """Remove each that can be removed, tell of each that cannot, and count the former."""
    from vmops.context import operation  # noqa: PLC0415
    from vmops.ops.engine.settings import EngineSettings  # noqa: PLC0415
    from vmops.ops.instances.leftovers import remove_leftover  # noqa: PLC0415

    removed = 0
    settings = context.engine_settings(EngineSettings)
    deadline_s = settings.task_deadline_s
    with operation("audit", observe=context.observer, task_deadline_s=deadline_s):
        for one in left:
            try:
                remove_leftover(context.session, one)
            except VMOpsError as failure:
                say(f"{one.name} stays: {failure}", err=True)
            else:
                removed += 1
    return removed


def sweep(context: CommandContext) -> None:
    """Remove the leftovers of dead processes, saying so on stderr.

    Only for the user's own lab, where nobody else's decision is needed; and only what is certain at
    once. What cannot be removed does not stand in the way of the command that called.
    """
    from vmops.context import operation  # noqa: PLC0415
    from vmops.ops.engine.settings import EngineSettings  # noqa: PLC0415
    from vmops.ops.instances.leftovers import remove_leftover  # noqa: PLC0415
    from vmops.ops.instances.recovery import find_leftovers  # noqa: PLC0415

    settings = context.engine_settings(EngineSettings)
    with operation("sweep", task_deadline_s=settings.task_deadline_s):
        try:
            found = find_leftovers(context.session, settings)
        except VMOpsError as failure:
            say(f"Leftovers could not be looked for: {failure} See: vmops audit", err=True)
            return
        for one in found:
            try:
                remove_leftover(context.session, one)
            except VMOpsError as failure:
                say(f"{one.name} could not be removed: {failure} See: vmops audit", err=True)
            else:
                say(f"Removed what was left of an {one.kind}: {one.name}", err=True)
