"""A virtual machine as a resize sees it: hardware, size, place and snapshots, in one read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from vmops.model.size import Allocation, SharesLevel, Size
from vmops.vsphere.live.kinds import text
from vmops.vsphere.objects.virtual_machine import VirtualMachine
from vmops.vsphere.objects.vm_hardware import VmHardware
from vmops.vsphere.wire.moref import moid

if TYPE_CHECKING:
    from pyVmomi import vim

    from vmops.vsphere.wire.moref import Moref

_PATHS = (
    "config.hardware.numCPU",
    "config.hardware.memoryMB",
    "config.hardware.numCoresPerSocket",
    "config.cpuAllocation",
    "config.memoryAllocation",
    "config.changeVersion",
    "config.annotation",
    "runtime.host",
    "resourcePool",
    "network",
    "snapshot",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class VmSummary:
    """What a VM is. ``host``, ``pool`` and ``networks`` are moids, "" where none is told."""

    hardware: VmHardware
    size: Size
    host: str
    pool: str
    networks: frozenset[str]
    has_snapshots: bool
    change_version: str
    annotation: str = ""


def read_summary(vm: VirtualMachine) -> VmSummary:
    """Look at a VM in one read."""
    hardware, found = vm.hardware_and(*_PATHS)
    return VmSummary(
        hardware=hardware,
        size=Size(
            vcpus=int(found.get("config.hardware.numCPU") or 1),
            memory_mib=int(found.get("config.hardware.memoryMB") or 0),
            cores_per_socket=int(found.get("config.hardware.numCoresPerSocket") or 0),
            cpu=_allocation(found.get("config.cpuAllocation")),
            memory=_allocation(found.get("config.memoryAllocation")),
        ),
        host=_moid(found.get("runtime.host")),
        pool=_moid(found.get("resourcePool")),
        networks=frozenset(moid(one) for one in found.get("network") or ()),
        has_snapshots=found.get("snapshot") is not None,
        change_version=text(found, "config.changeVersion"),
        annotation=text(found, "config.annotation"),
    )


def _allocation(info: vim.ResourceAllocationInfo | None) -> Allocation:
    if info is None:
        return Allocation()
    shares = info.shares
    level = SharesLevel(str(shares.level)) if shares else SharesLevel.NORMAL
    return Allocation(
        reservation=int(info.reservation or 0),
        limit=-1 if info.limit is None else int(info.limit),
        level=level,
        # vSphere tells the number of every level; only that of this one was asked for.
        shares=int(shares.shares) if shares and level is SharesLevel.CUSTOM else 0,
    )


def _moid(moref: Moref | None) -> str:
    return "" if moref is None else moid(moref)
