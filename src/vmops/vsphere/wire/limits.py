"""For how long silence is borne: every number of seconds that decides when a wait is given up."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Seconds, but for ``least_rate``. What each is measured against: docs/reliability.md."""

    answer_s: float = 60.0
    """From a request to the last byte of its answer, connecting included; `connect`'s
    ``timeout_s``. Waiting for changes has a limit of its own, and so have transfers."""
    handshake_s: float = 4.0
    """To connect, TLS included. Smaller than the window, so that there is a second try."""
    probe_after_s: float = 4.0
    """Without a byte, until another connection asks whether the server lives."""
    another_s: float = 8.0
    """Without a byte on one connection of a server that answers on others: a read is asked once
    more on another one."""
    read_silence_s: float = 12.0
    """Without any answer of the server, until a read is given up."""
    change_silence_s: float = 20.0
    """The same for a change: what became of one that is given up has to be found out."""
    window_s: float = 10.0
    """How long reads are repeated, for all threads together, and what one operation may spend on
    all its troubles: a restarting endpoint is back within that."""
    look_s: float = 1.5
    """For the one look at a server that was given up, before anything more is sent to it."""
    look_every_s: float = 3.0
    """Between two such looks if the last got no answer: what is called meanwhile fails at once."""
    transfer_silence_s: float = 60.0
    """Of a transfer without a byte, and of the answer after its last byte."""
    least_rate: int = 1024
    """Bytes a second: a transfer that moves fewer, over ``transfer_silence_s`` of waiting, ends."""
    stream_silence_s: float = 3.0
    """Of the stream of changes while it is to load the inventory, until that is asked for."""

    def times(self, factor: float) -> Limits:
        """The same with all times longer or shorter, and with transfers as many bytes."""
        seconds = {
            f.name: getattr(self, f.name) * factor for f in fields(self) if f.name[-2:] == "_s"
        }
        return replace(self, **seconds, least_rate=max(round(self.least_rate / factor), 1))
