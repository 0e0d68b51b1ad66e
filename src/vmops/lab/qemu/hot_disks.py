"""Disks that come, go and grow while the guest runs, and what is in its CD-ROM drives."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Literal

from vmops.lab.hypervisor.errors import HypervisorError
from vmops.lab.hypervisor.port import Cdrom, Controller, Disk
from vmops.lab.qemu.argv.disks import disk_device, medium_node
from vmops.lab.qemu.argv.ports import controller_device
from vmops.lab.qemu.argv.slots import slot_of
from vmops.lab.qemu.block_nodes import add_chain, sweep, top_node
from vmops.lab.qemu.guest import Guest
from vmops.lab.qemu.qmp import Qmp, QmpRefused

_UNPLUG_S = 10.0
# Their buses have no notion of plugging in QEMU, though SATA and NVMe do on vSphere.
_FIXED = {"VirtualIDEController", "VirtualAHCIController", "VirtualNVMEController"}
# The firmware is told of plugged disks too, after all it was started with.
_BOOT_AFTER_ALL = 1_000_000


async def attach_disk(guest: Guest, disk: Disk, controller: Controller) -> None:
    """Plug a disk, and its controller before it if the guest does not have that yet.

    Raises:
        HypervisorError: the bus cannot be plugged, the place is taken, or a file is missing or in
            use. Nothing has changed then, but that a new controller may be there.
    """
    if controller.model in _FIXED:
        raise HypervisorError(
            f"disk {disk.key} cannot be plugged on a {controller.model} while the guest runs"
        )
    with guest.doing("being reconfigured"):
        qmp = await guest.qmp()
        plugged = await peripherals(qmp)
        if f"disk-{disk.key}" in plugged:
            raise HypervisorError(f"{guest.key} has a disk {disk.key} already")
        if f"controller-{controller.key}" not in plugged:
            card = controller_device(controller, slot_of(controller), await _firmware(qmp))
            await qmp.execute("device_add", card)
        top = await add_chain(qmp, disk.key, disk.layers, read_only=disk.read_only)
        try:
            device = disk_device(disk, controller, top)
            await qmp.execute("device_add", {**device, "bootindex": _BOOT_AFTER_ALL + disk.key})
        except BaseException:
            await sweep(qmp, disk.key)
            raise


async def detach_disk(guest: Guest, disk_key: int) -> None:
    """Unplug a disk and close its files.

    Raises:
        HypervisorError: there is no such disk, or its bus cannot be plugged.
    """
    with guest.doing("being reconfigured"):
        qmp = await guest.qmp()
        if f"disk-{disk_key}" not in await peripherals(qmp):
            raise HypervisorError(f"the running guest has no disk {disk_key}")
        await unplug(qmp, f"disk-{disk_key}")
        await sweep(qmp, disk_key)


async def extend_disk(guest: Guest, disk_key: int, capacity_bytes: int) -> None:
    """Give the disk another size, in its topmost file and as the guest sees it.

    Raises:
        HypervisorError: there is no such disk, or no room.
    """
    with guest.doing("being reconfigured"):
        qmp = await guest.qmp()
        node = await top_node(qmp, disk_key)
        await qmp.execute("block_resize", {"node-name": node, "size": capacity_bytes})


async def change_cdrom(guest: Guest, cdrom: Cdrom) -> None:
    """Open the drive, whoever holds its door, change what is in it, and close it.

    Raises:
        HypervisorError: there is no such drive, or the image cannot be opened; the drive is empty
            then.
    """
    device = {"id": f"cdrom-{cdrom.key}"}
    with guest.doing("being reconfigured"):
        qmp = await guest.qmp()
        if device["id"] not in await peripherals(qmp):
            raise HypervisorError(f"the running guest has no CD-ROM drive {cdrom.key}")
        await qmp.execute("blockdev-open-tray", {**device, "force": True})
        try:
            await qmp.execute("blockdev-remove-medium", device)
            node = medium_node(cdrom, cdrom.image or Path())
            name = {"node-name": node["node-name"]}
            with contextlib.suppress(QmpRefused):  # the drive was empty
                await qmp.execute("blockdev-del", name)
            if cdrom.image is not None:
                await qmp.execute("blockdev-add", node)
                await qmp.execute("blockdev-insert-medium", {**device, **name})
        finally:
            await qmp.execute("blockdev-close-tray", device)


async def peripherals(qmp: Qmp) -> frozenset[str]:
    """Return the ids of the devices the guest has now."""
    listed = await qmp.execute("qom-list", {"path": "/machine/peripheral"})
    return frozenset(str(each["name"]) for each in listed)


async def _firmware(qmp: Qmp) -> Literal["bios", "efi"]:
    """Return what the guest was started by: EFI is in a flash chip, which else is not there."""
    listed = await qmp.execute("qom-list", {"path": "/machine"})
    if all(each["name"] != "pflash0" for each in listed):
        return "bios"
    chip = await qmp.execute("qom-get", {"path": "/machine", "property": "pflash0"})
    return "efi" if chip else "bios"


async def unplug(qmp: Qmp, device: str) -> None:
    """Take a device away and return when it is gone.

    Raises:
        HypervisorError: QEMU refused, or the guest, whose help it takes on PCI, did not let go of
            it in ten seconds.
    """
    with qmp.events() as events:
        await qmp.execute("device_del", {"id": device})
        try:
            await events.wait_for("DEVICE_DELETED", timeout_s=_UNPLUG_S, device=device)
        except HypervisorError as error:
            raise HypervisorError(f"the guest does not let go of {device}: {error}") from error
