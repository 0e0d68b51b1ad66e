"""What keeps an instance from a change: it is rescued, resized, paused, or somebody works on it."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from vmops import in_flight
from vmops.errors import Busy, InvalidPowerState, InvalidState, LeaseLost
from vmops.in_flight import Judgment, Verdict
from vmops.model import extra_config
from vmops.model.power import PowerState
from vmops.ops.guard.vm_marks import replace_mark
from vmops.ops.notes.resize import Phase, find_note
from vmops.vsphere.objects.recent_tasks import running_tasks
from vmops.vsphere.objects.virtual_machine import VirtualMachine

log = logging.getLogger(__name__)

_RESIZE_WORDS = {
    Phase.PREPARING: "is in the middle of a resize. Resize it again, or revert the resize first.",
    Phase.RESIZED: "is resized, and not confirmed. Confirm or revert the resize first.",
    Phase.REVERTING: "is in the middle of reverting a resize. Revert it again first.",
}


def marks_of(settings: Mapping[str, str]) -> dict[str, Judgment]:
    """What is known of the marks in a VM's ``extraConfig``, by their keys."""
    return {
        key: in_flight.judge(in_flight.Mark.parse(settings[key]))
        for key in (extra_config.OPERATION, extra_config.WORKER)
        if settings.get(key)
    }


def is_at_rest(judgment: Judgment) -> bool:
    """Whether a mark need not be taken: it is this process's own, or nobody's already."""
    return judgment.mark.owner in {in_flight.owner(), in_flight.NOBODY}


def refuse_at_work(called: str, settings: Mapping[str, str]) -> None:
    """Let only instances through that no other process is working on.

    What was given up is no hindrance. Operations of this process are known otherwise.

    Raises:
        Busy: another one is at work, or may be; the message says at what, who, and what to do.
    """
    for judgment in marks_of(settings).values():
        if judgment.is_of_another:
            raise Busy(_busy(called, judgment))


def _busy(called: str, judgment: Judgment) -> str:
    mark = judgment.mark
    said = f"{called} is busy: {mark.operation} is under way, by {mark.owner or 'an unknown owner'}"
    if judgment.verdict is Verdict.ALIVE:
        return f"{said} (process {mark.pid} of this machine, which lives). Wait for it to end."
    known = f" If its owner is known to be dead: vmops audit --fix --owner {mark.owner}"
    return (
        f"{said}; its mark was seen to stand still for {judgment.still_s:.0f} s so far, and is"
        f" given up after {in_flight.TIMING.lease_s:.0f} s. Wait for it to end, or watch it until"
        f" then with: vmops audit --fix.{known if mark.owner else ''}"
    )


def pass_over_marks(vm: VirtualMachine, called: str, settings: Mapping[str, str]) -> bool:
    """Take what was given up, so that nobody goes on with it; say whether there was anything.

    A VM whose spawn was given up stays marked as that.

    Raises:
        Busy: somebody else is at work, or took it at the same time, or a task runs on the VM.
    """
    refuse_at_work(called, settings)
    taken = False
    for key, judgment in marks_of(settings).items():
        if not is_at_rest(judgment):
            take_mark(vm, key, judgment, called)
            taken = True
    return taken


def take_mark(vm: VirtualMachine, key: str, judgment: Judgment, called: str) -> str:
    """Take the mark of work that was given up, by a change that only one can win.

    A spawn's becomes nobody's, any other is taken off. Returns the mark that is there now.

    Raises:
        Busy: its owner has renewed it, another one was faster, or the server works on the VM.
    """
    mark = judgment.mark
    if judgment.verdict is Verdict.EXPIRED and running_tasks(vm.session, vm.moref):
        in_flight.see_alive(mark)
        raise Busy(f"{called} is busy: a task runs on it, so its {mark.operation} is not over.")
    new = in_flight.nobodys_mark(mark.operation) if key == extra_config.OPERATION else ""
    try:
        replace_mark(vm, key, mark.text, new)
    except LeaseLost as lost:
        raise Busy(
            f"{called} is busy: its {mark.operation} was renewed, or taken by another, just now."
        ) from lost
    log.warning("%s: %s was given up (%s)", called, mark.operation, judgment.why)
    return new


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


def refuse_template(called: str, *, is_template: bool) -> None:
    """Let only virtual machines through: a template is what somebody means to keep.

    Raises:
        InvalidState: it is one.
    """
    if is_template:
        raise InvalidState(f"{called} is a template. Make it a virtual machine again first.")


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
