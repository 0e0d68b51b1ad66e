"""Whether the server lives, as all the threads of a session know it together.

An answer may take its time, and a server that is gone gives none: both look the same on one
connection. So whoever has waited for a while asks something small over another one. While that is
answered, waiting goes on; if nothing is answered for as long as `Limits` says, it is given up.

A server that was given up is away, for all threads alike, until it answers: an undo of ten steps
must not wait ten times. What is called meanwhile costs one short look, or fails at once, and was
certainly not sent.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from vmops.errors import ConnectionLost
from vmops.vsphere.wire.limits import Limits
from vmops.vsphere.wire.silence import GaveUp


class Vigil:
    """What is known of one server; ``name`` is what errors call it.

    ``probe`` asks the server, within so many seconds, whether it lives. Whoever makes calls sets
    it; without it a silent server is one that is away.
    """

    def __init__(
        self, name: str, limits: Limits, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.limits = limits
        self.probe: Callable[[float], bool] = lambda limit_s: False
        self._name = name
        self._clock = clock
        self._lock = threading.Lock()
        self._probing = threading.Lock()
        self._heard = float("-inf")
        self._since: float | None = None
        self._lost = 0.0
        self._looked = float("-inf")
        self._look_took_s = 0.0

    @property
    def is_away(self) -> bool:
        """Whether the last that is known of it is that it did not answer."""
        return self._since is not None

    def note_answer(self) -> None:
        """Somebody got an answer, be it a fault."""
        with self._lock:
            self._heard = self._clock()
            self._since = None

    def note_loss(self, began: float) -> None:
        """A call that began then got no answer."""
        with self._lock:
            since = max(began, self._heard)
            # After a silence nobody knows whether it was away all the time.
            if self._since is None or since - self._lost > self.limits.window_s:
                self._since = since
            self._lost = self._clock()

    def outlasts(self, delay_s: float) -> bool:
        """Whether in so many seconds the window for repeating will have passed."""
        with self._lock:
            since = self._since
        return since is not None and self._clock() + delay_s - since > self.limits.window_s

    def bear(self, heard_at: float, limit_s: float) -> None:
        """Go on waiting for one who heard the last byte then, or raise `GaveUp`.

        It is given up when nobody has heard anything for ``limit_s``.
        """
        left_s = limit_s - self._silent_s(heard_at)
        if self._was_heard() or self._answers_within(left_s):
            return
        silent_s = self._silent_s(heard_at)
        if silent_s >= limit_s:
            raise GaveUp(f"has not answered anything for {silent_s:.3g} seconds")

    def admit(self, what: str) -> None:
        """Let a call begin, unless the server was given up and a short look finds it so still.

        Raises:
            ConnectionLost: it is; the call was not sent.
        """
        with self._probing:
            since = self._given_up_since()
            if since is None or (self._may_look() and self._look()):
                return
        raise ConnectionLost(
            f"{self._name} has not answered for {self._clock() - since:.3g} seconds:"
            f" {what} was not sent."
        )

    def _was_heard(self) -> bool:
        """Whether somebody got an answer lately."""
        with self._lock:
            return self._clock() - self._heard < self.limits.probe_after_s

    def _silent_s(self, heard_at: float) -> float:
        with self._lock:
            began = heard_at if self._since is None else min(heard_at, self._since)
            return self._clock() - max(began, self._heard)

    def _answers_within(self, left_s: float) -> bool:
        """Ask, unless another thread does so now; then its answer counts."""
        end = self._clock() + left_s
        if left_s <= 0 or not self._probing.acquire(timeout=left_s):
            return False
        try:
            if self._was_heard():
                return True
            left_s = end - self._clock()
            if left_s <= 0 or not self.probe(min(left_s, self.limits.handshake_s)):
                return False
            self.note_answer()
            return True
        finally:
            self._probing.release()

    def _given_up_since(self) -> float | None:
        window_s = self.limits.window_s
        with self._lock:
            now, since = self._clock(), self._since
            # What nobody has tried for long is not known to be away.
            if since is None or now - since <= window_s or now - self._lost > window_s:
                return None
            return since

    def _may_look(self) -> bool:
        """Whether a look is due; one that is refused at once costs nothing, and always is."""
        was_dear = self._look_took_s > self.limits.look_s / 2
        return not was_dear or self._clock() - self._looked >= self.limits.look_every_s

    def _look(self) -> bool:
        begin = self._clock()
        lives = self.probe(self.limits.look_s)
        self._looked = self._clock()
        self._look_took_s = self._looked - begin
        if lives:
            self.note_answer()
        else:
            self.note_loss(begin)
        return lives
