"""Specs of a resize: size, disks and note change in one call, so that they always agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pyVmomi import vim

from vmops.model.datastore_path import DatastorePath
from vmops.model.size import Size
from vmops.specs.disks import EXTRA_DISK_KEY, add_disk, flat_backing, remove_disk
from vmops.specs.extra_config import option_values
from vmops.specs.places import Place
from vmops.specs.size import set_size


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
    controllers: Sequence[vim.vm.device.VirtualDeviceSpec] = ()
    annotation: str | None = None

    def spec(self) -> vim.vm.ConfigSpec:
        """The `vim.vm.ConfigSpec` that makes the change in one call."""
        spec = vim.vm.ConfigSpec(extraConfig=option_values(self.settings))
        if self.size is not None:
            set_size(spec, self.size)
        if self.annotation is not None:
            spec.annotation = self.annotation
        # What goes makes its place free before anything comes.
        going = [
            remove_disk(disk.old_key, destroy=disk.destroy_old)
            for disk in self.disks
            if disk.old_key is not None
        ]
        coming = [_addition(disk, n) for n, disk in enumerate(self.disks) if disk.new is not None]
        spec.deviceChange = [*going, *self.controllers, *coming]
        return spec


def _addition(disk: DiskExchange, number: int) -> vim.vm.device.VirtualDeviceSpec:
    place = Place(controller_key=disk.controller_key, unit_number=disk.unit_number)
    backing = flat_backing(disk.new, thin=True if disk.is_blank else None)
    key = EXTRA_DISK_KEY - number
    return add_disk(key, disk.new_bytes, place, backing, create=disk.is_blank)
