"""Specs of a resize: size, root disk and note change in one call, so that they always agree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pyVmomi import vim

from vmops import units
from vmops.model.datastore_path import DatastorePath
from vmops.model.size import Size
from vmops.specs import extra_config
from vmops.specs.disks import DISK_KEY
from vmops.specs.size import set_size


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskExchange:
    """One disk goes, another takes its place.

    ``old_key`` None: the place is empty. ``destroy_old`` deletes the file of the one that goes.
    """

    old_key: int | None
    destroy_old: bool
    new: DatastorePath
    new_bytes: int
    controller_key: int
    unit_number: int


def change(size: Size, disk: DiskExchange | None, settings: dict[str, str]) -> Any:
    """The `vim.vm.ConfigSpec` that sets a size and extraConfig keys, and exchanges a disk."""
    spec = vim.vm.ConfigSpec(extraConfig=extra_config.option_values(settings))
    set_size(spec, size)
    if disk is not None:
        spec.deviceChange = _exchange(disk)
    return spec


def _exchange(disk: DiskExchange) -> list[Any]:
    changes = []
    if disk.old_key is not None:
        going = vim.vm.device.VirtualDisk(key=disk.old_key, capacityInKB=0)
        removal = vim.vm.device.VirtualDeviceSpec(operation="remove", device=going)
        if disk.destroy_old:
            removal.fileOperation = vim.vm.device.VirtualDeviceSpec.FileOperation.destroy
        changes.append(removal)
    coming = vim.vm.device.VirtualDisk(
        key=DISK_KEY,
        controllerKey=disk.controller_key,
        unitNumber=disk.unit_number,
        capacityInKB=units.bytes_to_kib(disk.new_bytes),
        backing=vim.vm.device.VirtualDisk.FlatVer2BackingInfo(
            fileName=str(disk.new), diskMode="persistent"
        ),
    )
    changes.append(vim.vm.device.VirtualDeviceSpec(operation="add", device=coming))
    return changes


def end(settings: dict[str, str], change_version: str = "") -> Any:
    """The `vim.vm.ConfigSpec` that sets extraConfig keys if nothing has changed meanwhile.

    An empty ``change_version`` is that of a server that has none.
    """
    spec = vim.vm.ConfigSpec(extraConfig=extra_config.option_values(settings))
    if change_version:
        spec.changeVersion = change_version
    return spec
