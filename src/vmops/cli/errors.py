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
130  interrupted; 143 terminated, 129 hung up
==== =====================================================
"""

from __future__ import annotations

import io
import re
import shlex
import signal
import traceback
from typing import Final

import click

from vmops import errors
from vmops.cli.terminal import say
from vmops.model.uuid_text import UUID_TEXT

# Most specific first.
EXIT_CODES: Final[tuple[tuple[type[BaseException], int], ...]] = (
    (errors.LeftBehind, 7),
    (errors.NotRescued, 4),
    (errors.NotResized, 4),
    (errors.ConsoleTypeUnavailable, 4),
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


# What the engine advises, and the command that does it. Most specific first.
COMMANDS: Final[tuple[tuple[str, str], ...]] = (
    ("Start it", "vmops start {name}"),
    ("Resume it", "vmops resume {name}"),
    ("Unpause it", "vmops unpause {name}"),
    ("Unrescue it", "vmops unrescue {name}"),
    ("Confirm or revert the resize", "vmops resize --confirm|--revert {name}"),
    ("Resize it again, or revert the resize", "vmops resize --revert {name}"),
    ("Revert it again", "vmops resize --revert {name}"),
)
_CALLED = re.compile(rf"Instance (?:(?P<name>\S.*?) \({UUID_TEXT}\)|(?P<uuid>{UUID_TEXT}))")
# What the server calls the task says nothing beside an error that names what is in the way.
_SELF_EVIDENT = errors.AlreadyExists


def exit_code(error: BaseException) -> int:
    """The exit code of an error."""
    return next((code for kind, code in EXIT_CODES if isinstance(error, kind)), 1)


def report(error: Exception) -> int:
    """Print the error and return its exit code."""
    if isinstance(error, OSError) and error.strerror:
        return _report_os_error(error)
    if not isinstance(error, errors.VMOpsError):
        say("".join(traceback.format_exception(error)), err=True, nl=False)
        say("Error: this is a fault of vmops itself; the lines above tell where.", err=True)
        return 1
    say(f"Error: {with_command(_plain(str(error)))}", err=True)
    notes = _notes(error)
    _print_notes(notes)
    advice = next((text for kind, text in ADVICE if isinstance(error, kind)), None)
    if advice and not notes:
        say(advice, err=True)
    return exit_code(error)


def report_usage(wrong: click.ClickException) -> None:
    """Print what is wrong with the command line, and how its command is used."""
    shown = io.StringIO()
    wrong.show(shown)
    say(shown.getvalue(), err=True, nl=False)


def with_command(message: str) -> str:
    """A message of the engine with the instance as people call it, and what to type.

    "Instance web1 (7e57...) is suspended. Resume it first." becomes "web1 is suspended. Resume it
    first: vmops resume web1".
    """
    found = _CALLED.search(message)
    if found is None:
        return message
    name = found["name"] or found["uuid"]
    message = _CALLED.sub(lambda each: each["name"] or each["uuid"], message)
    for advice, command in COMMANDS:
        at = message.find(advice)
        end = message.find(".", at)
        if at >= 0 and end >= 0:
            typed = command.format(name=shlex.quote(name))
            return f"{message[:end]}: {typed}{message[end + 1 :]}"
    return message


# Python's own texts have parts that say nothing to people: "[Errno 111] ...", "... (_ssl.c:2427)".
_NOISE = re.compile(r"\[Errno -?\d+\] | \(_ssl\.c:\d+\)")


def _plain(text: str) -> str:
    return _NOISE.sub("", text)


def _report_os_error(error: OSError) -> int:
    """This machine refused something; where it was the state folder, say how to choose another."""
    from vmops.cli.endpoint import state_dir  # noqa: PLC0415

    where = f": {error.filename}" if error.filename else ""
    say(f"Error: {error.strerror}{where}", err=True)
    folder = state_dir()
    if error.filename and str(error.filename).startswith(str(folder)):
        say(f"The state folder is {folder}; VMOPS_STATE_DIR sets another one.", err=True)
    return 1


def report_interrupt(interrupt: BaseException) -> int:
    """Print that the user interrupted, and what could not be undone."""
    interrupt = interrupt.__cause__ or interrupt  # click wraps it
    number = getattr(interrupt, "number", signal.SIGINT)
    say("Interrupted." if number == signal.SIGINT else "Terminated.", err=True)
    _print_notes(_notes(interrupt))
    if any(
        frame.f_code.co_name == "_undo" for frame, _ in traceback.walk_tb(interrupt.__traceback__)
    ):
        # A second one fell into the undoing after the first.
        say("Undoing was cut short. See what is left with: vmops audit", err=True)
    return 128 + number


def _notes(error: BaseException) -> list[str]:
    """What is noted on an error, but for what people can do nothing with."""
    notes = list(getattr(error, "__notes__", []))
    if isinstance(error, _SELF_EVIDENT):
        notes = [note for note in notes if not note.startswith("Task ")]
    return notes


def _print_notes(notes: list[str]) -> None:
    for note in notes:
        say(f"  {_plain(note)}", err=True)
    if any(note.startswith("Could not") for note in notes):
        say("  What is left can be found and removed with: vmops audit --fix", err=True)
