"""Operations under way: who is at them, whether that one still lives, and how work changes hands.

An *owner* is a process (`owners`). It *marks* what it works on (`marks`): in the ``extraConfig`` of
a VM, or in the name of a temporary thing. The mark is a *lease* (`leases`): while the operation is
under way its owner renews it, every `RENEW_S` seconds, with a number that it never used before.
Whoever else meets the mark *watches* it (`watch`): one that stands still for `LEASE_S` seconds, as
the watching process itself saw it, is nobody's any more. No host's name and no clock of another
machine decides anything; a process id does only where it is certain what it means.

What is nobody's is taken by a change that only one can win. An owner that comes back, from a
machine that slept or a process that was stopped, finds that out before it changes anything else.
"""

from __future__ import annotations

from vmops.in_flight.leases import Lease, at_work, check, ending, holding
from vmops.in_flight.marks import Mark, mark, named_mark, nobodys_mark, unique_name
from vmops.in_flight.owners import NOBODY, boot, owner
from vmops.in_flight.timing import LEASE_S, RENEW_S, TIMING, owners_clock
from vmops.in_flight.watch import Judgment, Verdict, judge, see_alive

__all__ = [
    "LEASE_S",
    "NOBODY",
    "RENEW_S",
    "TIMING",
    "Judgment",
    "Lease",
    "Mark",
    "Verdict",
    "at_work",
    "boot",
    "check",
    "ending",
    "holding",
    "judge",
    "mark",
    "named_mark",
    "nobodys_mark",
    "owner",
    "owners_clock",
    "see_alive",
    "unique_name",
]
