"""The few figures that a machine's summary shows, from its last sample."""

from __future__ import annotations

from typing import NamedTuple

from vmops.lab.machine.machine import Machine
from vmops.lab.operations.performance_counters import BY_NAME, WHOLE
from vmops.lab.operations.performance_samples import PerformanceSamples


class QuickFigures(NamedTuple):
    """Memory in MiB, processor in MHz; zeros for a machine that is off."""

    host_memory_mib: int
    guest_memory_mib: int
    cpu_mhz: int


def quick_figures(vm: Machine) -> QuickFigures:
    """Return what the last sample says; until there is one, nothing is used."""
    try:
        values = vm.kernel.service(PerformanceSamples).latest(vm)
    except KeyError:  # the lab is being started
        values = {}

    def value(group: str, name: str) -> int:
        return values.get((BY_NAME[group, name], WHOLE), 0)

    return QuickFigures(
        host_memory_mib=value("mem", "consumed") // 1024,
        guest_memory_mib=value("mem", "active") // 1024,
        cpu_mhz=value("cpu", "usagemhz"),
    )
