"""Specs of a rescue: a second disk that boots first, and its end."""

from __future__ import annotations

from collections.abc import Sequence

from pyVmomi import vim

from vmops.model.datastore_path import DatastorePath
from vmops.specs import cdrom
from vmops.specs.disks import DISK_KEY, add_disk, flat_backing, remove_disk
from vmops.specs.extra_config import option_values
from vmops.specs.places import Place, Places


def attach_disk(
    disk: DatastorePath, capacity_bytes: int, controller_key: int, unit_number: int
) -> vim.vm.ConfigSpec:
    """The `vim.vm.ConfigSpec` that attaches a disk that is there to a free place."""
    place = Place(controller_key=controller_key, unit_number=unit_number)
    change = add_disk(DISK_KEY, capacity_bytes, place, flat_backing(disk))
    return vim.vm.ConfigSpec(deviceChange=[change])


def boot_from(disk_key: int, settings: dict[str, str]) -> vim.vm.ConfigSpec:
    """The `vim.vm.ConfigSpec` that boots from one disk only and sets extraConfig keys."""
    order = [vim.vm.BootOptions.BootableDiskDevice(deviceKey=disk_key)]
    return vim.vm.ConfigSpec(
        bootOptions=vim.vm.BootOptions(bootOrder=order), extraConfig=option_values(settings)
    )


def boot_from_iso(
    iso: DatastorePath, places: Places, settings: dict[str, str]
) -> vim.vm.ConfigSpec:
    """The `vim.vm.ConfigSpec` that adds a drive with an ISO image and boots from drives only.

    Raises:
        UnsupportedDevice: there is no place for a drive.
    """
    drives = cdrom.insert([iso], places)
    return vim.vm.ConfigSpec(
        deviceChange=[*places.changes(), *drives],
        bootOptions=vim.vm.BootOptions(bootOrder=[vim.vm.BootOptions.BootableCdromDevice()]),
        extraConfig=option_values(settings),
    )


def end_rescue(
    disk_key: int | None,
    drive_key: int | None,
    boot_order_keys: Sequence[str | int],
    settings: dict[str, str],
) -> vim.vm.ConfigSpec:
    """The `vim.vm.ConfigSpec` that removes what the rescue added and boots as before.

    The rescue disk goes with its file, an ISO image stays in the cache.

    ``boot_order_keys`` are device keys of disks and NICs or "cdrom" or "floppy", as
    `boot_order_keys` gave them; an empty boot order is the server's own.
    """
    changes = []
    if disk_key is not None:
        changes.append(remove_disk(disk_key, destroy=True))
    if drive_key is not None:
        drive = vim.vm.device.VirtualCdrom(key=drive_key)
        changes.append(vim.vm.device.VirtualDeviceSpec(operation="remove", device=drive))
    # An empty list cannot be sent: one device of no kind asks for the server's own order
    # (vSphere Web Services API, VirtualMachineBootOptions.bootOrder).
    order = [_bootable(key) for key in boot_order_keys] or [vim.vm.BootOptions.BootableDevice()]
    return vim.vm.ConfigSpec(
        deviceChange=changes,
        bootOptions=vim.vm.BootOptions(bootOrder=order),
        extraConfig=option_values(settings),
    )


def boot_order_keys(boot_order: Sequence[vim.vm.BootOptions.BootableDevice]) -> list[str | int]:
    """A boot order as JSON can keep it."""
    keys: list[str | int] = []
    for entry in boot_order:
        if isinstance(entry, vim.vm.BootOptions.BootableDiskDevice):
            keys.append(int(entry.deviceKey))
        elif isinstance(entry, vim.vm.BootOptions.BootableEthernetDevice):
            keys.append(f"nic:{entry.deviceKey}")
        elif isinstance(entry, vim.vm.BootOptions.BootableCdromDevice):
            keys.append("cdrom")
        elif isinstance(entry, vim.vm.BootOptions.BootableFloppyDevice):
            keys.append("floppy")
    return keys


def _bootable(key: str | int) -> vim.vm.BootOptions.BootableDevice:
    if isinstance(key, int):
        return vim.vm.BootOptions.BootableDiskDevice(deviceKey=key)
    if key.startswith("nic:"):
        return vim.vm.BootOptions.BootableEthernetDevice(deviceKey=int(key[4:]))
    if key == "cdrom":
        return vim.vm.BootOptions.BootableCdromDevice()
    return vim.vm.BootOptions.BootableFloppyDevice()
