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
TOOLS, ADDRESS = "tools", "ip"
"""Words of ``--wait-for``; anything else is looked for on the serial port."""
_POLL_S = 0.25
_TOOLS = "guest.toolsRunningStatus"
_INSTALLED = "guest.toolsVersionStatus2"
_ADDRESS = "guest.ipAddress"
_CARDS = "summary.config.numEthernetCards"
# A guest that shows a login has Tools that answer soon, if it has any, and then its address.
_TOOLS_GRACE_S = 2.0
_ADDRESS_GRACE_S = 10.0
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

    ``ready`` None: that its Tools answer, and with ``needs_address`` have told its address.
    ``by_tools``: that its Tools answer will do, too.
    """

    ready: re.Pattern[str] | None
    timeout_s: float
    by_tools: bool = True
    needs_address: bool = False


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
            case Until.BOOTED if patience.ready is None:
                do(guest_reports(context, found, patience))
            case Until.BOOTED:
                do(guest_booted(context, found, before, patience))
                if patience.by_tools:
                    do(first_report(context, found))
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
    assert patience.ready is not None  # noqa: S101 - else Tools alone are asked
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


@step("Wait for the guest's Tools")
def guest_reports(context: CommandContext, found: Found, patience: Patience) -> Reversible[None]:
    """See its Tools answer, and tell an address if that is wanted."""
    what = "got no address" if patience.needs_address else "has no Tools that answered"
    for _ in _ticks(patience, f"The guest {what}", found):
        values = _read(context, found, _TOOLS, _ADDRESS)
        if values.get(_TOOLS) == "guestToolsRunning" and (
            values.get(_ADDRESS) or not patience.needs_address
        ):
            break
    yield


@step("Wait for the guest's first report")
def first_report(context: CommandContext, found: Found) -> Reversible[None]:
    """Let a guest that has Tools tell its address, so that who looks next sees it.

    What has none, or no NIC, is not waited for; that it does not tell one is no failure.
    """
    begin = time.monotonic()
    end = begin + _TOOLS_GRACE_S
    while time.monotonic() < end:
        values = _read(context, found, _TOOLS, _ADDRESS, _CARDS)
        if values.get(_ADDRESS) or not values.get(_CARDS, 1):
            break
        if values.get(_TOOLS) == "guestToolsRunning":
            end = begin + _ADDRESS_GRACE_S
        time.sleep(_POLL_S)
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
