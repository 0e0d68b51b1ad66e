"""What an instance uses, typed. A value is None where the endpoint does not tell it."""

from __future__ import annotations

from dataclasses import dataclass

from vmops.model.power import InstanceState


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuDiagnostics:
    """All its processors together; ``ready_ms`` of the last 20 s it waited for one of the host."""

    vcpus: int
    usage_mhz: int | None = None
    usage_percent: float | None = None
    ready_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryDiagnostics:
    """``active_kib`` was touched lately, ``consumed_kib`` is what it takes of the host's memory.

    ``ballooned_kib`` and ``swapped_kib`` were taken back from it.
    """

    size_mib: int
    active_kib: int | None = None
    consumed_kib: int | None = None
    ballooned_kib: int | None = None
    swapped_kib: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskDiagnostics:
    """A virtual disk. ``name`` is its place, such as "scsi0:0"; "" on a controller unknown here.

    The rates are averages of the last 20 s.
    """

    key: int
    name: str
    path: str
    capacity_bytes: int
    read_bytes_per_s: int | None = None
    written_bytes_per_s: int | None = None
    reads_per_s: int | None = None
    writes_per_s: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NicDiagnostics:
    """A NIC, with directions as the guest sees them; rates and packets are of the last 20 s."""

    key: int
    mac_address: str
    network: str
    connected: bool
    received_bytes_per_s: int | None = None
    sent_bytes_per_s: int | None = None
    received_packets: int | None = None
    sent_packets: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceDiagnostics:
    """What is known of an instance now.

    ``snapshot_depth`` is how many snapshots lie below its present state, ``question`` what it waits
    to be answered ("" if nothing). ``uptime_s`` is that of the VM, not of its guest.
    """

    state: InstanceState
    host: str
    uptime_s: int | None
    snapshot_depth: int
    question: str
    cpu: CpuDiagnostics
    memory: MemoryDiagnostics
    disks: tuple[DiskDiagnostics, ...]
    nics: tuple[NicDiagnostics, ...]
