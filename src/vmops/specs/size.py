"""Processors, memory and their allocations in a ``ConfigSpec``."""

from __future__ import annotations

from pyVmomi import vim

from vmops.model.size import Allocation, Size


def set_size(spec: vim.vm.ConfigSpec, size: Size) -> None:
    """Let a ``ConfigSpec`` ask for a size; what a size leaves open is not in it."""
    spec.numCPUs = size.vcpus
    spec.memoryMB = size.memory_mib
    if size.cores_per_socket:
        spec.numCoresPerSocket = size.cores_per_socket
    if size.cpu is not None:
        spec.cpuAllocation = _info(size.cpu)
    if size.memory is not None:
        spec.memoryAllocation = _info(size.memory)


def _info(allocation: Allocation) -> vim.ResourceAllocationInfo:
    return vim.ResourceAllocationInfo(
        reservation=allocation.reservation, limit=allocation.limit, shares=shares_info(allocation)
    )


def io_allocation(allocation: Allocation) -> vim.StorageResourceManager.IOAllocationInfo:
    """A disk's allocation of input and output, in operations each second."""
    return vim.StorageResourceManager.IOAllocationInfo(
        reservation=allocation.reservation, limit=allocation.limit, shares=shares_info(allocation)
    )


def shares_info(allocation: Allocation) -> vim.SharesInfo:
    """Its shares; their number counts with the level custom only, but the wire wants one."""
    return vim.SharesInfo(level=str(allocation.level), shares=allocation.shares)
