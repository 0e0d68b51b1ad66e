"""Allocations of processors and memory."""

from __future__ import annotations

from typing import Any

from pyVmomi import vim


def unlimited(level: str, shares: int) -> Any:
    """Build an allocation without reservation and limit."""
    return vim.ResourceAllocationInfo(
        reservation=0,
        expandableReservation=True,
        limit=-1,
        shares=vim.SharesInfo(level=level, shares=shares),
    )
