"""Pictures of a guest's screen, kept beside its virtual machine's files."""

from __future__ import annotations

import itertools
import os

from vmops.lab.inventory.file_faults import storage_faults
from vmops.lab.machine.machine import Machine
from vmops.lab.operations import properties
from vmops.lab.operations.hypervisor_calls import hypervisor_faults
from vmops.lab.operations.power import require_on
from vmops.lab.storage.paths import DatastorePath
from vmops.lab.storage.volumes import Volumes


async def create(vm: Machine) -> str:
    """Write the screen to ``<name>-<n>.png`` in the machine's folder; return its datastore path.

    Raises:
        vim.fault.InvalidPowerState: the machine is not on.
        vim.fault.GenericVmConfigFault: the hypervisor has no picture.
    """
    require_on(vm)
    with hypervisor_faults():
        picture = await vm.kernel.hypervisor.screenshot(vm.moid)
    path: DatastorePath = await vm.kernel.blocking(
        _write, vm.kernel.service(Volumes), vm.vmx, picture
    )
    await properties.refresh_files(vm)
    return str(path)


def _write(volumes: Volumes, vmx: DatastorePath, picture: bytes) -> DatastorePath:
    base = vmx.name.rpartition(".")[0]
    for number in itertools.count():
        path = vmx.sibling(f"{base}-{number}.png")
        with storage_faults(path):
            try:
                # Exclusive, and never through a symbolic link that someone put there.
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
                descriptor = os.open(volumes.resolve(path), flags, 0o600)
            except FileExistsError:
                continue
            with os.fdopen(descriptor, "wb") as file:
                file.write(picture)
        return path
    raise AssertionError
