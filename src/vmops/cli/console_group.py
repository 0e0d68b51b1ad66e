"""``vmops console url | log | screenshot``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click

from vmops.cli.console import log, screenshot
from vmops.cli.context import CommandContext, pass_context
from vmops.cli.instances import instance_argument, resolve
from vmops.cli.output import output_options, print_record, take_output_options

if TYPE_CHECKING:
    from vmops.ops.vnc import VncConsole


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
@output_options
@pass_context
def url(context: CommandContext, /, name: str, kind: str, **options: Any) -> None:
    """Print where a viewer connects to; a ticket in it works once, within seconds.

    Whoever has the URL has the guest's keyboard: it is printed here and logged nowhere.
    """
    how = take_output_options(options)
    found = resolve(context, name)
    engine = context.engine(console=kind)
    # Plain VNC is served by hosts; those of the lab have names that are known inside it only.
    at_host = context.session.is_vcenter and not context.uses_lab
    look = engine.get_vnc_console_vcenter if at_host else engine.get_vnc_console
    there = look(found.uuid)
    if how.style == "table" and not how.columns:
        click.echo(url_of(there))
        return
    print_record({"name": found.name, "url": url_of(there), **there}, how)


def url_of(there: VncConsole) -> str:
    """The console as one URL; that of VNC is RFC 7869's."""
    host = f"[{there['host']}]" if ":" in there["host"] else there["host"]
    path = there["internal_access_path"]
    if path is not None:
        return f"wss://{host}:{there['port']}{path}"
    password = there.get("password", "")
    secret = f"?VncPassword={quote(password, safe='')}" if password else ""
    return f"vnc://{host}:{there['port']}{secret}"
