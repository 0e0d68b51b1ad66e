"""Specs of a resize: size, disks and note change in one call, so that they always agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyVmomi import vim

from vmops import units
from vmops.model.datastore_path import DatastorePath
from vmops.model.size import Size
from vmops.specs.disks import EXTRA_DISK_KEY
from vmops.specs.extra_config import option_values
from vmops.specs.size import set_size

if TYPE_CHECKING:
    from pyVmomi.vim.vm.device import VirtualDeviceSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskExchange:
    """One disk goes, another takes its place.

    ``old_key`` None: the place is empty. ``destroy_old`` deletes the file of the one that goes.
    ``new`` None: the place stays empty. ``is_blank``: it is created, thin and empty.
    """

    old_key: int | None
    destroy_old: bool
    new: DatastorePath | None
    new_bytes: int = 0
    controller_key: int = 0
    unit_number: int = 0
    is_blank: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What changes in one call; None stays.

    ``controllers`` are device changes that add what ``disks`` hang on.
    """

    settings: dict[str, str]
    size: Size | None = None
    disks: Sequence[DiskExchange] = ()
    controllers: Sequence[VirtualDeviceSpec] = ()
    annotation: str | None = None

    def spec(self) -> vim.vm.ConfigSpec:
        """The `vim.vm.ConfigSpec` that makes the change in one call."""
        spec = vim.vm.ConfigSpec(extraConfig=option_values(self.settings))
        if self.size is not None:
            set_size(spec, self.size)
        if self.annotation is not None:
            spec.annotation = self.annotation
        # What goes makes its place free before anything comes.
        going = [_removal(disk) for disk in self.disks if disk.old_key is not None]
        coming = [_addition(disk, n) for n, disk in enumerate(self.disks) if disk.new is not None]
        spec.deviceChange = [*going, *self.controllers, *coming]
        return spec


def _removal(disk: DiskExchange) -> vim.vm.device.VirtualDeviceSpec:
    device = vim.vm.device.VirtualDisk(key=disk.old_key, capacityInKB=0)
    removal = vim.vm.device.VirtualDeviceSpec(operation="remove", device=device)
    if disk.destroy_old:
        removal.fileOperation = vim.vm.device.VirtualDeviceSpec.FileOperation.destroy
    return removal


def _addition(disk: DiskExchange, number: int) -> vim.vm.device.VirtualDeviceSpec:
    backing = vim.vm.device.VirtualDisk.FlatVer2BackingInfo(
        fileName=str(disk.new), diskMode="persistent"
    )
    coming = vim.vm.device.VirtualDisk(
        key=EXTRA_DISK_KEY - number,
        controllerKey=disk.controller_key,
        unitNumber=disk.unit_number,
        capacityInKB=units.bytes_to_kib(disk.new_bytes),
        backing=backing,
    )
    addition = vim.vm.device.VirtualDeviceSpec(operation="add", device=coming)
    if disk.is_blank:
        backing.thinProvisioned = True
        addition.fileOperation = vim.vm.device.VirtualDeviceSpec.FileOperation.create
    return addition


def end(settings: dict[str, str], change_version: str = "") -> vim.vm.ConfigSpec:
    """The `vim.vm.ConfigSpec` that sets extraConfig keys if nothing has changed meanwhile.

    An empty ``change_version`` is that of a server that has none.
    """
    spec = vim.vm.ConfigSpec(extraConfig=option_values(settings))
    if change_version:
        spec.changeVersion = change_version
    return spec
