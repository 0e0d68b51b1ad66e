"""``vmops lab start | stop | status | reset | env``."""

from __future__ import annotations

import shlex
import sys
from typing import Any

import click

from vmops.cli.confirm import ask, yes_option
from vmops.cli.context import CommandContext, pass_context
from vmops.cli.lab_endpoint import lab_errors, lab_settings, require_server
from vmops.cli.output import output_options, print_record, take_output_options
from vmops.cli.terminal import say


@click.group()
def lab() -> None:
    """Run a vSphere endpoint on this machine, whose virtual machines are QEMU guests.

    Other commands start it by themselves when no endpoint is set.
    """


@lab.command()
@click.option("--esx", is_flag=True, help="A single ESXi instead of a vCenter with a cluster.")
@click.option("--port", type=click.IntRange(1, 65535), help="On 127.0.0.1; chosen without it.")
@click.option(
    "--no-guests", is_flag=True, help="Power states only: nothing boots. For tests of clients."
)
@click.option(
    "--guests-reach-host", is_flag=True,
    help="Let guests reach what listens on this machine's loopback, the lab included.",
)  # fmt: skip
@pass_context
def start(
    context: CommandContext, esx: bool, port: int | None, no_guests: bool, guests_reach_host: bool
) -> None:
    """Start the lab in the background, or say that it runs."""
    require_server()
    how: dict[str, Any] = {"port": port or 0, "hypervisor": "none" if no_guests else "auto"}
    how["guests_reach_host"] = guests_reach_host
    settings = lab_settings(context.state_dir, **how, **({"esx": True} if esx else {}))
    with lab_errors():
        from vmops.lab import daemon  # noqa: PLC0415

        was_running = daemon.status(settings) is not None
        endpoint = daemon.start(settings)
    said = "runs already" if was_running else "answers"
    say(f"The lab {said} at {endpoint.url} (process {endpoint.pid})", err=True)


@lab.command()
@click.option("--keep-guests", is_flag=True, help="Guests run on; the next start finds them.")
@pass_context
def stop(context: CommandContext, keep_guests: bool) -> None:
    """Stop the lab; running guests are powered off, unless they are kept."""
    with lab_errors():
        from vmops.lab import daemon  # noqa: PLC0415

        stopped = daemon.stop(lab_settings(context.state_dir), keep_guests=keep_guests)
    say("The lab has stopped." if stopped else "The lab does not run.", err=True)


@lab.command()
@output_options
@pass_context
def status(context: CommandContext, /, **options: Any) -> None:
    """Say whether and where the lab runs. The exit code is 1 if it does not."""
    how = take_output_options(options)
    settings = lab_settings(context.state_dir)
    with lab_errors():
        from vmops.lab import daemon  # noqa: PLC0415

        endpoint = daemon.status(settings)
    record: dict[str, Any] = {
        "name": "lab",
        "status": "running" if endpoint else "stopped",
        "url": endpoint.url if endpoint else None,
        "username": endpoint.user_name if endpoint else settings.user_name,
        "password_file": str(settings.password_file),
        "certificate": str(settings.certificate_file),
        "thumbprint": endpoint.thumbprint if endpoint else None,
        "process": endpoint.pid if endpoint else None,
        "state_dir": str(settings.state_dir),
        "log": str(settings.log_file),
    }
    print_record(record, how)
    if endpoint is None:
        sys.exit(1)


@lab.command()
@yes_option
@pass_context
def reset(context: CommandContext, yes: bool) -> None:
    """Stop the lab and delete all of it: instances, disks, certificate, password."""
    settings = lab_settings(context.state_dir)
    if not yes:
        ask(f"Delete everything in {settings.state_dir}?", "delete the lab")
    with lab_errors():
        from vmops.lab import daemon  # noqa: PLC0415

        daemon.reset(settings)
    say("The lab is gone; the next start makes a new one.", err=True)


@lab.command()
@pass_context
def env(context: CommandContext) -> None:
    """Print shell lines that point vmops and govc at the lab: eval "$(vmops lab env)"."""
    require_server()
    settings = lab_settings(context.state_dir)
    with lab_errors():
        from vmops.lab import daemon  # noqa: PLC0415

        endpoint = daemon.start(settings)
    values = {
        "VMOPS_URL": endpoint.url,
        "VMOPS_USERNAME": endpoint.user_name,
        "VMOPS_PASSWORD_FILE": str(settings.password_file),
        "VMOPS_CA_FILE": str(endpoint.certificate_file),
        "GOVC_URL": endpoint.url,
        "GOVC_USERNAME": endpoint.user_name,
        "GOVC_TLS_CA_CERTS": str(endpoint.certificate_file),
    }
    for name, value in values.items():
        say(f"export {name}={shlex.quote(value)}")
    # The password itself stays in its file, out of the terminal's scrollback.
    say(f'export GOVC_PASSWORD="$(cat {shlex.quote(str(settings.password_file))})"')
