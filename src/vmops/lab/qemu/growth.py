"""Processors and memory that are added to a guest while it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vmops.lab.hypervisor.port import HypervisorError
from vmops.lab.qemu.accelerator import accelerator
from vmops.lab.qemu.argv.growth import Growth, cpu_device, memory_backend, memory_module
from vmops.lab.qemu.qmp import Qmp

if TYPE_CHECKING:
    from vmops.lab.qemu.guest import Guest

_MIB = 1024 * 1024
_REMOVAL_S = 10.0


async def growth_of(qmp: Qmp) -> Growth:
    """Return what the guest has now."""
    places = await qmp.execute("query-hotpluggable-cpus")
    paths = [str(place.get("qom-path", "")) for place in places]
    memory = await qmp.execute("qom-get", {"path": "/machine", "property": "memory"})
    listed = [each["data"] for each in await qmp.execute("query-memory-devices")]
    sizes = {str(each["id"]): int(each["size"]) // _MIB for each in listed}
    return Growth(
        cpus_at_start=sum(path.startswith("/machine/unattached/") for path in paths),
        max_cpus=len(places),
        memory_at_start_kib=int(memory["size"]) // 1024,
        max_memory_mib=int(memory["max-size"]) // _MIB if memory.get("slots") else 0,
        cpus=sum(path.startswith("/machine/peripheral/") for path in paths),
        modules=tuple(sizes[f"module-{number}"] for number in range(len(sizes))),
    )


async def set_cpus(guest: Guest, cpus: int, cores_per_socket: int) -> None:
    """Add processors until the guest has so many, or take away those that were added last.

    Raises:
        HypervisorError: it cannot have so many, or so few; or the guest does not let go of one.
    """
    with guest.doing("being reconfigured"):
        qmp = await guest.qmp()
        growth = await growth_of(qmp)
        now = growth.cpus_at_start + growth.cpus
        if not growth.cpus_at_start <= cpus <= growth.max_cpus:
            raise HypervisorError(
                f"{guest.key} can have {growth.cpus_at_start} to {growth.max_cpus} processors"
            )
        for number in range(now, cpus):
            device = cpu_device(number, cores_per_socket, accelerator())
            await qmp.execute("device_add", device)
        for number in range(now - 1, cpus - 1, -1):
            with qmp.events() as events:
                device_id = f"cpu-{number}"
                await qmp.execute("device_del", {"id": device_id})
                await events.wait_for("DEVICE_DELETED", timeout_s=_REMOVAL_S, device=device_id)


async def add_memory(guest: Guest, size_mib: int) -> None:
    """Add so much memory as one module.

    Raises:
        HypervisorError: the guest cannot have more, or this machine cannot give it.
    """
    with guest.doing("being reconfigured"):
        qmp = await guest.qmp()
        number = len((await growth_of(qmp)).modules)
        await qmp.execute("object-add", memory_backend(number, size_mib))
        try:
            await qmp.execute("device_add", memory_module(number))
        except BaseException:
            await qmp.execute("object-del", {"id": f"memory-{number}"})
            raise
