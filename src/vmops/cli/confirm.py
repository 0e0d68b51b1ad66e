"""Asking before something is deleted for good."""

from __future__ import annotations

import sys

import click

yes_option = click.option("-y", "--yes", is_flag=True, help="Do not ask.")


def ask(question: str, purpose: str) -> None:
    """Ask, and end the command unless the answer is yes.

    Raises:
        click.UsageError: nobody is there to ask; ``purpose`` is what --yes is to be said for.
        click.Abort: the answer is no.
    """
    if not sys.stdin.isatty():
        raise click.UsageError(f"Nobody is there to ask: say --yes to {purpose}.")
    click.confirm(question, abort=True, err=True)
