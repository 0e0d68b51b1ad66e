"""The disc that tells cloud-init what vSphere would by guestinfo; see `vmops.lab.qemu.seed`."""

from __future__ import annotations

from collections.abc import Sequence

from vmops.lab.hypervisor.port import Cdrom, Disk, GuestDefinition
from vmops.lab.qemu.argv.host import Host, structured

# The board's own two channels, which every guest has a driver for; from behind, so that drives of
# the machine keep the names they had.
_PLACES = ((1, 1), (1, 0), (0, 1), (0, 0))


def seed(machine: GuestDefinition, host: Host) -> Sequence[str]:
    """A drive with the disc, where the board has a place left for it."""
    place = _free_place(machine)
    if host.seed is None or place is None:
        return ()
    bus, unit = place
    file = {"driver": "file", "filename": str(host.seed), "read-only": True}
    return (
        *structured("-blockdev", node_name="seed", driver="raw", read_only=True, file=file),
        *structured(
            "-device", driver="ide-cd", id="seed-drive", bus=f"ide.{bus}", unit=unit, drive="seed"
        ),
    )


def _free_place(machine: GuestDefinition) -> tuple[int, int] | None:
    buses = {
        controller.key: controller.bus_number
        for controller in machine.controllers
        if controller.model == "VirtualIDEController"
    }
    devices: list[Disk | Cdrom] = [*machine.disks, *machine.cdroms]
    taken = {
        (buses[device.controller_key], device.unit_number)
        for device in devices
        if device.controller_key in buses
    }
    return next((place for place in _PLACES if place not in taken), None)
