"""The calls of a resize, as an operation of an engine on an instance."""

from __future__ import annotations

from vmops import Instance, VMwareVMOps

REVERT = [
    "RetrievePropertiesEx",
    "PowerOffVM_Task",
    "ReconfigVM_Task",
    "PowerOnVM_Task",
    "ReconfigVM_Task",
]
"""What a revert asks of the server's API; it also looks for each old disk, by HTTP."""


def finish(ops: VMwareVMOps, instance: Instance) -> None:
    ops.finish_migration(None, None, instance, None, None, None, True)


def confirm(ops: VMwareVMOps, instance: Instance) -> None:
    ops.confirm_migration(None, instance, None)


def revert(ops: VMwareVMOps, instance: Instance) -> None:
    ops.finish_revert_migration(instance, None)


def reverting(disks: int) -> list[str]:
    """The calls of a revert that puts so many disks back."""
    return [REVERT[0], *["HEAD /folder"] * disks, *REVERT[1:]]
