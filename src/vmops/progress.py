"""What an operation tells while it runs.

An observer is any callable that takes an event. The engine calls it from the thread that runs the
operation; transfers may call it from that thread many times a second, so an observer must be quick
and must not raise.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepStarted:
    """A step of an operation begins."""

    operation: str
    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StepFinished:
    """A step ended well, after ``seconds``."""

    operation: str
    title: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StepFailed:
    """A step raised; the operation will be undone."""

    operation: str
    title: str
    seconds: float
    error: BaseException


@dataclass(frozen=True, slots=True, kw_only=True)
class StepUndone:
    """What a step did was taken back; ``error`` tells if that failed."""

    operation: str
    title: str
    error: Exception | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskProgress:
    """A server task's progress in percent, as the server reports it."""

    task: str
    percent: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferProgress:
    """Bytes moved so far of a transfer; ``total_bytes`` is None where it is not known."""

    name: str
    done_bytes: int
    total_bytes: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Warned:
    """Something to know of although the operation goes on, in a sentence."""

    text: str


Event: TypeAlias = (
    StepStarted | StepFinished | StepFailed | StepUndone | TaskProgress | TransferProgress | Warned
)
Observer: TypeAlias = Callable[[Event], None]


def log_event(event: Event) -> None:
    """The observer used when the caller gives none: steps go to the log."""
    match event:
        case StepFinished():
            log.info("%s: %s (%.2f s)", event.operation, event.title, event.seconds)
        case StepFailed():
            log.info("%s: %s failed: %s", event.operation, event.title, event.error)
        case StepUndone(error=None):
            log.warning("%s: undone: %s", event.operation, event.title)
        case StepUndone():
            log.error("%s: could not undo %s: %s", event.operation, event.title, event.error)
        case Warned():
            log.warning("%s", event.text)
        case _:
            log.debug("%s", event)
