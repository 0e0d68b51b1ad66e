"""Processors and memory on the command line.

QEMU that takes over a guest, from a file or from another QEMU, must have been started with what the
guest was started with, and have the rest plugged in the same places.
"""

from __future__ import annotations

from collections.abc import Sequence

from vmops.lab.hypervisor.errors import HypervisorError
from vmops.lab.hypervisor.hot_add import MEMORY_MODULES, most_cpus, most_memory_mib
from vmops.lab.hypervisor.port import GuestDefinition
from vmops.lab.qemu.accelerator import Accelerator
from vmops.lab.qemu.argv.growth_state import Growth
from vmops.lab.qemu.argv.host import Host, structured

_MOST_CPUS = 255  # of QEMU's board "pc"
_MIB = 1024 * 1024


def at_start(
    machine: GuestDefinition, accelerator: Accelerator, *, can_grow: bool = True
) -> Growth:
    """Return what a machine is started with."""
    cpus, memory = machine.cpus, machine.memory_mib
    cores = max(1, machine.cores_per_socket)
    return Growth(
        cpus_at_start=cpus,
        max_cpus=most_cpus(cpus, cores) if machine.cpu_hot_add and can_grow else cpus,
        memory_at_start_kib=memory * 1024 - accelerator.memory_short_kib,
        max_memory_mib=most_memory_mib(memory) if machine.memory_hot_add and can_grow else 0,
    )


def processor_and_memory(machine: GuestDefinition, host: Host) -> Sequence[str]:
    """Sockets, cores and memory."""
    growth = host.growth or at_start(machine, host.accelerator)
    cores = machine.cores_per_socket
    if not 0 < growth.max_cpus <= _MOST_CPUS:
        raise HypervisorError(f"the lab runs guests with 1 to {_MOST_CPUS} processors")
    if cores < 1 or growth.cpus_at_start % cores:
        raise HypervisorError(
            f"{growth.cpus_at_start} processors cannot be divided into sockets of {cores} cores"
        )
    accelerators = [part for name in host.accelerator.options for part in ("-accel", name)]
    most = f",maxcpus={growth.max_cpus}" if growth.max_cpus > growth.cpus_at_start else ""
    topology = (
        f"{growth.cpus_at_start}{most},sockets={growth.max_cpus // cores},cores={cores},threads=1"
    )
    memory = f"size={growth.memory_at_start_kib}K"
    if growth.max_memory_mib:
        memory += f",slots={MEMORY_MODULES},maxmem={growth.max_memory_mib * 1024}K"
    arguments = [
        *accelerators,
        *("-cpu", host.accelerator.cpu_model),
        *("-smp", topology),
        *("-m", memory),
    ]
    for number in range(growth.cpus_at_start, growth.cpus_at_start + growth.cpus):
        arguments += structured("-device", **cpu_device(number, cores, host.accelerator))
    for number, size_mib in enumerate(growth.modules):
        arguments += structured("-object", **memory_backend(number, size_mib))
        arguments += structured("-device", **memory_module(number))
    return arguments


def cpu_device(number: int, cores_per_socket: int, accelerator: Accelerator) -> dict[str, object]:
    """Return the device of a processor that was not there at the start."""
    return {
        "driver": f"{accelerator.cpu_model.partition(',')[0]}-x86_64-cpu",
        "id": f"cpu-{number}",
        "socket-id": number // cores_per_socket,
        "core-id": number % cores_per_socket,
        "thread-id": 0,
    }


def memory_backend(number: int, size_mib: int) -> dict[str, object]:
    """Return the memory of a module."""
    return {"qom-type": "memory-backend-ram", "id": f"memory-{number}", "size": size_mib * _MIB}


def memory_module(number: int) -> dict[str, object]:
    """Return the device of a module."""
    return {"driver": "pc-dimm", "id": f"module-{number}", "memdev": f"memory-{number}"}
