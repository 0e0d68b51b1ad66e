"""``vmops completion``."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from vmops.cli.shell_words import register
from vmops.cli.terminal import say


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the code that completes commands, options and names in a shell.

    For bash, add this to ~/.bashrc: eval "$(vmops completion bash)"
    """
    from vmops.cli.main import cli  # noqa: PLC0415 - the root imports this module

    register()
    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"There is no completion for {shell}.")
    say(kind(cli, {}, "vmops", "_VMOPS_COMPLETE").source())
