"""Marks as other processes write them."""

from __future__ import annotations

import itertools

from vmops.in_flight.owners import named

ELSEWHERE = "0123456789ab-0123456789ab-4711-99"
"""An owner of which nothing can be known here."""

_numbers = itertools.count(1)


def mark_of(operation: str, owner: str = ELSEWHERE) -> str:
    """A mark of another owner."""
    return f"{operation} {owner} {next(_numbers)}"


def neighbour(pid: int) -> str:
    """Another process of this machine, as an owner."""
    return named(pid)
