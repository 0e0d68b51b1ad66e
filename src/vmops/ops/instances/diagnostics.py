"""Diagnostics: everything that vSphere tells of an instance for nothing, in one read."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING

from vmops.vsphere.objects.virtual_machine import VirtualMachine
from vmops.vsphere.session import Session

if TYPE_CHECKING:
    from vmops.specs.wire_types import SnapshotInfo, SnapshotTree
    from vmops.vsphere.wire.moref import Moref

Scalar = str | int | float | bool

# Leaves only: a whole `summary` fails to decode where a server sends an enum that is not known.
_LEAVES: dict[str, tuple[str, ...]] = {
    "summary.config": (
        "name", "template", "vmPathName", "memorySizeMB", "cpuReservation", "memoryReservation",
        "numCpu", "numEthernetCards", "numVirtualDisks", "uuid", "instanceUuid", "guestId",
        "guestFullName", "annotation",
    ),
    "summary.quickStats": (
        "overallCpuUsage", "overallCpuDemand", "guestMemoryUsage", "hostMemoryUsage",
        "guestHeartbeatStatus", "distributedCpuEntitlement", "distributedMemoryEntitlement",
        "privateMemory", "sharedMemory", "swappedMemory", "balloonedMemory",
        "consumedOverheadMemory", "compressedMemory", "uptimeSeconds",
    ),
    "summary.runtime": (
        "connectionState", "powerState", "bootTime", "suspendTime", "maxCpuUsage",
        "maxMemoryUsage", "toolsInstallerMounted", "cleanPowerOff", "consolidationNeeded",
    ),
    "summary.storage": ("committed", "uncommitted", "unshared"),
}  # fmt: skip
_SNAPSHOTS = "snapshot"
_QUESTION = "runtime.question"
_HOST = "runtime.host"


def get_diagnostics(vm: VirtualMachine) -> dict[str, Scalar]:
    """What vSphere tells of an instance: a flat mapping with keys like "vmware:uptimeSeconds".

    Every value is a text, a number or a truth value, so the mapping can be written as JSON; what
    the server does not tell is absent. Sizes are as vSphere names them: memory and quick statistics
    in MB, CPU in MHz, storage in bytes, uptime in seconds. Beyond vSphere's own names there are
    ``vmware:host`` (the host's name), ``vmware:snapshotDepth`` (how many snapshots lie below the
    present state) and ``vmware:question`` (what the VM waits to be answered).

    Raises:
        InstanceNotFound: there is no such instance.
    """
    paths = [f"{parent}.{leaf}" for parent, leaves in _LEAVES.items() for leaf in leaves]
    found = vm.read(*paths, _SNAPSHOTS, _QUESTION, _HOST)
    told: dict[str, Scalar] = {
        f"vmware:{path.rpartition('.')[2]}": _scalar(found[path])
        for path in paths
        if found.get(path) is not None
    }
    told["vmware:snapshotDepth"] = snapshot_depth(found.get(_SNAPSHOTS))
    question = found.get(_QUESTION)
    if question is not None:
        told["vmware:question"] = str(question.text)
    host = host_name(vm.session, found.get(_HOST))
    if host:
        told["vmware:host"] = host
    return told


def _scalar(value: object) -> Scalar:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, bool | float):
        return value
    return int(value) if isinstance(value, int) else str(value)


def snapshot_depth(info: SnapshotInfo | None) -> int:
    """How many snapshots lie between the VM's first state and its present one; 0 without any."""
    if info is None or info.currentSnapshot is None:
        return 0
    return _depth(info.rootSnapshotList, str(info.currentSnapshot._moId), 1)


def _depth(trees: Iterable[SnapshotTree], moid: str, level: int) -> int:
    for tree in trees or ():
        if str(tree.snapshot._moId) == moid:
            return level
        if below := _depth(tree.childSnapshotList, moid, level + 1):
            return below
    return 0


def host_name(session: Session, host: Moref | None) -> str:
    """The name of the host of this reference, which costs no call; "" for None."""
    if host is None:
        return ""
    moid = str(host._moId)
    return next((h.name for h in session.inventory.hosts() if h.moid == moid), "")
