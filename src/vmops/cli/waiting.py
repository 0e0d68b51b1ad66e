"""``--wait``: until a guest is up, or its instance is in the state that a verb brings it to."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from vmops.context import operation
from vmops.errors import NotSupported, TimedOut
from vmops.model.power import PowerState
from vmops.steps import Operation, Reversible, step

if TYPE_CHECKING:
    from vmops.cli.context import CommandContext
    from vmops.cli.instances import Found

READY = r"login:"
_POLL_S = 0.25
_TOOLS = "guest.toolsRunningStatus"
_INSTALLED = "guest.toolsVersionStatus2"
_POWER = "runtime.powerState"
_KEPT = 64 * 1024


class Until(Enum):
    """What ``--wait`` waits for."""

    DONE = "Without effect, as in openstack: it always waits."
    BOOTED = "Wait until the guest is up: its serial port shows so, or its Tools answer."
    GOES_ON = "Wait until the guest goes on: it runs, and its Tools answer if it has any."
    OFF = "Wait until it is powered off."
    SUSPENDED = "Wait until it is suspended."


@dataclass(frozen=True, slots=True, kw_only=True)
class Before:
    """How an instance was before a verb; ``state`` None: it was not there.

    ``log`` gives what the guest writes to its serial port from then on; None if it has no such.
    """

    state: PowerState | None
    log: Iterator[bytes] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """What a guest shows when it is up, and how many seconds it may take.

    ``by_tools``: that its Tools answer will do, too.
    """

    ready: re.Pattern[str]
    timeout_s: float
    by_tools: bool


def look_before(context: CommandContext, found: Found) -> Before:
    """Look at an instance before something is done to it."""
    from vmops.ops.instances.console import follow_serial_log  # noqa: PLC0415
    from vmops.vsphere.objects.lookup import with_vm  # noqa: PLC0415

    follower = follow_serial_log(context.session, found.uuid, 0)
    log: Iterator[bytes] | None = follower
    try:
        next(follower)
    except NotSupported:
        log = None
    state = with_vm(context.session, found.uuid, lambda vm: vm.power_state())
    return Before(state=state, log=log)


def new_instance(context: CommandContext, found: Found) -> Before:
    """The same for an instance that was just made: its log from the beginning."""
    from vmops.ops.instances.console import MAX_LOG_BYTES, follow_serial_log, serial_log_path  # noqa: PLC0415

    try:
        serial_log_path(context.session, found.uuid)
    except NotSupported:
        return Before(state=None, log=None)
    return Before(state=None, log=follow_serial_log(context.session, found.uuid, MAX_LOG_BYTES))


def wait_until(
    context: CommandContext, found: Found, until: Until, before: Before, patience: Patience
) -> None:
    """Wait.

    Raises:
        TimedOut: it did not come to it in time; the instance is left as it is.
    """
    if until is Until.BOOTED and before.state is PowerState.SUSPENDED:
        until = Until.GOES_ON
    with operation("wait", observe=context.observer), Operation("wait") as do:
        match until:
            case Until.BOOTED:
                do(guest_booted(context, found, before, patience))
            case Until.GOES_ON:
                do(guest_goes_on(context, found, patience))
            case Until.OFF:
                do(instance_is(context, found, PowerState.POWERED_OFF, patience))
            case Until.SUSPENDED:
                do(instance_is(context, found, PowerState.SUSPENDED, patience))
            case Until.DONE:
                pass


@step("Wait for the guest")
def guest_booted(
    context: CommandContext, found: Found, before: Before, patience: Patience
) -> Reversible[None]:
    """Follow the serial log, and see its Tools come up; those of before do not count."""
    seen, was_down = "", before.state is not PowerState.POWERED_ON
    nor = ", nor did its Tools answer," if patience.by_tools else ""
    shown = f"show {patience.ready.pattern!r} on its serial port{nor}"
    for _ in _ticks(patience, f"The guest did not {shown}", found):
        for block in before.log or ():
            seen = (seen + block.decode("utf-8", "replace"))[-_KEPT:]
            if not block:
                break
        if patience.ready.search(seen):
            break
        if not patience.by_tools:
            continue
        runs = _read(context, found, _TOOLS).get(_TOOLS) == "guestToolsRunning"
        if runs and was_down:
            break
        was_down = was_down or not runs
    yield


@step("Wait for the guest")
def guest_goes_on(context: CommandContext, found: Found, patience: Patience) -> Reversible[None]:
    """See it run, and its Tools answer."""
    for _ in _ticks(patience, "The guest did not go on", found):
        values = _read(context, found, _POWER, _TOOLS, _INSTALLED)
        has_tools = values.get(_INSTALLED) not in {None, "guestToolsNotInstalled"}
        if values.get(_POWER) == PowerState.POWERED_ON and (
            not has_tools or values.get(_TOOLS) == "guestToolsRunning"
        ):
            break
    yield


@step("Wait for the state")
def instance_is(
    context: CommandContext, found: Found, wanted: PowerState, patience: Patience
) -> Reversible[None]:
    """See it in the state that is wanted."""
    for _ in _ticks(patience, f"The instance did not become {wanted}", found):
        if _read(context, found, _POWER).get(_POWER) == wanted:
            break
    yield


def _read(context: CommandContext, found: Found, *paths: str) -> dict[str, object]:
    from vmops.vsphere.objects.lookup import with_vm  # noqa: PLC0415

    return with_vm(context.session, found.uuid, lambda vm: vm.read(*paths))


def _ticks(patience: Patience, failed: str, found: Found) -> Iterator[None]:
    """A tick for each look, until the time is over.

    Raises:
        TimedOut: it is over.
    """
    deadline = time.monotonic() + patience.timeout_s
    yield
    while time.monotonic() < deadline:
        time.sleep(_POLL_S)
        yield
    raise TimedOut(
        f"{failed} within {patience.timeout_s:g} s. The instance runs on;"
        f" see: vmops log {found.name}"
    )
