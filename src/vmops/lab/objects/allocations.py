"""Allocations of processors and memory."""

from __future__ import annotations

from typing import Any

from pyVmomi import vim

# Shares for each processor, and for each MiB of memory, as the API reference's SharesLevel says.
_CPU_SHARES = {"low": 500, "normal": 1000, "high": 2000}
_MEMORY_SHARES = {"low": 5, "normal": 10, "high": 20}


def unlimited(level: str, shares: int) -> Any:
    """Build an allocation without reservation and limit."""
    return vim.ResourceAllocationInfo(
        reservation=0,
        expandableReservation=True,
        limit=-1,
        shares=vim.SharesInfo(level=level, shares=shares),
    )


def follow_hardware(config: Any) -> None:
    """Let a machine's shares follow its processors and memory, unless they are custom."""
    for allocation, each, count in (
        (config.cpuAllocation, _CPU_SHARES, config.hardware.numCPU),
        (config.memoryAllocation, _MEMORY_SHARES, config.hardware.memoryMB),
    ):
        level = str(allocation.shares.level)
        if level in each:
            allocation.shares = vim.SharesInfo(level=level, shares=each[level] * count)
