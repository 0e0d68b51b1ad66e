"""``vmops console url | log | screenshot``."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click

from vmops.cli.context import CommandContext, pass_context
from vmops.cli.instances import Found, instance_argument, resolve
from vmops.cli.output import output_options, print_record, take_output_options
from vmops.cli.terminal import say
from vmops.cli.verbs.console import log, screenshot

if TYPE_CHECKING:
    from vmops.ops.engine.vnc import VncConsole


_LOOK_S = 0.25


@click.group()
def console() -> None:
    """Reach a guest's screen, its serial log, or a picture of it."""


console.add_command(log)
console.add_command(screenshot)


@console.command()
@instance_argument
@click.option(
    "--type", "kind", type=click.Choice(["auto", "vnc", "webmks"]), default="auto",
    show_default=True, help="Plain VNC or a ticket for a WebSocket; auto: by the server's version.",
)  # fmt: skip
@click.option(
    "--keep", "keep_s", type=click.FloatRange(0), default=60, show_default=True, metavar="SECONDS",
    help="How long an unused ticket is kept valid; 0: it expires at once.",
)  # fmt: skip
@output_options
@pass_context
def url(context: CommandContext, /, name: str, kind: str, keep_s: float, **options: Any) -> None:
    """Print where a viewer connects to; a ticket in it works once, within a minute or so.

    A ticket ends with the session that asked for it: the command prints the URL and then waits
    until a viewer has come, or --keep is over, or Ctrl-C. Whoever has the URL has the guest's
    keyboard: it is printed here and logged nowhere.
    """
    how = take_output_options(options)
    found = resolve(context, name)
    engine = context.engine(console=kind)
    # Plain VNC is served by hosts; those of the lab have names that are known inside it only.
    at_host = context.session.is_vcenter and not context.uses_lab
    look = engine.get_vnc_console_vcenter if at_host else engine.get_vnc_console
    viewers = _viewers(context, found)
    there = look(found.uuid)
    if how.style == "table" and not how.columns:
        say(url_of(there))
    else:
        print_record({"name": found.name, "url": url_of(there), **there}, how)
    sys.stdout.flush()
    if there["internal_access_path"] is not None and keep_s:
        _keep_ticket(context, found, viewers, keep_s)


def _keep_ticket(context: CommandContext, found: Found, before: int, keep_s: float) -> None:
    """Stay until there is one viewer more, or time is over, or somebody presses Ctrl-C."""
    end = time.monotonic() + keep_s
    try:
        say(
            f"The ticket is valid for {keep_s:g} s, until a viewer connects, or until Ctrl-C.",
            err=True,
        )
        while time.monotonic() < end:
            if _viewers(context, found) > before:
                return
            time.sleep(_LOOK_S)
    except KeyboardInterrupt as interrupt:
        if type(interrupt) is not KeyboardInterrupt:  # asked to terminate
            raise
        return
    say("The ticket has expired.", err=True)


def _viewers(context: CommandContext, found: Found) -> int:
    """How many consoles of an instance are open."""
    from vmops.vsphere.objects.lookup import with_vm  # noqa: PLC0415

    path = "runtime.numMksConnections"
    values = with_vm(context.session, found.uuid, lambda vm: vm.read(path))
    return int(values.get(path) or 0)


def url_of(there: VncConsole) -> str:
    """The console as one URL; that of VNC is RFC 7869's."""
    host = f"[{there['host']}]" if ":" in there["host"] else there["host"]
    path = there["internal_access_path"]
    if path is not None:
        return f"wss://{host}:{there['port']}{path}"
    password = there.get("password", "")
    secret = f"?VncPassword={quote(password, safe='')}" if password else ""
    return f"vnc://{host}:{there['port']}{secret}"
