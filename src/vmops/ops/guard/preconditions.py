"""What keeps an instance from a change: it is rescued, resized, paused, or somebody works on it."""

from __future__ import annotations

from collections.abc import Mapping

from vmops import in_flight
from vmops.errors import Busy, InvalidPowerState, InvalidState
from vmops.model import extra_config
from vmops.model.power import PowerState
from vmops.ops.notes.resize import Phase, find_note

_RESIZE_WORDS = {
    Phase.PREPARING: "is in the middle of a resize. Resize it again, or revert the resize first.",
    Phase.RESIZED: "is resized, and not confirmed. Confirm or revert the resize first.",
    Phase.REVERTING: "is in the middle of reverting a resize. Revert it again first.",
}


def work_of_another(settings: Mapping[str, str]) -> in_flight.Work | None:
    """What another process is at, as ``extraConfig`` says; None if there is none."""
    marks = (settings.get(key, "") for key in (extra_config.OPERATION, extra_config.WORKER))
    return next(filter(None, map(in_flight.work_of_another, marks)), None)


def refuse_at_work(called: str, settings: Mapping[str, str]) -> None:
    """Let only instances through that no other process is working on.

    What a process left that died is no hindrance. Operations of this process are known otherwise.

    Raises:
        Busy: another one is at work; the message says at what, since when and where.
    """
    if (work := work_of_another(settings)) is not None:
        raise Busy(f"{called} is busy: {work}.")


def refuse_rescued(called: str, settings: Mapping[str, str]) -> None:
    """Let only instances through that are not rescued.

    ``called`` is the instance as messages name it, ``settings`` its VM's ``extraConfig``.

    Raises:
        InvalidState: it is rescued.
    """
    if settings.get(extra_config.RESCUE):
        raise InvalidState(f"{called} is rescued. Unrescue it first.")


def refuse_resized(called: str, settings: Mapping[str, str]) -> None:
    """Let only instances through that are in no phase of a resize.

    Raises:
        InvalidState: it is in one.
    """
    if (note := find_note(settings)) is not None:
        raise InvalidState(f"{called} {_RESIZE_WORDS[note.phase]}")


def refuse_suspended(called: str, settings: Mapping[str, str], power: PowerState | None) -> None:
    """Let only instances through that are on or off: powering off would lose their memory.

    Raises:
        InvalidState: it is paused.
        InvalidPowerState: it is suspended.
    """
    if power is not PowerState.SUSPENDED:
        return
    if settings.get(extra_config.PAUSED) == "1":
        raise InvalidState(f"{called} is paused. Unpause it first.")
    raise InvalidPowerState(f"{called} is suspended. Resume it first.")
