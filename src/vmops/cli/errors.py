"""From an error to one message on stderr and a stable exit code.

==== =====================================================
code meaning
==== =====================================================
0    done
1    failed for a reason without a code of its own
2    the command line or what it names makes no sense
3    something named does not exist
4    the state of things does not allow it
5    not logged in, not allowed, or the server is not trusted
6    a deadline passed, or the server cannot be reached
7    done in part: something is left behind
130  interrupted
==== =====================================================
"""

from __future__ import annotations

import traceback
from typing import Final

import click

from vmops import errors

# Most specific first.
EXIT_CODES: Final[tuple[tuple[type[BaseException], int], ...]] = (
    (errors.LeftBehind, 7),
    (errors.NotFound, 3),
    (errors.Conflict, 4),
    (errors.Refused, 5),
    (errors.Unavailable, 6),
    (errors.Invalid, 2),
    (errors.VMOpsError, 1),
)

# What to do, where the message itself cannot know.
ADVICE: Final[tuple[tuple[type[BaseException], str], ...]] = (
    (errors.LeftBehind, "Try again with: vmops audit --fix"),
    (errors.InstanceNotFound, "See what there is with: vmops list"),
    (errors.ImageNotFound, "See what there is with: vmops image list"),
    (errors.ConnectionLost, "See what would be used with: vmops env"),
    (errors.InvalidLogin, "Set VMOPS_USERNAME and VMOPS_PASSWORD (or VMOPS_PASSWORD_FILE)."),
    (errors.NoDiskSpace, "Free space on the datastore, or choose another with --datastore."),
    (errors.DuplicateName, "Choose another name, or destroy the instance that has it."),
)


def exit_code(error: BaseException) -> int:
    """The exit code of an error."""
    return next((code for kind, code in EXIT_CODES if isinstance(error, kind)), 1)


def report(error: Exception) -> int:
    """Print the error and return its exit code."""
    if not isinstance(error, errors.VMOpsError):
        if isinstance(error, OSError) and error.filename:
            click.echo(f"Error: {error.strerror}: {error.filename}", err=True)
            return 1
        traceback.print_exception(error)
        click.echo("Error: this is a fault of vmops itself; the lines above tell where.", err=True)
        return 1
    click.echo(f"Error: {error}", err=True)
    _print_notes(error)
    advice = next((text for kind, text in ADVICE if isinstance(error, kind)), None)
    if advice:
        click.echo(advice, err=True)
    return exit_code(error)


def report_interrupt(interrupt: BaseException) -> int:
    """Print that the user interrupted, and what could not be undone."""
    click.echo("Interrupted.", err=True)
    _print_notes(interrupt)
    return 130


def _print_notes(error: BaseException) -> None:
    notes = getattr(error, "__notes__", [])
    for note in notes:
        click.echo(f"  {note}", err=True)
    if any(note.startswith("Could not") for note in notes):
        click.echo("  What is left can be found and removed with: vmops audit --fix", err=True)
