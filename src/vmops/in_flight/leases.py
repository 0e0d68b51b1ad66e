"""Leases: what an owner renews while its operation is under way, and asks before each change.

The leases of an operation are a stack, by context. Renewals come from one thread for each group of
leases (a session's), which is there only while there are some; an operation that is shorter than
`RENEW_S` renews nothing.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextvars import Context, ContextVar

from vmops.context import current, operation
from vmops.errors import Busy, FileNotFound, LeaseLost, ManagedObjectNotFound, VMOpsError
from vmops.in_flight import marks
from vmops.in_flight.keeping import KEEPERS
from vmops.in_flight.timing import TIMING, owners_clock

log = logging.getLogger(__name__)

# How often a renewal is tried again that could not be made, as a part of the time between two.
_RETRY_PART = 10
_held: ContextVar[tuple[Lease, ...]] = ContextVar("held", default=())


class Lease:
    """One thing that an operation has for itself, renewed while it is held; see `holding`.

    ``replace(old, new)`` changes the mark by a change that only one can win. It raises `LeaseLost`
    if the mark is not ``old``, ``ManagedObjectNotFound`` or ``FileNotFound`` if the thing is gone,
    `Busy` if that cannot be now, with the mark as it was. ``text`` is the mark as it stands there,
    "" where the first renewal will write it.
    """

    def __init__(
        self,
        thing: str,
        name: str,
        replace: Callable[[str, str], None],
        *,
        text: str = "",
        since: float | None = None,
        group: object = None,
    ) -> None:
        """``since``: when ``text`` was written, by `owners_clock`; None is now."""
        self.thing = thing
        self.operation = name
        self.text = text
        self.group = group
        self.lost: LeaseLost | None = None
        self.has_ended = False
        self._may_be_off = False
        self._tried: set[str] = set()
        self._replace = replace
        self._lock = threading.RLock()
        self._renewed_at = owners_clock() if since is None else since
        self._try_at = time.monotonic() + TIMING.renew_s

    def __repr__(self) -> str:
        return f"<Lease of {self.thing} for {self.operation}>"

    def due_in_s(self) -> float:
        """Seconds until it should be renewed."""
        return self._try_at - time.monotonic()

    def renew_when_free(self) -> None:
        """Renew it, unless the operation is at work on the thing itself. Raises nothing."""
        if not self._lock.acquire(blocking=False):
            self._try_at = time.monotonic() + TIMING.renew_s / _RETRY_PART
            return
        try:
            self._renew()
        except (VMOpsError, OSError) as failure:
            log.debug("%s: %s", self, failure)
        except Exception:
            log.exception("%s cannot be renewed", self)
        finally:
            self._lock.release()

    def check(self) -> None:
        """Go on only if the thing is still this operation's.

        That is known while it was renewed lately; otherwise it is made sure of now.

        Raises:
            LeaseLost: another one has taken it.
            VMOpsError: it cannot be made sure of.
        """
        if self.has_ended:
            return
        if self.lost is not None:
            raise self._lost_again()
        if owners_clock() - self._renewed_at < TIMING.late_s:
            return
        with self._lock, contextlib.suppress(Busy):  # the mark was seen to be its own just now
            if owners_clock() - self._renewed_at >= TIMING.late_s:
                self._renew()
        if self.lost is not None:
            raise self._lost_again()

    @contextlib.contextmanager
    def at_work(self) -> Iterator[None]:
        """Nothing is renewed inside: the thing takes one change at a time."""
        with self._lock:
            yield

    @contextlib.contextmanager
    def ending(self) -> Iterator[None]:
        """What is done inside takes the mark off: when that is done there is no lease any more."""
        with self._lock:
            self._may_be_off = True  # also if no answer comes
            yield
            self.has_ended = True

    def take_off(self) -> None:
        """End it, and take its mark off if it was ever written.

        Raises:
            LeaseLost: another one has taken it.
            VMOpsError: the mark could not be taken off; it expires by itself.
        """
        with self.ending():
            if self.text or self._tried:
                self._put("")

    def _renew(self) -> None:
        if self.has_ended or self.lost is not None:
            return
        new = marks.mark(self.operation)
        began = owners_clock()
        self._try_at = time.monotonic() + TIMING.renew_s / _RETRY_PART
        try:
            # In a context of its own: the operation's deadline, observer and leases are not its.
            Context().run(self._renew_to, new)
        except LeaseLost as lost:
            if self._may_be_off and not lost.now and began - self._renewed_at < TIMING.lease_s:
                self.has_ended = True  # too early for anybody to have taken it: it was this one
                return
            self.lost = lost
            raise
        except (ManagedObjectNotFound, FileNotFound) as gone:
            self.lost = LeaseLost(self.thing, self.operation)
            raise self.lost from gone
        except VMOpsError as failure:
            log.warning("The mark of %s on %s is not renewed: %s", *self._told, failure)
            raise
        self._renewed_at = began
        self._try_at = time.monotonic() + TIMING.renew_s

    def _renew_to(self, new: str) -> None:
        with operation("renew", observe=lambda event: None, task_deadline_s=TIMING.late_s):
            self._put(new)

    def _put(self, new: str) -> None:
        """Change the mark from what it is, which an earlier change may have made without answer."""
        tried, self._tried = self._tried, {*self._tried, new}
        try:
            self._replace(self.text, new)
        except LeaseLost as lost:
            if lost.now and lost.now in tried:
                self._replace(lost.now, new)
            elif lost.now and not self.text:
                raise Busy(f"{self.thing} is marked by another: {lost.now}.") from lost
            else:
                raise
        self.text, self._tried = new, set()

    @property
    def _told(self) -> tuple[str, str]:
        return self.operation, self.thing

    def _lost_again(self) -> LeaseLost:
        assert self.lost is not None  # noqa: S101 - whoever calls has looked
        return LeaseLost(*self.lost.args)


@contextlib.contextmanager
def holding(lease: Lease) -> Iterator[Lease]:
    """Hold a lease for what is inside, and for what comes after it in the same context."""
    _held.set((*_held.get(), lease))
    KEEPERS.add(lease)
    try:
        yield lease
    finally:
        KEEPERS.drop(lease)
        # By value: a step that is left to the garbage collector ends in another context.
        _held.set(tuple(each for each in _held.get() if each is not lease))


def check() -> None:
    """Go on with a change only if all that the operation has for itself is still its own.

    What is taken back is one step's own: only the innermost lease is asked for then.

    Raises:
        LeaseLost: another one has taken it.
        VMOpsError: it cannot be made sure of.
    """
    held = _held.get()
    for lease in held[-1:] if current().is_undoing else held:
        lease.check()


@contextlib.contextmanager
def at_work() -> Iterator[None]:
    """Nothing that the operation holds is renewed inside."""
    with contextlib.ExitStack() as stack:
        for lease in _held.get():
            stack.enter_context(lease.at_work())
        yield


@contextlib.contextmanager
def ending() -> Iterator[None]:
    """What is done inside takes off the mark of the innermost lease, if there is one."""
    with contextlib.ExitStack() as stack:
        if held := _held.get():
            stack.enter_context(held[-1].ending())
        yield
