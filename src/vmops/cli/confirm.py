"""Asking before something is deleted for good."""

from __future__ import annotations

import sys

import click

from vmops.cli.terminal import confirm

yes_option = click.option("-y", "--yes", is_flag=True, help="Do not ask.")


def ask(question: str, purpose: str) -> None:
    """Ask, and end the command unless the answer is yes.

    Raises:
        click.UsageError: there is no terminal; ``purpose`` is what --yes allows.
        click.Abort: the answer is no.
    """
    if not sys.stdin.isatty():
        raise click.UsageError(f"No terminal to confirm on: add --yes to {purpose}.")
    confirm(question)
