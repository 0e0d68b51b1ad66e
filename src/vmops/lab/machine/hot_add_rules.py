"""Which processors and how much memory a machine that is on can be given, as on vSphere."""

from __future__ import annotations

from pyVmomi import vim

from vmops.lab.hypervisor.hot_add import MEMORY_INCREMENT_MIB, most_cpus, most_memory_mib
from vmops.lab.inventory.argument_faults import invalid_argument


def check_cpus(config: vim.vm.ConfigInfo, cpus: int) -> None:
    """Refuse another number of processors while the machine is on.

    Raises:
        vim.fault.CpuHotPlugNotSupported: it is not enabled, they would be fewer, or more than a
            machine can come to, or no whole sockets.
    """
    cores = config.hardware.numCoresPerSocket or 1
    if not config.cpuHotAddEnabled:
        raise _no_cpus("It is not enabled for this machine.")
    if cpus < config.hardware.numCPU:
        raise _no_cpus("Processors cannot be taken away.")
    if cpus > most_cpus(1, cores):
        raise _no_cpus(f"A machine that is on can come to {most_cpus(1, cores)}.")
    if cpus % cores:
        raise _no_cpus(f"A socket has {cores} cores.")


def check_memory(config: vim.vm.ConfigInfo, memory_mib: int) -> None:
    """Refuse another size of memory while the machine is on.

    Raises:
        vim.fault.MemoryHotPlugNotSupported: it is not enabled, it would be less, or more than
            ``hotPlugMemoryLimit``.
        vmodl.fault.InvalidArgument: it is not more by a multiple of ``hotPlugMemoryIncrementSize``.
    """
    if not config.memoryHotAddEnabled:
        raise _no_memory("It is not enabled for this machine.")
    more = memory_mib - config.hardware.memoryMB
    if more < 0:
        raise _no_memory("Memory cannot be taken away.")
    limit = config.hotPlugMemoryLimit
    if limit is not None and memory_mib > limit:
        raise _no_memory(f"The machine can come to {limit} MB.")
    if more % MEMORY_INCREMENT_MIB:
        raise invalid_argument(
            "configSpec.memoryMB", f"Memory is added by multiples of {MEMORY_INCREMENT_MIB} MB."
        )


def hot_add_limits(config: vim.vm.ConfigInfo, *, is_on: bool) -> dict[str, int | None]:
    """Return the changes of a machine's configuration when it is powered on, or off."""
    shows = is_on and config.memoryHotAddEnabled
    return {
        "config.hotPlugMemoryLimit": most_memory_mib(config.hardware.memoryMB) if shows else None,
        "config.hotPlugMemoryIncrementSize": MEMORY_INCREMENT_MIB if shows else None,
    }


def _no_cpus(why: str) -> vim.fault.CpuHotPlugNotSupported:
    return vim.fault.CpuHotPlugNotSupported(msg=f"Processors cannot be added. {why}")


def _no_memory(why: str) -> vim.fault.MemoryHotPlugNotSupported:
    return vim.fault.MemoryHotPlugNotSupported(msg=f"Memory cannot be added. {why}")
