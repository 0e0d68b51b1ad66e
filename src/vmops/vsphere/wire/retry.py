"""What is tried again, and why that is safe.

A call that may change something is never repeated on a lost connection: it may have taken effect,
and a second CloneVM makes a second VM. Such a loss is raised as `ConnectionLost`, so that the
operation can look first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from vmops.errors import Busy, ConnectionLost, NotAuthenticated, SessionOverload, VMOpsError
from vmops.vsphere.wire.coherence import is_read

_FIRST_DELAY_S = 0.1
_LONGEST_DELAY_S = 2.0

_SESSION = frozenset({"Login", "Logout"})
_REPEATABLE = frozenset({"CancelTask", "HttpNfcLeaseProgress"})
# One too many is in nobody's way, and ends with the session.
_OF_THE_SESSION = frozenset({"CreateContainerView"})


def is_idempotent(method: str) -> bool:
    """Whether doing it twice is the same as doing it once."""
    return is_read(method) or method in _REPEATABLE


def leaves_nothing(method: str) -> bool:
    """Whether nobody has to find out what became of a call without an answer."""
    others = _OF_THE_SESSION | _SESSION | {"ContinueRetrievePropertiesEx"}
    return is_idempotent(method) or method in others


class RetryAction(StrEnum):
    """What to do about an error."""

    RAISE = "raise"
    LOGIN_AGAIN = "log in again, once, and repeat"
    BACK_OFF = "wait and repeat"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    error: type[VMOpsError]
    applies_to: Callable[[str], bool]
    action: RetryAction
    why: str


TABLE: tuple[Row, ...] = (
    Row(
        NotAuthenticated,
        lambda method: method not in _SESSION,
        RetryAction.LOGIN_AGAIN,
        "The session expired or the server restarted; it refused before it did anything.",
    ),
    Row(
        ConnectionLost,
        lambda method: is_read(method) or method in _OF_THE_SESSION,
        RetryAction.BACK_OFF,
        "A read leaves nothing behind, so asking again is safe whatever became of the first.",
    ),
    Row(
        SessionOverload,
        is_idempotent,
        RetryAction.BACK_OFF,
        "The server asks to come later; a proxy in front of it may have passed the call on.",
    ),
    Row(Busy, is_idempotent, RetryAction.BACK_OFF, "Another task holds the object for a moment."),
)


def action_for(error: VMOpsError, method: str) -> RetryAction:
    """What the table says to do after this error of this method."""
    for row in TABLE:
        if isinstance(error, row.error) and row.applies_to(method):
            return row.action
    return RetryAction.RAISE


def delays(window_s: float) -> Iterator[float]:
    """Seconds to wait before each repetition; their sum is ``window_s``."""
    delay, left = _FIRST_DELAY_S, window_s
    while left > 0:
        yield min(delay, left)
        left -= delay
        delay = min(delay * 2, _LONGEST_DELAY_S)
