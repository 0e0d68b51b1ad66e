"""What every method does to an instance in every state, as a table.

A column is a state, a row a method. A cell is

====== =====================================================================================
``=``      it works, and the instance is as before
``*``      it works, and changed the instance, whose power state is as before
``on`` ``off`` ``susp``  it works, and this is the instance's power state now
``gone``   it works, and there is no instance any more
``!name``  it is refused as `REFUSALS` says, and everything is as before
====== =====================================================================================
"""

from __future__ import annotations

from dataclasses import dataclass

from vmops import errors

# The states, in the words of the columns:
#   off, running, suspended, paused
#   rescued      it runs from the rescue disk
#   resizing     the process died in the middle of a resize: it is off, and of its old size
#   resized      it runs with its new size, which is not confirmed
#   destroying   another thread is about to remove it
#   unknown      there is none of this UUID
#   lost         its host is not connected
#   unreadable   its files cannot be read
TABLE = """
method               off      running    suspended  paused   rescued   resizing   resized   destroying unknown lost   unreadable
list_instances       =        =          =          =        =         =          =         =          =       =      =
get_info             =        =          =          =        =         =          =         =          !none   =      =
get_diagnostics      =        =          =          =        =         =          =         =          !none   =      =
typed_diagnostics    =        =          =          =        =         =          =         =          !none   =      !files
get_console_output   =        =          =          =        =         =          =         =          !none   =      !files
screenshot           !off     =          !susp      !paused  =         !off       =         =          !none   =      !files
get_vnc_console      !noscr   =          !noscr     !noscr   =         !noscr     =         =          !none   !host  !noscr
vnc_console_vcenter  !noscr   =          !noscr     !noscr   =         !noscr     =         =          !none   !host  !noscr
spawn                !exists  !exists    !exists    !exists  !exists   !exists    !exists   !busy      on      !host  !files
power_on             on       =          on         on       =         on         =         !busy      !none   !host  !files
power_off            =        off        !susp      !paused  off       =          off       !busy      !none   !host  !files
reboot_soft          !off     on         !susp      !paused  on        !off       on        !busy      !none   !host  !files
reboot_hard          !off     on         !susp      !paused  on        !off       on        !busy      !none   !host  !files
poll_rebooting       =        on         =          =        on        =          on        =          =       =      =
suspend              !off     susp       =          !paused  !rescued  !resizing  !resized  !busy      !none   !host  !files
resume               !off     !running   on         !paused  !running  !off       !running  !busy      !none   !host  !files
pause                !off     susp       !susp      =        !rescued  !resizing  !resized  !busy      !none   !host  !files
unpause              !off     !running   !susp      on       !running  !off       !running  !busy      !none   !host  !files
rescue               on       on         !susp      !paused  !rescued  !resizing  !resized  !busy      !none   !host  !files
unrescue             !norescue !norescue !norescue  !norescue on       !norescue  !norescue !busy      !none   !host  !files
plug_vifs            *        *          !susp      !paused  *         *          *         !busy      !none   !host  !files
unplug_vifs          *        *          !susp      !paused  *         *          *         !busy      !none   !host  !files
attach_interface     *        *          !susp      !paused  *         *          *         !busy      !none   !host  !files
detach_interface     *        *          !susp      !paused  *         *          *         !busy      !none   !host  !files
inject_network_info  *        *          *          *        *         *          *         !busy      !none   !host  !files
attach_volume        *        *          !susp      !paused  !rescued  *          *         !busy      !none   !host  !files
detach_volume        *        *          !susp      !paused  !rescued  *          *         !busy      !none   !host  !files
snapshot             =        =          =          =        =         =          =         !busy      !none   !host  !files
live_migration       !off     *          !susp      !paused  *         !off       *         !busy      !none   !host  !files
migrate_and_off      *        off        !susp      !paused  !rescued  *          !resized  !busy      !none   !host  !files
finish_migration     !noresize !noresize !noresize  !noresize !noresize !resizing =         !busy      !none   !host  !files
confirm_migration    =        =          =          =        =         !resizing  *         !busy      =       !host  !files
revert_migration     !noresize !noresize !noresize  !noresize !noresize on        on        !busy      !none   !host  !files
destroy              gone     gone       gone       gone     gone      gone       gone      !busy      =       !host  !files
"""  # noqa: E501 - a table


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error's class, and what its message says: the state, and what to do about it."""

    kind: type[errors.VMOpsError]
    state: str
    advice: str = ""


_POWER, _STATE = errors.InvalidPowerState, errors.InvalidState

REFUSALS = {
    "off": Refusal(_POWER, "is powered off", "Start it first"),
    "running": Refusal(_POWER, "is running", "nothing to"),
    "susp": Refusal(_POWER, "is suspended", "Resume it first"),
    "paused": Refusal(errors.Conflict, "is paused", "Unpause it first"),
    "rescued": Refusal(_STATE, "is rescued", "Unrescue it first"),
    "resizing": Refusal(_STATE, "in the middle of a resize", "revert the resize first"),
    "resized": Refusal(_STATE, "is resized, and not confirmed", "Confirm or revert"),
    "busy": Refusal(errors.Busy, "destroy has been running since"),
    "none": Refusal(errors.InstanceNotFound, "There is no instance"),
    "exists": Refusal(errors.InstanceExists, "There is an instance", "not touched"),
    "host": Refusal(_STATE, "its host .* is not connected", "Reconnect the host first"),
    "files": Refusal(_STATE, "its files cannot be read", "datastore"),
    "noscr": Refusal(
        errors.ConsoleTypeUnavailable,
        "is (powered off|suspended|paused|inaccessible)",
        "(Start|Resume|Unpause) it first|its files cannot be read",
    ),
    "norescue": Refusal(errors.NotRescued, "is not rescued", "nothing to"),
    "noresize": Refusal(errors.NotResized, "is not being resized", "nothing to"),
}


@dataclass(frozen=True, slots=True)
class Part:
    """The cells that some states and some methods have together."""

    states: frozenset[str]
    methods: frozenset[str]


# What a single ESXi has not: states and methods.
OF_A_VCENTER = frozenset({"live_migration", "lost"})
# What can be brought about from outside at any endpoint, also at one that takes power operations in
# a wrong state.
SIMPLE = Part(
    states=frozenset({"off", "running", "unknown"}),
    methods=frozenset(
        {
            "list_instances",
            "get_info",
            "get_diagnostics",
            "typed_diagnostics",
            "get_console_output",
            "spawn",
            "power_on",
            "power_off",
            "resume",
            "pause",
            "unpause",
            "unrescue",
            "plug_vifs",
            "attach_interface",
            "inject_network_info",
            "migrate_and_off",
            "finish_migration",
            "confirm_migration",
            "revert_migration",
            "destroy",
        }
    ),
)


def cells() -> dict[tuple[str, str], str]:
    """The table by (state, method), one state after the other."""
    head, *rows = (line.split() for line in TABLE.strip().splitlines())
    _, *states = head
    for row in rows:
        assert len(row) == len(head), row
    return {(state, row[0]): row[column + 1] for column, state in enumerate(states) for row in rows}
