"""Where a VM is moved to."""

from __future__ import annotations

from typing import Any

from pyVmomi import vim


def relocation(*, host: Any = None, pool: Any = None, datastore: Any = None) -> Any:
    """The `vim.vm.RelocateSpec`; what is None stays as it is. Arguments are references."""
    return vim.vm.RelocateSpec(host=host, pool=pool, datastore=datastore)
