"""The datastore of each disk, as a reference beside the name in its path."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pyVmomi import vim

from vmops.lab.inventory.file_faults import datastore_of
from vmops.lab.kernel.kernel import Kernel

_DEVICES = "config.hardware.device"


def name_datastores(kernel: Kernel, properties: Mapping[str, Any]) -> None:
    """Refer in the backings of a machine's disks to the datastores that their paths name.

    ``properties`` are those that are about to be shown.
    """
    config = properties.get("config")
    devices = properties.get(_DEVICES) if config is None else config.hardware.device
    if not devices:
        return
    datastores: dict[str, Any] = {
        each.properties["name"]: each.ref for each in kernel.registry.of_wire_type(vim.Datastore)
    }
    for device in devices:
        backing = device.backing if isinstance(device, vim.vm.device.VirtualDisk) else None
        while isinstance(backing, vim.vm.device.VirtualDisk.FlatVer2BackingInfo):
            backing.datastore = datastores.get(datastore_of(backing.fileName))
            backing = backing.parent
