"""An instance's ephemeral and swap disks, known by the names of their files."""

from __future__ import annotations

import re

from vmops import units
from vmops.model.block_devices import BlockDevices
from vmops.model.datastore_path import DatastorePath
from vmops.ops.engine.own_disks import BESIDE_ROOT, is_below, is_volume, vm_folder
from vmops.ops.notes.resize import ExtraSizes
from vmops.vsphere.objects.vm_files import VmDisk, VmFiles


def ephemeral_disks(files: VmFiles) -> list[VmDisk]:
    """The ephemeral disks, in order."""
    found = [(int(match["number"]), disk) for disk, match in _extras(files) if match["number"]]
    return [disk for _, disk in sorted(found, key=lambda each: each[0])]


def swap_disk(files: VmFiles) -> VmDisk | None:
    """The swap disk; None: there is none."""
    return next((disk for disk, match in _extras(files) if match["swap"]), None)


def _extras(files: VmFiles) -> list[tuple[VmDisk, re.Match[str]]]:
    folder, found = vm_folder(files), []
    for disk in files.disks:
        # Behind snapshots the disk itself is the last of the chain.
        base = (disk.file_name, *disk.parents)[-1]
        if is_below(base, folder) and not is_volume(files, disk):
            match = BESIDE_ROOT.fullmatch(DatastorePath.parse(base).name)
            if match is not None:
                found.append((disk, match))
    return found


def sizes_of(files: VmFiles) -> ExtraSizes:
    """How big they are; what is not a whole number of GiB or MiB is rounded up."""
    swap = swap_disk(files)
    return ExtraSizes(
        ephemerals_gib=tuple(units.bytes_to_gib(d.capacity_bytes) for d in ephemeral_disks(files)),
        swap_mib=-(-swap.capacity_bytes // units.MIB) if swap else 0,
    )


def wanted_sizes(devices: BlockDevices, flavor: ExtraSizes, present: ExtraSizes) -> ExtraSizes:
    """How big they are to be: as ``devices`` say, which go before the flavor.

    Disks that share what a flavor allows stay as they are: their sum counts.
    """
    ephemerals = tuple(disk.size_gib for disk in devices.ephemerals) or flavor.ephemerals_gib
    if not devices.ephemerals and sum(present.ephemerals_gib) == sum(ephemerals):
        ephemerals = present.ephemerals_gib
    return ExtraSizes(ephemerals_gib=ephemerals, swap_mib=devices.swap_mib or flavor.swap_mib)
