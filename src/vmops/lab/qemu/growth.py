"""Processors and memory that are added to a guest while it runs."""

from __future__ import annotations

from vmops.lab.hypervisor.errors import HypervisorError
from vmops.lab.qemu.accelerator import accelerator
from vmops.lab.qemu.argv.growth import cpu_device, memory_backend, memory_module
from vmops.lab.qemu.guest import Guest

_REMOVAL_S = 10.0


async def set_cpus(guest: Guest, cpus: int, cores_per_socket: int) -> None:
    """Add processors until the guest has so many, or take away those that were added last.

    Raises:
        HypervisorError: it cannot have so many, or so few; or the guest does not let go of one.
    """
    with guest.doing("being reconfigured"):
        qmp = await guest.qmp()
        growth = await guest.growth()
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
        number = len((await guest.growth()).modules)
        await qmp.execute("object-add", memory_backend(number, size_mib))
        try:
            await qmp.execute("device_add", memory_module(number))
        except BaseException:
            await qmp.execute("object-del", {"id": f"memory-{number}"})
            raise
