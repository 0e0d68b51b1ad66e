"""Network cards that come and go while the guest runs, and their cables."""

from __future__ import annotations

import contextlib

from vmops.lab.hypervisor.errors import HypervisorError
from vmops.lab.hypervisor.port import Nic, Segment
from vmops.lab.qemu.argv.ports import hot_nic_backend, nic_device
from vmops.lab.qemu.argv.slots import slot_of
from vmops.lab.qemu.capabilities import capabilities
from vmops.lab.qemu.guest import Guest
from vmops.lab.qemu.hot_disks import peripherals, unplug
from vmops.lab.qemu.network import Segments
from vmops.lab.qemu.qmp import Qmp, QmpRefused


async def attach_nic(guest: Guest, nic: Nic, segment: Segment, segments: Segments) -> None:
    """Plug a card with its cable to a segment.

    Raises:
        HypervisorError: the guest has one of that key, or no slot for it, or the segment does not
            start; nothing has changed then.
    """
    with guest.doing("being reconfigured"):
        qmp = await guest.qmp()
        if f"nic-{nic.key}" in await peripherals(qmp):
            raise HypervisorError(f"{guest.key} has a network card {nic.key} already")
        name = f"segment-{nic.key}"
        with await segments.connect(segment, await capabilities()) as connection:
            await qmp.execute("getfd", {"fdname": name}, descriptor=connection.fileno())
        await qmp.execute("netdev_add", hot_nic_backend(nic, name))
        try:
            await qmp.execute("device_add", nic_device(nic, slot_of(nic)))
            if not nic.connected:
                await _set_link(qmp, nic.key, connected=False)
        except BaseException:
            await qmp.execute("netdev_del", {"id": name})
            raise


async def detach_nic(guest: Guest, nic_key: int) -> None:
    """Unplug a card: its cable at once, the card when the guest lets go of it.

    Raises:
        HypervisorError: there is no such card, or the guest keeps it; it is without a cable then.
    """
    with guest.doing("being reconfigured"):
        qmp = await guest.qmp()
        await _check_nic(qmp, nic_key)
        await _set_link(qmp, nic_key, connected=False)
        await unplug(qmp, f"nic-{nic_key}")
        with contextlib.suppress(QmpRefused):  # some cards take it along
            await qmp.execute("netdev_del", {"id": f"segment-{nic_key}"})


async def set_link(guest: Guest, nic_key: int, *, connected: bool) -> None:
    """Plug a card's cable in or out.

    Raises:
        HypervisorError: there is no such card.
    """
    qmp = await guest.qmp()
    await _check_nic(qmp, nic_key)
    await _set_link(qmp, nic_key, connected=connected)


async def _check_nic(qmp: Qmp, nic_key: int) -> None:
    if f"nic-{nic_key}" not in await peripherals(qmp):
        raise HypervisorError(f"the running guest has no network card {nic_key}")


async def _set_link(qmp: Qmp, nic_key: int, *, connected: bool) -> None:
    await qmp.execute("set_link", {"name": f"nic-{nic_key}", "up": connected})
