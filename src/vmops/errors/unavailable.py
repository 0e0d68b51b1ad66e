"""What is normally there did not answer. See `vmops.errors` for the tree."""

from __future__ import annotations

from vmops.errors.base import VMOpsError


class Unavailable(VMOpsError):
    """Something that is normally there did not answer; trying again later may help."""


class ConnectionLost(Unavailable):
    """The server cannot be reached or went away; a change may or may not have happened."""


class TimedOut(Unavailable):
    """A deadline passed; the task was asked to stop."""


UNANSWERED: tuple[type[BaseException], ...] = (
    ConnectionLost,
    TimedOut,
    KeyboardInterrupt,
    SystemExit,
)
"""What leaves open whether a change has happened: who undoes must look."""


class SessionOverload(Unavailable):
    """The server has too many sessions or requests."""


class ToolsUnavailable(Unavailable):
    """The guest runs no VMware Tools, so it cannot be asked."""


class QuiesceFailed(Unavailable):
    """The guest could not be brought to hold its writes for a snapshot."""


class ConsoleTypeUnavailable(Unavailable):
    """The instance has no such console now."""
