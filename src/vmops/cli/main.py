"""The command's root: a group whose commands are imported when they are called."""

from __future__ import annotations

import importlib
import os
import signal
import sys
from typing import Any

import click

from vmops.cli.help_text import HelpFormatter

click.Context.formatter_class = HelpFormatter

# name -> (module, attribute, one line of help). The help stands here so that `--help` imports none.
COMMANDS: dict[str, tuple[str, str, str]] = {
    "spawn": ("spawn", "spawn", "Create an instance from an image and start it."),
    "list": ("listing", "list_instances", "List the instances."),
    "show": ("listing", "show", "Show one instance in full."),
    "start": ("power", "start", "Power on, or resume if suspended."),
    "stop": ("power", "stop", "Power off."),
    "reboot": ("power", "reboot", "Reboot, by the guest if it can, by a reset otherwise."),
    "suspend": ("power", "suspend", "Suspend to disk."),
    "resume": ("power", "resume", "Go on where suspend stopped."),
    "pause": ("pause", "pause", "Stop the processors and keep the memory."),
    "unpause": ("pause", "unpause", "Go on where pause stopped."),
    "rescue": ("rescue", "rescue", "Boot from another image, with the own disk beside it."),
    "unrescue": ("rescue", "unrescue", "Boot from the own disk again."),
    "resize": ("resize", "resize", "Change size or place; then confirm or revert that."),
    "destroy": ("destroy", "destroy", "Destroy instances and their disks."),
    "console": ("console_group", "console", "Reach a guest's screen, its log, or a picture of it."),
    "diagnostics": ("diagnostics", "diagnostics", "Show what an instance uses and does now."),
    "interface": ("interface", "interface", "Attach, detach and list network interfaces."),
    "volume": ("volume", "volume", "Create, attach, detach and list volumes."),
    "screenshot": ("console", "screenshot", "Save a picture of the guest's screen."),
    "log": ("console", "log", "Print what the guest wrote to its serial port."),
    "snapshot": ("snapshot", "snapshot", "Make images of instances."),
    "migrate": ("migrate", "migrate", "Move a running instance to another host."),
    "image": ("image", "image", "Add, list and remove images."),
    "lab": ("lab", "lab", "Run a vSphere endpoint on this machine, with real guests."),
    "audit": ("audit", "audit", "Find what interrupted operations left behind."),
    "env": ("env", "env", "Show which endpoint and settings would be used, and why."),
    "doctor": ("doctor", "doctor", "Check what this machine lacks, and how to get it."),
    "completion": ("completion", "completion", "Print the shell code that completes names."),
}


class LazyGroup(click.Group):
    """A group that imports a command's module when the command is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command."""
        if cmd_name not in COMMANDS:
            return None
        module, attribute, _ = COMMANDS[cmd_name]
        command = getattr(importlib.import_module(f"vmops.cli.verbs.{module}"), attribute)
        assert isinstance(command, click.Command)  # noqa: S101 - tells the type checker
        _take_options_of(self, command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry[2]) for name, entry in COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Suggest the nearest name for one that is unknown."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as unknown:
            import difflib  # noqa: PLC0415 - only for a typing error

            near = difflib.get_close_matches(args[0], COMMANDS, n=1)
            if near:
                raise click.UsageError(f"{unknown.message} Did you mean {near[0]!r}?") from None
            raise


def _take_options_of(root: click.Group, command: click.Command) -> None:
    """Let the root's options stand behind the command, too, where people like to add them.

    They are not listed in the command's help, and one of its own options of the same name wins.
    """
    if isinstance(command, click.Group):
        for inner in command.commands.values():
            _take_options_of(root, inner)
        return
    taken = {option for param in command.params for option in param.opts}
    for option in root.params:
        if isinstance(option, click.Option) and option.expose_value:
            free = [one for one in option.opts if one not in taken]
            if free:
                command.params.append(_behind(option, free))


def _behind(option: click.Option, names: list[str]) -> click.Option:
    return click.Option(
        names,
        type=option.type,
        is_flag=option.is_flag,
        count=option.count,
        default=None,
        hidden=True,
        expose_value=False,
        callback=_override,
    )


def _override(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    """Take an option that stands behind the command for one that stands before it."""
    if value and ctx.obj is not None and param.name:
        ctx.obj.override(param.name, value)


def _version(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value:
        from vmops import __version__  # noqa: PLC0415
        from vmops.cli.terminal import say  # noqa: PLC0415

        say(f"vmops {__version__}")
        ctx.exit()


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Without VMOPS_URL or GOVC_URL the lab on this machine is used, and started if need be."
    " These options may also stand behind the command.",
)
@click.option("--url", metavar="URL", help="The vCenter or ESXi, such as https://vcenter/sdk.")
@click.option(
    "--username", metavar="NAME", help="The user who logs in. The password is never an option."
)
@click.option(
    "--ca-file", metavar="FILE", help="A file of certificates that the server's is checked by."
)
@click.option("--thumbprint", metavar="SHA256", help="The server's certificate, pinned.")
@click.option("--insecure", is_flag=True, default=None, help="Do not check the certificate.")
@click.option("--cluster", metavar="NAME", help="The cluster to work in, if there are several.")
@click.option(
    "-v", "--verbose", count=True, help="More on stderr; twice: every call to the server."
)
@click.option(
    "--progress",
    type=click.Choice(["auto", "plain", "json", "none"]),
    default="auto",
    show_default=True,
    help="How operations tell what they do, on stderr.",
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_version,
    help="Print it.",
)
@click.pass_context
def cli(ctx: click.Context, /, **options: Any) -> None:
    """Run virtual machines on VMware vSphere, or in a lab on this machine."""
    from vmops.cli.context import CommandContext  # noqa: PLC0415

    ctx.obj = CommandContext(options)
    ctx.call_on_close(ctx.obj.close)


class Terminated(KeyboardInterrupt):
    """The process is asked to end: as with Ctrl-C, what was done is taken back first."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


def _terminate(number: int, _frame: object) -> None:
    raise Terminated(number)


def _prepare() -> None:
    """Make signals undo what was done, closed streams harmless, and names words for a shell."""
    if "_VMOPS_COMPLETE" in os.environ:
        from vmops.cli.shell_words import register  # noqa: PLC0415 - only for the shell

        register()
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _terminate)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115
        # What an encoding lacks is shown as its escape: a name must not stop a command.
        if (reconfigure := getattr(getattr(sys, name), "reconfigure", None)) is not None:
            reconfigure(errors="backslashreplace")


def main() -> None:
    """Run the command; errors become one message and an exit code (see `vmops.cli.errors`)."""
    _prepare()
    try:
        cli.main(standalone_mode=False, prog_name="vmops")
        sys.stdout.flush()
    except click.exceptions.Exit as leave:
        sys.exit(leave.exit_code)
    except click.ClickException as wrong:
        from vmops.cli.errors import report_usage  # noqa: PLC0415 - help needs none of it

        report_usage(wrong)
        sys.exit(wrong.exit_code)
    except (click.Abort, KeyboardInterrupt) as interrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a third one must not spoil the report
        from vmops.cli.errors import report_interrupt  # noqa: PLC0415

        sys.exit(report_interrupt(interrupt))
    except Exception as error:  # noqa: BLE001 - the last frame: what is known becomes a message
        from vmops.cli.errors import report  # noqa: PLC0415

        code = report(error)
        _forget_output()
        sys.exit(code)


def _forget_output() -> None:
    """Where nobody can take what is left to print, do not try again at the interpreter's end."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


if __name__ == "__main__":
    main()
