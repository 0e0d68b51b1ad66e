"""The threads that renew what is held: one for each group, so that no server delays another's."""

from __future__ import annotations

import logging
import os
import threading
from typing import Protocol

log = logging.getLogger(__name__)

# How long a thread stays that has nothing to renew, in seconds.
_LINGER_S = 5.0


class Kept(Protocol):
    """What is renewed now and then."""

    group: object

    def due_in_s(self) -> float:
        """Seconds until it should be renewed."""

    def renew_when_free(self) -> None:
        """Renew it; raises nothing."""


class Keepers:
    """What is to be renewed, and who does it."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Start anew: in a process that was forked off nothing is its own, and no thread runs."""
        self._changed = threading.Condition()
        self._kept: list[Kept] = []
        self._groups: list[object] = []

    def add(self, kept: Kept) -> None:
        """Renew it from now on."""
        with self._changed:
            self._kept.append(kept)
            self._changed.notify_all()
            if not any(group is kept.group for group in self._groups):
                self._start(kept.group)

    def _start(self, group: object) -> None:
        thread = threading.Thread(
            target=self._keep, args=(group,), name="vmops-renewing", daemon=True
        )
        try:
            thread.start()
        except RuntimeError as failure:  # no more threads: each operation renews before a change
            log.warning("Nothing is renewed while an operation waits: %s", failure)
        else:
            self._groups.append(group)

    def drop(self, kept: Kept) -> None:
        """Renew it no more."""
        with self._changed:
            self._kept = [each for each in self._kept if each is not kept]

    def _keep(self, group: object) -> None:
        idle = False
        while True:
            with self._changed:
                own = [each for each in self._kept if each.group is group]
                if not own and idle:
                    self._groups = [each for each in self._groups if each is not group]
                    return
                due_s = min((each.due_in_s() for each in own), default=_LINGER_S)
                idle = not own
                if due_s > 0:
                    self._changed.wait(due_s)
                    continue
            for each in own:
                if each.due_in_s() <= 0:
                    each.renew_when_free()


KEEPERS = Keepers()
os.register_at_fork(after_in_child=KEEPERS.forget)
