"""``vmops screenshot`` and ``vmops log``."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import click

from vmops.cli.context import CommandContext, pass_context
from vmops.cli.instances import instance_argument, resolve
from vmops.cli.terminal import LogFilter, say, say_bytes
from vmops.errors import InvalidArgument
from vmops.whole_files import write_whole

_FOLLOW_S = 0.5


@click.command()
@instance_argument
@click.option(
    "-O", "--output-file", type=click.Path(dir_okay=False, path_type=Path),
    help="Where to put the PNG; NAME.png without it, '-' for stdout.",
)  # fmt: skip
@pass_context
def screenshot(context: CommandContext, name: str, output_file: Path | None) -> None:
    """Save a picture of the guest's screen."""
    from vmops.ops.instances.console import screenshot as take  # noqa: PLC0415
    from vmops.vsphere.objects.lookup import with_vm  # noqa: PLC0415

    if str(output_file) == "-" and sys.stdout.isatty():
        raise click.UsageError(
            "Refusing to write a PNG to a terminal: redirect it, or name a file."
        )
    if output_file is not None and not output_file.parent.is_dir():
        raise InvalidArgument(f"There is no folder {output_file.parent}.")
    found = resolve(context, name)
    png = with_vm(context.session, found.uuid, take)
    if str(output_file) == "-":
        say_bytes(png)
        return
    file = output_file or Path(f"{found.name}.png")
    write_whole(file, png)
    say(str(file))


@click.command()
@instance_argument
@click.option("-f", "--follow", is_flag=True, help="Go on printing what comes, until Ctrl-C.")
@click.option(
    "--bytes", "max_bytes", type=click.IntRange(1), default=100 * 1024, show_default=True,
    help="How much of the log's end.",
)  # fmt: skip
@click.option("--raw", is_flag=True, help="Let the guest's escape sequences reach the terminal.")
@pass_context
def log(context: CommandContext, name: str, follow: bool, max_bytes: int, raw: bool) -> None:
    """Print what the guest wrote to its serial port.

    On a terminal its escape sequences are left out, and other control characters shown.
    """
    from vmops.ops.instances.console import follow_serial_log, serial_log  # noqa: PLC0415

    uuid = resolve(context, name).uuid
    readable = None if raw or not sys.stdout.isatty() else LogFilter()
    if not follow:
        _print(serial_log(context.session, uuid, max_bytes), readable, final=True)
        return
    for block in follow_serial_log(context.session, uuid, max_bytes):
        _print(block, readable)
        if not block:
            time.sleep(_FOLLOW_S)


def _print(block: bytes, readable: LogFilter | None, *, final: bool = False) -> None:
    if readable is None:
        say_bytes(block)
    else:
        say(readable(block, final=final), nl=False)
