"""Takes away what tests made, and on a shared endpoint nothing else."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from pyVmomi import vim, vmodl

from tests.backends import second_view

PREFIX = "vmops-test"
"""Names of what tests make begin so, and of instances: see `tests.builders`."""


def remove_machines(content: Any, *, only_tests: bool = False) -> None:
    """Remove all VMs, or those of tests, with their files; and resource pools of tests."""
    wanted = ("name", "runtime.powerState", "config.template", "runtime.connectionState")
    for vm, found in second_view.every(content, vim.VirtualMachine, *wanted).items():
        name = str(found.get("name", ""))
        if only_tests and not name.startswith(PREFIX):
            continue
        with suppress(vmodl.fault.ManagedObjectNotFound):
            if found.get("runtime.powerState") == "poweredOn":
                with suppress(vim.fault.InvalidPowerState):
                    second_view.finished(vm.PowerOffVM_Task())
            second_view.finished(vm.Destroy_Task())
    for pool, found in second_view.every(content, vim.ResourcePool, "name").items():
        if str(found.get("name", "")).startswith(PREFIX):
            with suppress(vmodl.fault.ManagedObjectNotFound):
                second_view.finished(pool.Destroy_Task())


def delete_folder(content: Any, path: str) -> None:
    """Delete a folder of a datastore, if it is there."""
    datacenter = next(iter(second_view.every(content, vim.Datacenter, "name")))
    with suppress(vim.fault.FileNotFound):
        second_view.finished(
            content.fileManager.DeleteDatastoreFile_Task(name=path, datacenter=datacenter)
        )
