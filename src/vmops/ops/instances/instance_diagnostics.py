"""Typed diagnostics: what an instance is made of, with what each part does at this moment."""

from __future__ import annotations

from typing import Any

from vmops import units
from vmops.model.controllers import KINDS
from vmops.model.diagnostics import (
    CpuDiagnostics,
    DiskDiagnostics,
    InstanceDiagnostics,
    MemoryDiagnostics,
    NicDiagnostics,
)
from vmops.model.power import PowerState
from vmops.ops.instances.diagnostics import host_name, snapshot_depth
from vmops.ops.instances.info import PATHS as INFO_PATHS
from vmops.ops.instances.info import info_from
from vmops.ops.instances.interfaces import network_name
from vmops.vsphere.managers.performance import Samples
from vmops.vsphere.objects import vm_nics
from vmops.vsphere.objects.virtual_machine import VirtualMachine
from vmops.vsphere.objects.vm_files import VmDisk
from vmops.vsphere.objects.vm_hardware import VmHardware
from vmops.vsphere.objects.vm_nics import VmNic

_STATS = "summary.quickStats."
_READ = (
    *INFO_PATHS,
    f"{_STATS}uptimeSeconds",
    f"{_STATS}overallCpuUsage",
    "snapshot",
    "runtime.question",
    "runtime.host",
)
_CPU_PERCENT, _CPU_READY = "cpu.usage.average", "cpu.ready.summation"
_ACTIVE, _CONSUMED = "mem.active.average", "mem.consumed.average"
_BALLOONED, _SWAPPED = "mem.vmmemctl.average", "mem.swapped.average"
_DISK_READ, _DISK_WRITTEN = "virtualDisk.read.average", "virtualDisk.write.average"
_READS = "virtualDisk.numberReadAveraged.average"
_WRITES = "virtualDisk.numberWriteAveraged.average"
_RECEIVED, _SENT = "net.received.average", "net.transmitted.average"
_PACKETS_IN, _PACKETS_OUT = "net.packetsRx.summation", "net.packetsTx.summation"
COUNTERS = (
    _CPU_PERCENT, _CPU_READY, _ACTIVE, _CONSUMED, _BALLOONED, _SWAPPED, _DISK_READ, _DISK_WRITTEN,
    _READS, _WRITES, _RECEIVED, _SENT, _PACKETS_IN, _PACKETS_OUT,
)  # fmt: skip
_WHOLE = ""


def get_instance_diagnostics(vm: VirtualMachine) -> InstanceDiagnostics:
    """What an instance is made of and does now: one read, and one more for the counters of one on.

    Counters are the server's newest samples, at most 20 s old; an instance that was just started
    has none yet, and one that is off never.

    Raises:
        InstanceNotFound: there is no such instance.
    """
    hardware, found = vm.hardware_and(*_READ)
    is_on = found.get("runtime.powerState") == PowerState.POWERED_ON
    samples = vm.session.performance.latest(vm.moref, COUNTERS) if is_on else {}
    info = info_from(found)
    question = found.get("runtime.question")
    return InstanceDiagnostics(
        state=info.state,
        host=host_name(vm.session, found.get("runtime.host")),
        uptime_s=found.get(f"{_STATS}uptimeSeconds") if is_on else None,
        snapshot_depth=snapshot_depth(found.get("snapshot")),
        question="" if question is None else str(question.text),
        cpu=_cpu(info.num_cpu, found.get(f"{_STATS}overallCpuUsage"), samples),
        memory=_memory(info.mem_kib // units.mib_to_kib(1), samples),
        disks=tuple(_disk(hardware, disk, samples) for disk in hardware.files.disks),
        nics=tuple(_nic(nic, network_name(vm.session, nic), samples) for nic in _nics(found)),
    )


def _nics(found: dict[str, Any]) -> tuple[VmNic, ...]:
    return vm_nics.nics_from(found).nics


def _cpu(vcpus: int, usage_mhz: int | None, samples: Samples) -> CpuDiagnostics:
    hundredths = samples.get((_CPU_PERCENT, _WHOLE))
    return CpuDiagnostics(
        vcpus=vcpus,
        usage_mhz=usage_mhz,
        usage_percent=None if hundredths is None else hundredths / 100,
        ready_ms=samples.get((_CPU_READY, _WHOLE)),
    )


def _memory(size_mib: int, samples: Samples) -> MemoryDiagnostics:
    return MemoryDiagnostics(
        size_mib=size_mib,
        active_kib=samples.get((_ACTIVE, _WHOLE)),
        consumed_kib=samples.get((_CONSUMED, _WHOLE)),
        ballooned_kib=samples.get((_BALLOONED, _WHOLE)),
        swapped_kib=samples.get((_SWAPPED, _WHOLE)),
    )


def _disk(hardware: VmHardware, disk: VmDisk, samples: Samples) -> DiskDiagnostics:
    name = _place(hardware, disk)
    return DiskDiagnostics(
        key=disk.key,
        name=name,
        path=disk.file_name,
        capacity_bytes=disk.capacity_bytes,
        read_bytes_per_s=_bytes(samples, _DISK_READ, name),
        written_bytes_per_s=_bytes(samples, _DISK_WRITTEN, name),
        reads_per_s=_part(samples, _READS, name),
        writes_per_s=_part(samples, _WRITES, name),
    )


def _place(hardware: VmHardware, disk: VmDisk) -> str:
    """The disk's name in its counters: "scsi0:0"."""
    for controller in hardware.controllers:
        if controller.key == disk.controller_key:
            kind = KINDS[controller.adapter].word
            return f"{kind}{controller.bus}:{disk.unit_number}"
    return ""


def _nic(nic: VmNic, network: str, samples: Samples) -> NicDiagnostics:
    name = str(nic.key)
    return NicDiagnostics(
        key=nic.key,
        mac_address=nic.mac_address,
        network=network,
        connected=nic.connected,
        received_bytes_per_s=_bytes(samples, _RECEIVED, name),
        sent_bytes_per_s=_bytes(samples, _SENT, name),
        received_packets=_part(samples, _PACKETS_IN, name),
        sent_packets=_part(samples, _PACKETS_OUT, name),
    )


def _part(samples: Samples, counter: str, part: str) -> int | None:
    return samples.get((counter, part)) if part else None


def _bytes(samples: Samples, counter: str, part: str) -> int | None:
    kib = _part(samples, counter, part)
    return None if kib is None else units.kib_to_bytes(kib)
