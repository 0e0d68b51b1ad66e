"""Questions that stop a virtual machine until somebody answers them.

A power-on may wait for an answer for ever: were the files moved or copied, may a log be appended
to? Here it is answered by rule, or cancelled and told, so that nobody hangs.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vmops.context import current
from vmops.errors import Conflict, QuestionPending, VMOpsError
from vmops.model.power import PowerState
from vmops.vsphere.objects.recent_tasks import wait_for_recent_tasks
from vmops.vsphere.wire.moref import moid

if TYPE_CHECKING:
    from pyVmomi import vim

    from vmops.vsphere.session import Session
    from vmops.vsphere.wire.moref import Moref

log = logging.getLogger(__name__)

MOVED_OR_COPIED = "msg.uuid.altered"
MOVED = "button.uuid.movedTheVM"
DEFAULT_ANSWERS: Mapping[str, str] = {"msg.serial.file.open": "Append"}
"""Answers that lose nothing, by message id. Those of the operation's `vmops.context` win over them;
"" answers nothing. An answer is a choice's key, label or summary, whatever its case.

`MOVED_OR_COPIED` has a rule of its own: the files were moved if no other virtual machine of the
endpoint has the same BIOS UUID, and then it keeps its identity; otherwise nobody here can know."""

_QUESTION = "runtime.question"
_POWER = "runtime.powerState"
# A power-on without a question has ended by then, or is told of by the inventory at no cost.
_FIRST_LOOK_S = 0.5
_LOOK_S = 1.0


@dataclass(frozen=True, slots=True)
class Choice:
    """One answer: the server's key, its name for programs, and its text."""

    key: str
    label: str
    summary: str

    @property
    def words(self) -> frozenset[str]:
        """By what a rule may name it."""
        return frozenset({self.key.lower(), self.label.lower(), self.summary.lower()})


@dataclass(frozen=True, slots=True)
class Question:
    """What a virtual machine asks; ``messages`` are the ids of its parts."""

    id: str
    text: str
    messages: tuple[str, ...]
    choices: tuple[Choice, ...]

    @classmethod
    def of(cls, info: vim.vm.QuestionInfo) -> Question:
        """What a ``QuestionInfo`` asks."""
        messages = tuple(str(each.id) for each in info.message or ())
        head, _, rest = str(info.text).partition(":")
        is_id = head.startswith("msg.")  # as servers before 5.1 tell it, and later ones too
        return cls(
            id=str(info.id),
            text=rest.strip() if is_id else str(info.text),
            messages=messages or ((head,) if is_id else ()),
            choices=tuple(
                Choice(str(each.key), str(each.label), str(each.summary))
                for each in info.choice.choiceInfo or ()
            ),
        )

    def find(self, word: str) -> Choice | None:
        """The choice that a rule names."""
        return next((each for each in self.choices if word.lower() in each.words), None)

    @property
    def cancel(self) -> Choice | None:
        """The choice that gives up."""
        words = ("cancel", "abort")
        return next((c for c in self.choices if any(w in t for t in c.words for w in words)), None)


def read_question(session: Session, moref: Moref) -> Question | None:
    """What a virtual machine asks now, in one read."""
    info = session.properties.read_one(moref, _QUESTION).get(_QUESTION)
    return None if info is None else Question.of(info)


@contextmanager
def answering(session: Session, moref: Moref) -> Iterator[None]:
    """Answer what a virtual machine asks while something is done that may make it ask.

    Raises:
        QuestionPending: it asks what no rule answers. It was told to cancel, where it can be.
    """
    watcher = _Watcher(session, moref, {**DEFAULT_ANSWERS, **current().answers})
    try:
        with watcher:
            yield
    except QuestionPending:
        # It was asked before: by something that nobody here waits for.
        watcher.look()
        if watcher.refused is not None:
            raise watcher.refused from None
        wait_for_recent_tasks(session, moref)
        found = session.properties.read_one(moref, _POWER).get(_POWER)
        if found != PowerState.POWERED_ON:
            raise Conflict(
                "The virtual machine had been asking something, which is answered now. Try again."
            ) from None
    except VMOpsError as failure:
        if watcher.refused is None:
            raise
        raise watcher.refused from failure


class _Watcher:
    """Looks for questions on a thread of its own, which mostly ends before its first look."""

    def __init__(self, session: Session, moref: Moref, rules: Mapping[str, str]) -> None:
        self.refused: QuestionPending | None = None
        self._session = session
        self._moref = moref
        self._rules = rules
        self._stop = threading.Event()
        context = copy_context()
        self._thread = threading.Thread(
            target=context.run, args=(self._watch,), name="vmops-questions", daemon=True
        )

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        delay = _FIRST_LOOK_S
        while not self._stop.wait(delay):
            delay = _LOOK_S
            if self._may_ask():
                try:
                    self.look()
                except VMOpsError as failure:
                    log.debug("cannot see what %s asks: %s", moid(self._moref), failure)

    def _may_ask(self) -> bool:
        inventory = self._session.inventory
        known = inventory.vm(moid(self._moref)) if inventory.is_loaded else None
        return known is None or known.asks

    def look(self) -> None:
        """Answer what is asked now, if anything is."""
        question = read_question(self._session, self._moref)
        if question is None or self.refused is not None:
            return
        choice = self._choose(question)
        if choice is None:
            self.refused = _refusal(question)
            choice = question.cancel
        if choice is not None:
            log.info("%s asks %r: %s", moid(self._moref), question.text, choice.summary)
            self._session.call(
                self._moref, "AnswerVM", questionId=question.id, answerChoice=choice.key
            )

    def _choose(self, question: Question) -> Choice | None:
        for message in question.messages:
            if (word := self._rules.get(message)) is not None:
                return question.find(word) if word else None
        if MOVED_OR_COPIED in question.messages and self._is_the_only_one():
            return question.find(MOVED)
        # What leaves no choice is told, not asked.
        return question.choices[0] if len(question.choices) == 1 else None

    def _is_the_only_one(self) -> bool:
        """Whether no other virtual machine has the same BIOS UUID, as a copy's original would."""
        found = self._session.properties.read_one(self._moref, "config.uuid").get("config.uuid")
        if not found:
            return False
        same = self._session.search_index.by_bios_uuid(str(found))
        return all(moid(each) == moid(self._moref) for each in same)


def _refusal(question: Question) -> QuestionPending:
    choices = ", ".join(f"{each.summary!r} ({each.label})" for each in question.choices)
    message = f" {question.messages[0]}" if question.messages else ""
    return QuestionPending(
        f"The virtual machine asks{message}: {question.text} Its choices are {choices}."
        " Answer it in vSphere, or name the answer in the engine's settings."
    )
