"""Questions that stop a machine until somebody answers them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One answer: its label is the name a program knows it by."""

    label: str
    summary: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A question; ``default`` is the index of the choice that `msg.autoAnswer` takes."""

    message_id: str
    text: str
    choices: tuple[Choice, ...]
    default: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingQuestion:
    """A question that was asked; the answer is the index of a choice."""

    id: str
    question: Question
    answer: asyncio.Future[int]
