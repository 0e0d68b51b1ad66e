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

# How long reads are repeated, in seconds: a restarting endpoint is back within that.
WINDOW_S = 10.0
_FIRST_DELAY_S = 0.1
_LONGEST_DELAY_S = 2.0

_SESSION = frozenset({"Login", "Logout"})
_REPEATABLE = frozenset({"CancelTask", "HttpNfcLeaseProgress"})
# One too many is in nobody's way, and ends with the session.
_OF_THE_SESSION = frozenset({"CreateContainerView"})


def is_idempotent(method: str) -> bool:
    """Whether doing it twice is the same as doing it once."""
    return is_read(method) or method in _REPEATABLE


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


def delays(window_s: float = WINDOW_S) -> Iterator[float]:
    """Seconds to wait before each repetition; their sum is ``window_s``."""
    delay, left = _FIRST_DELAY_S, window_s
    while left > 0:
        yield min(delay, left)
        left -= delay
        delay = min(delay * 2, _LONGEST_DELAY_S)


class Outage:
    """How long a server has been away, as all the threads of a session see it together.

    Reads share one window: an undo of ten steps must not wait ten times for a server that is gone.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._first: float | None = None
        self._last = 0.0

    def note_loss(self) -> None:
        """A call got no answer."""
        now = self._clock()
        # After a silence nobody knows whether it was away all the time.
        if self._first is None or now - self._last > WINDOW_S:
            self._first = now
        self._last = now

    def note_answer(self) -> None:
        """A call got an answer, be it a fault."""
        self._first = None

    def outlasts(self, delay_s: float) -> bool:
        """Whether in so many seconds the window for repeating will have passed."""
        return self._first is not None and self._clock() + delay_s - self._first > WINDOW_S
