"""Which device the firmware tries first."""

from __future__ import annotations

from collections.abc import Mapping

from vmops.lab.hypervisor.port import GuestDefinition


def boot_indexes(machine: GuestDefinition) -> Mapping[int, int]:
    """Return the place of each bootable device by device key, 0 first.

    Devices that ``boot_order`` does not name come after those it names, as on vSphere: disks in bus
    order, then CD-ROM drives, then network cards. Keys of devices that are not there are skipped.
    """
    by_bus = sorted(machine.disks, key=lambda disk: (disk.controller_key, disk.unit_number))
    default = (
        *(disk.key for disk in by_bus),
        *(cdrom.key for cdrom in machine.cdroms),
        *(nic.key for nic in machine.nics),
    )
    named = [key for key in dict.fromkeys(machine.boot_order) if key in default]
    rest = [key for key in default if key not in named]
    return {key: index for index, key in enumerate((*named, *rest))}
