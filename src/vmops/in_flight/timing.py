"""How long a lease lasts. All processes that work on one endpoint must agree: it is no setting."""

from __future__ import annotations

import time
from dataclasses import dataclass

LEASE_S = 60.0
"""A mark that stands still for so long is nobody's any more."""
RENEW_S = 20.0
"""How often an owner renews its mark."""


@dataclass(slots=True)
class Timing:
    """The times that hold in this process, in seconds; tests make them short."""

    lease_s: float = LEASE_S
    renew_s: float = RENEW_S

    @property
    def late_s(self) -> float:
        """An owner that has not renewed for so long makes sure of its mark before it goes on."""
        return self.lease_s / 2


TIMING = Timing()


def owners_clock() -> float:
    """Seconds that an owner goes by: those that a machine slept count, where that can be known.

    Who watches goes by `time.monotonic`, which leaves them out: both err on the safe side.
    """
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if clock is None else time.clock_gettime(clock)
