"""Where a VM is moved to."""

from __future__ import annotations

from collections.abc import Sequence

from pyVmomi import vim
from pyVmomi.VmomiSupport import ManagedObject as Reference


def relocation(
    *,
    host: Reference | None = None,
    pool: Reference | None = None,
    datastore: Reference | None = None,
    staying: Sequence[tuple[int, Reference]] = (),
    consolidate: bool = False,
) -> vim.vm.RelocateSpec:
    """The `vim.vm.RelocateSpec`; what is None stays as it is. Arguments are references.

    ``staying`` are keys of disks that do not move, with their datastores. With ``consolidate`` a
    disk that moves becomes a whole one, without its parents.
    """
    spec = vim.vm.RelocateSpec(host=host, pool=pool, datastore=datastore)
    locator = vim.vm.RelocateSpec.DiskLocator
    spec.disk = [locator(diskId=key, datastore=where) for key, where in staying]
    if consolidate:
        kinds = vim.vm.RelocateSpec.DiskMoveOptions
        spec.diskMoveType = str(kinds.moveAllDiskBackingsAndConsolidate)
    return spec
