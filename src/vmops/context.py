"""What all that an operation does has in common, set once where the operation begins.

Its id travels in the ``operationID`` header of every call, which vCenter, ESXi and the lab write
into their logs and into the tasks they start. A thread that an operation starts has to be run in
`contextvars.copy_context`, or it belongs to none.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace

from vmops.errors import Preempted
from vmops.progress import Event, Observer, log_event

UNDO_AT_LEAST_S = 60.0
"""How long a task may take that takes something back, however short the deadline is."""


FORGOTTEN_AFTER_S = 60.0
"""How long nothing must have happened until earlier troubles count no more."""


class Troubles:
    """What an operation has spent on waiting for a server that did not answer.

    There is one budget for all of it, and the undo has what is left: ten calls of which each is
    repeated for as long as one may be would take ten times as long.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._spent_s = 0.0
        self._last = 0.0

    def add(self, seconds: float) -> float:
        """Count more, and return what was spent, which after a quiet minute is counted anew."""
        now = time.monotonic()
        with self._lock:
            if now - self._last - seconds > FORGOTTEN_AFTER_S:
                self._spent_s = 0.0
            self._last = now
            self._spent_s += seconds
            return self._spent_s


class Preemption:
    """A wish that an operation stop. It is heard once: what cleans up then goes on undisturbed."""

    def __init__(self) -> None:
        self._asked = threading.Event()
        self._heard = threading.Lock()

    def ask(self) -> None:
        """Ask the operation to stop; it does so at its next change, or in the middle of bytes."""
        self._asked.set()

    def hear(self) -> bool:
        """Whether to stop now; true once."""
        return self._asked.is_set() and self._heard.acquire(blocking=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What is known everywhere inside an operation; outside of one, the defaults hold."""

    operation_id: str = ""
    observe: Observer = log_event
    """Who is told of steps, tasks and transfers."""
    task_deadline_s: float | None = None
    """How long each of the server's tasks may take before it is asked to stop; None: any time."""
    answers: Mapping[str, str] = field(default_factory=dict)
    """What to answer a virtual machine that asks; see `vmops.vsphere.objects.questions`."""
    troubles: Troubles | None = None
    """What the operation has spent on waiting in vain; outside of one each call has its own."""
    is_undoing: bool = False
    """Whether something is being taken back."""
    preemption: Preemption | None = None
    """Who may ask the operation to stop; None: nobody may."""


_OUTSIDE = Context()
_current: ContextVar[Context] = ContextVar("context", default=_OUTSIDE)


def current() -> Context:
    """That of the operation which the calling thread is in."""
    return _current.get()


def tell(event: Event) -> None:
    """Tell the operation's observer."""
    current().observe(event)


@contextmanager
def operation(
    name: str,
    *,
    observe: Observer | None = None,
    task_deadline_s: float | None = None,
    answers: Mapping[str, str] | None = None,
) -> Iterator[str]:
    """Be an operation inside: ``operation("spawn")`` gives the id "vmops-spawn-1a2b3c4d".

    An operation inside another keeps the outer one's id as its beginning, and of the rest what is
    not given.
    """
    outer = current()
    operation_id = f"{outer.operation_id or 'vmops'}-{name}-{secrets.token_hex(4)}"
    inner = Context(
        operation_id=operation_id,
        observe=observe or outer.observe,
        task_deadline_s=outer.task_deadline_s if task_deadline_s is None else task_deadline_s,
        answers=outer.answers if answers is None else answers,
        troubles=outer.troubles or Troubles(),
        is_undoing=outer.is_undoing,
        preemption=outer.preemption,
    )
    with _set(inner):
        yield operation_id


@contextmanager
def undoing() -> Iterator[None]:
    """Take back inside what was done; there is time for it even where there was none to do it."""
    context = current()
    if context.task_deadline_s is not None:
        patient = max(context.task_deadline_s, UNDO_AT_LEAST_S)
        context = replace(context, task_deadline_s=patient)
    with _set(replace(context, is_undoing=True)):
        yield


@contextmanager
def preemptible(preemption: Preemption) -> Iterator[None]:
    """Stop inside if that is asked for."""
    with _set(replace(current(), preemption=preemption)):
        yield


def stop_if_asked() -> None:
    """Stop here if the operation is asked to, unless it takes back what it did already.

    Raises:
        Preempted: it is.
    """
    context = current()
    if context.preemption is None or context.is_undoing:
        return
    if context.preemption.hear():
        raise Preempted("This was stopped, as its instance is to be destroyed.")


@contextmanager
def _set(context: Context) -> Iterator[None]:
    token = _current.set(context)
    try:
        yield
    finally:
        _current.reset(token)
