"""Allocations of processors, memory, disks and network cards; how .vmx files write them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pyVmomi import vim

from vmops.lab.storage.vmx_text import Entries
from vmops.numbers import INT_MAX, whole_number

# Shares for each processor, for each MiB of memory, for a disk and for a network card, as the API
# reference's SharesLevel says. A card's are of vSphere's network I/O control: 0 to 100.
_CPU_SHARES = {"low": 500, "normal": 1000, "high": 2000}
_MEMORY_SHARES = {"low": 5, "normal": 10, "high": 20}
_DISK_SHARES = {"low": 500, "normal": 1000, "high": 2000}
_CARD_SHARES = {"low": 25, "normal": 50, "high": 100}
_LEVELS = ("low", "normal", "high")
_IOAllocation = vim.StorageResourceManager.IOAllocationInfo
_card = vim.vm.device.VirtualEthernetCard


def unlimited(level: str, shares: int) -> vim.ResourceAllocationInfo:
    """Build an allocation without reservation and limit."""
    return vim.ResourceAllocationInfo(
        reservation=0,
        expandableReservation=True,
        limit=-1,
        shares=vim.SharesInfo(level=level, shares=shares),
    )


def follow_hardware(config: vim.vm.ConfigInfo) -> None:
    """Let a machine's shares follow its processors and memory, unless they are custom."""
    for allocation, each, count in (
        (config.cpuAllocation, _CPU_SHARES, config.hardware.numCPU),
        (config.memoryAllocation, _MEMORY_SHARES, config.hardware.memoryMB),
    ):
        if allocation is not None:
            allocation.shares = _numbered(allocation.shares, each, count)


def complete_allocations(devices: Iterable[vim.vm.device.VirtualDevice]) -> None:
    """Fill in what clients left out of the allocations they gave to disks and cards."""
    for device in devices:
        if isinstance(device, vim.vm.device.VirtualDisk):
            given = device.storageIOAllocation
            if given is not None:
                _complete(given)
                given.shares = _numbered(given.shares, _DISK_SHARES)
        elif isinstance(device, _card):
            claimed = device.resourceAllocation
            if claimed is not None:
                _complete(claimed)
                claimed.share = _numbered(claimed.share, _CARD_SHARES)


def _complete(allocation: _IOAllocation | _card.ResourceAllocation) -> None:
    allocation.reservation = allocation.reservation or 0
    allocation.limit = -1 if allocation.limit is None else allocation.limit


def _numbered(
    shares: vim.SharesInfo | None, each: dict[str, int], count: int = 1
) -> vim.SharesInfo:
    level = "normal" if shares is None else str(shares.level)
    if shares is None or level in each:
        return vim.SharesInfo(level=level, shares=each[level] * count)
    return shares


def written_allocation(
    allocation: _IOAllocation | _card.ResourceAllocation | vim.ResourceAllocationInfo,
    shares: vim.SharesInfo | None,
) -> Iterator[tuple[str, str]]:
    """Yield the entries of an allocation, each key without what it begins with."""
    yield "min", str(allocation.reservation or 0)
    yield "max", "unlimited" if allocation.limit in (None, -1) else str(allocation.limit)
    if shares is not None:
        yield "shares", str(shares.shares if shares.level == "custom" else shares.level)


def read_allocation(
    entries: Entries, prefix: str, allocation: vim.ResourceAllocationInfo | None
) -> None:
    """Take the entries of a processors' or memory's allocation, and put them into it."""
    reservation, limit, shares = _taken(entries, prefix)
    if allocation is None:
        return
    allocation.reservation, allocation.limit = reservation, limit
    if shares is not None:
        allocation.shares = shares


def read_disk_allocation(entries: Entries, prefix: str) -> _IOAllocation | None:
    """Take the entries of a disk's allocation; None if there are none."""
    if f"{prefix}.shares" not in entries:
        return None
    reservation, limit, shares = _taken(entries, prefix)
    return _IOAllocation(reservation=reservation, limit=limit, shares=shares)


def read_card_allocation(entries: Entries, prefix: str) -> _card.ResourceAllocation | None:
    """Take the entries of a network card's allocation; None if there are none."""
    if f"{prefix}.shares" not in entries:
        return None
    reservation, limit, shares = _taken(entries, prefix)
    # The type requires shares.
    return _card.ResourceAllocation(
        reservation=reservation, limit=limit, share=_numbered(shares, _CARD_SHARES)
    )


def _taken(entries: Entries, prefix: str) -> tuple[int, int, vim.SharesInfo | None]:
    reservation = entries.take_int(f"{prefix}.min") or 0
    limit = entries.take_int(f"{prefix}.max")
    text = entries.take(f"{prefix}.shares") or "normal"
    shares = None
    if (number := whole_number(text, INT_MAX)) is not None:
        shares = vim.SharesInfo(level="custom", shares=number)
    elif text in _LEVELS:
        shares = vim.SharesInfo(level=text, shares=0)
    return reservation, -1 if limit is None else limit, shares
